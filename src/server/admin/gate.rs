//! Who may use the UI.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;
use tokio::sync::Semaphore;

/// Passwords that are checked at a time: each keeps a thread busy for about a tenth of a second.
const CHECKS_MAX: usize = 2;
/// And those that wait for it.
const WAITING_MAX: usize = 32;
/// Sessions that are remembered; the oldest makes way.
const SESSIONS_MAX: usize = 1000;

/// See the module's text.
pub(super) struct Gate {
    /// Name, and bcrypt hash of the password.
    credentials: Option<(String, String)>,
    checks: Semaphore,
    places: Semaphore,
    /// A client that has given the password once comes again with one of these.
    sessions: Mutex<VecDeque<String>>,
}

/// How a client has got in.
pub(super) enum Entry {
    /// Nothing was to be shown, or a session of before.
    Known,
    /// The name of its session, for later.
    New(String),
}

impl Gate {
    pub(super) fn new(credentials: Option<&(String, String)>) -> Result<Self, String> {
        if let Some((_, hash)) = credentials {
            let form: Result<bcrypt::HashParts, _> = hash.parse();
            form.map_err(|error| {
                format!("needs the bcrypt hash of the password, such as `htpasswd -nbB` prints behind the name, and was given something else: {error}")
            })?;
        }
        Ok(Gate {
            credentials: credentials.cloned(),
            checks: Semaphore::new(CHECKS_MAX),
            places: Semaphore::new(CHECKS_MAX + WAITING_MAX),
            sessions: Mutex::default(),
        })
    }

    /// `auth` is what the client sent: anything.
    pub(super) async fn enter(&self, auth: &Value) -> Option<Entry> {
        let Some((name, hash)) = &self.credentials else {
            return Some(Entry::Known);
        };
        let text = |key| auth.get(key).and_then(Value::as_str);
        if text("sessionId").is_some_and(|id| self.is_session(id)) {
            return Some(Entry::Known);
        }
        let (given, password) = (text("username")?, text("password")?);
        // Before the name is compared, so that the time it takes does not tell whether the name was right.
        let is_right = self.check(password.to_owned(), hash.clone()).await?;
        (is_right && given == name).then(|| self.begin_session())
    }

    async fn check(&self, password: String, hash: String) -> Option<bool> {
        let _place = self.places.try_acquire().ok()?;
        let _turn = self.checks.acquire().await.ok()?;
        let checked = tokio::task::spawn_blocking(move || bcrypt::verify(password, &hash));
        checked.await.ok()?.ok()
    }

    fn is_session(&self, id: &str) -> bool {
        let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.iter().any(|session| session == id)
    }

    fn begin_session(&self) -> Entry {
        let mut bytes = [0; 8];
        if getrandom::fill(&mut bytes).is_err() {
            // Without random bytes no session: the client gives its password again next time.
            return Entry::Known;
        }
        let id = format!("{:016x}", u64::from_be_bytes(bytes));
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        if sessions.len() >= SESSIONS_MAX {
            sessions.pop_front();
        }
        sessions.push_back(id.clone());
        Entry::New(id)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Of "changeit", with the least rounds that there are.
    fn gate() -> Gate {
        let hash = bcrypt::hash("changeit", 4).unwrap();
        Gate::new(Some(&("admin".to_owned(), hash))).unwrap()
    }

    fn enter(gate: &Gate, auth: &Value) -> Option<Entry> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(gate.enter(auth))
    }

    #[test]
    fn name_and_password_open_and_leave_a_session_that_opens_again() {
        let gate = gate();
        let right = json!({ "username": "admin", "password": "changeit" });
        let Some(Entry::New(session)) = enter(&gate, &right) else {
            panic!("no session");
        };
        assert_eq!(session.len(), 16);
        let again = json!({ "sessionId": session });
        assert!(matches!(enter(&gate, &again), Some(Entry::Known)));
    }

    #[test]
    fn nothing_else_opens() {
        let gate = gate();
        for auth in [
            json!({}),
            json!(null),
            json!([1]),
            json!({ "username": "admin" }),
            json!({ "username": "admin", "password": "" }),
            json!({ "username": "admin", "password": 7 }),
            json!({ "username": "root", "password": "changeit" }),
            json!({ "username": "admin", "password": "changeit\u{0}" }),
            json!({ "sessionId": "" }),
            json!({ "sessionId": { "$ne": null } }),
        ] {
            assert!(enter(&gate, &auth).is_none(), "{auth}");
        }
    }

    #[test]
    fn a_password_in_the_place_of_its_hash_is_refused_at_the_start() {
        let problem = Gate::new(Some(&("admin".into(), "changeit".into()))).err();
        assert!(problem.unwrap().contains("bcrypt"));
    }
}
