//! Connection state recovery, as programs set it up and count it; how it works is told in `shard/recovery.rs`.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Builder, Config};
use crate::shard::recovery::{self, Limits, Refusal};
use crate::{Error, Result};

/// How clients get back what they missed after their connection was lost; see [`Builder::recovery`](crate::Builder::recovery).
///
/// A client whose connection breaks and that connects again in time finds its id, its rooms and its [data](crate::Socket::data) as they
/// were, and gets every event that it missed, in order, before anything else. [`Socket::recovered`](crate::Socket::recovered) tells. What
/// cannot be recovered is an ordinary new session, and [`Counters`](crate::Counters) say why.
///
/// - Each event that is neither volatile nor asks for an acknowledgement gets one more argument at its end, a short string: its
///   *offset*, by which the client says how far it came. Handlers in clients see it.
/// - A client that has received no such event cannot be recovered; nor one whose last event was volatile or asked for an
///   acknowledgement and had a string as its last argument, since the client takes that for an offset.
/// - Leaving a namespace, on either side, is no loss of connection: there is nothing to recover.
/// - A session can be recovered once for each time that it was lost.
///
/// Memory is bounded by the limits below, each for every core: with the defaults at most 32 MiB for messages and 64 MiB for sessions. A
/// client that would miss something because of them is not recovered.
///
/// ```
/// use std::time::Duration;
/// use ringhall::{Recovery, Server, Socket};
///
/// let builder = Server::builder()
///     .recovery(Recovery {
///         max_disconnection_duration: Duration::from_secs(60),
///         ..Recovery::default()
///     })
///     .on_connection(|socket: Socket| {
///         if !socket.recovered() {
///             socket.join("lobby");
///         }
///     });
/// # let _ = builder;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// How long a client may be away (default 2 minutes; at most ten days).
    pub max_disconnection_duration: Duration,
    /// Clients that are recovered are let in without asking the namespace's middlewares, which have let them in before (default true).
    pub skip_middlewares: bool,
    /// The most bytes of messages that a core keeps (default 16 MiB; at least 1 KiB). A message costs its packet and some 200 bytes, once on
    /// each core that has receivers. What clients were sent again is kept until they may have lost that, too: at worst this much once more.
    pub max_bytes: usize,
    /// How long a message is kept (default 10 minutes, at most ten days): a client whose last message is older is not recovered.
    pub max_packet_age: Duration,
    /// The most clients of a core that may be away at a time (default 100,000; at least 1); the longest gone makes way.
    pub max_sessions: usize,
    /// The most bytes that the sessions of a core's clients that are away may take, with their rooms and their data (default 64 MiB; at
    /// least 1 KiB); the longest gone makes way.
    pub max_session_bytes: usize,
    /// The most bytes of messages that one client is sent again (default 2 MiB; at most
    /// [`max_unsent_cut`](crate::Config::max_unsent_cut), at which its connection would be cut again).
    pub max_replay: usize,
}

impl Default for Recovery {
    fn default() -> Self {
        Recovery {
            max_disconnection_duration: Duration::from_secs(120),
            skip_middlewares: true,
            max_bytes: 16 << 20,
            max_packet_age: Duration::from_secs(600),
            max_sessions: 100_000,
            max_session_bytes: 64 << 20,
            max_replay: 2 << 20,
        }
    }
}

/// What one server runs on.
pub(crate) struct Recovering {
    pub(crate) core: Arc<recovery::Recovery>,
    pub(crate) skip_middlewares: bool,
}

impl Builder {
    /// Clients whose connection was lost, and that come back in time, get back their session, with what they missed
    /// (`connectionStateRecovery` in Node); see [`Recovery`]. Without it nothing is kept for them.
    ///
    /// In a cluster a client finds its session on the server that it had it on, and what other servers said meanwhile is part of that. With an
    /// adapter that listens to each room by itself ([`Adapter::wants_rooms`](crate::adapter::Adapter::wants_rooms)) that could not be promised, and the
    /// server does not start.
    ///
    /// ```
    /// use ringhall::{Recovery, Server};
    /// let builder = Server::builder().recovery(Recovery::default());
    /// # let _ = builder;
    /// ```
    pub fn recovery(mut self, recovery: Recovery) -> Self {
        self.recovery = Some(recovery);
        self
    }
}

impl Recovery {
    /// With an adapter that listens to each room by itself: it stops listening with the last member, who may be away and miss what is said.
    ///
    /// # Errors
    /// It is asked for.
    pub(crate) fn forbid(recovery: Option<&Recovery>) -> Result<()> {
        let problem = "has gaps with an adapter that listens to each room by itself (`Adapter::wants_rooms`): take one that listens to all";
        recovery.map_or(Ok(()), |_| Err(Error::setting("recovery", problem)))
    }

    /// What a server runs on that was described so.
    pub(super) fn begin(wanted: Option<&Self>, config: &Config) -> Result<Option<Recovering>> {
        let start = |recovery: &Recovery| recovery.start(config.cores, config.max_unsent_cut);
        wanted.map(start).transpose()
    }

    /// Checks everything, for so many cores.
    fn start(&self, cores: usize, unsent_cut: usize) -> Result<Recovering> {
        at_least("recovery.max_bytes", self.max_bytes, 1024)?;
        at_least("recovery.max_sessions", self.max_sessions, 1)?;
        at_least("recovery.max_session_bytes", self.max_session_bytes, 1024)?;
        if self.max_replay > unsent_cut {
            let problem = format!(
                "is {}, and must not be more than max_unsent_cut, which is {unsent_cut}",
                self.max_replay
            );
            return Err(Error::setting("recovery.max_replay", problem));
        }
        let limits = Limits {
            away_ms: ms(
                "recovery.max_disconnection_duration",
                self.max_disconnection_duration,
            )?,
            log_bytes: self.max_bytes,
            log_ms: ms("recovery.max_packet_age", self.max_packet_age)?,
            sessions: self.max_sessions,
            session_bytes: self.max_session_bytes,
            replay_bytes: self.max_replay,
        };
        let core = recovery::Recovery::new(limits, cores);
        let core = core.map_err(Error::system("get random bytes for recovery"))?;
        Ok(Recovering {
            core: Arc::new(core),
            skip_middlewares: self.skip_middlewares,
        })
    }
}

fn at_least(name: &'static str, value: usize, least: usize) -> Result<()> {
    if value >= least {
        return Ok(());
    }
    let problem = format!("is {value}, and must be at least {least}");
    Err(Error::setting(name, problem))
}

fn ms(name: &'static str, value: Duration) -> Result<u64> {
    super::config::ms(name, value)
}

/// How often clients got their session back, and how often not, by reason; part of [`Counters`](crate::Counters).
///
/// Clients that asked for no session are not counted.
///
/// ```
/// # fn f(server: &ringhall::Server) {
/// let recoveries = server.counters().recoveries;
/// println!("{} recovered, {} refused", recoveries.recovered, recoveries.refused());
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recoveries {
    /// Clients that got their session back, with all that they missed.
    pub recovered: u64,
    /// What they said was no pid, or no offset, of this server. Clients that received no event with an offset are among them.
    pub malformed: u64,
    /// There is no such session in that namespace, or it has been forgotten for long.
    pub unknown_session: u64,
    /// The session had been given to somebody already.
    pub already_recovered: u64,
    /// The client was away for longer than [`max_disconnection_duration`](Recovery::max_disconnection_duration).
    pub expired: u64,
    /// The session made way for others: [`max_sessions`](Recovery::max_sessions), [`max_session_bytes`](Recovery::max_session_bytes).
    pub evicted: u64,
    /// The session was never sent a message of that offset.
    pub unknown_offset: u64,
    /// What the client received last, or missed, is older than [`max_packet_age`](Recovery::max_packet_age).
    pub offset_too_old: u64,
    /// What the client received last, or missed, is not kept any more: [`max_bytes`](Recovery::max_bytes).
    pub log_full: u64,
    /// The client missed more than [`max_replay`](Recovery::max_replay).
    pub too_much: u64,
    /// A core that was to hand the session over is shutting down, or did not answer for 10 s.
    pub unavailable: u64,
}

impl Recoveries {
    /// How many clients did not get their session back.
    ///
    /// ```
    /// # fn f(server: &ringhall::Server) {
    /// assert_eq!(server.counters().recoveries.refused(), 0);
    /// # }
    /// ```
    pub fn refused(&self) -> u64 {
        let session = self.unknown_session + self.already_recovered + self.expired + self.evicted;
        let offset = self.unknown_offset + self.offset_too_old + self.log_full + self.too_much;
        self.malformed + session + offset + self.unavailable
    }
}

impl Recovering {
    pub(crate) fn counted(&self) -> Recoveries {
        let refused = |why| self.core.refused(why);
        Recoveries {
            recovered: self.core.recovered(),
            malformed: refused(Refusal::Malformed),
            unknown_session: refused(Refusal::UnknownPid),
            already_recovered: refused(Refusal::Used),
            expired: refused(Refusal::Expired),
            evicted: refused(Refusal::Evicted),
            unknown_offset: refused(Refusal::UnknownOffset),
            offset_too_old: refused(Refusal::OffsetTooOld),
            log_full: refused(Refusal::LogFull),
            too_much: refused(Refusal::TooMuch),
            unavailable: refused(Refusal::Unavailable),
        }
    }
}

/// What a client says of the session that it had.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Asked<'a> {
    /// Nothing.
    Nothing,
    /// Something else than two strings.
    Nonsense,
    Session {
        pid: Cow<'a, str>,
        offset: Cow<'a, str>,
    },
}

impl<'a> Asked<'a> {
    /// From the JSON object of a CONNECT packet, which may have anything else in it; both are the peer's, of any type and length.
    pub(crate) fn read(auth: &'a [u8]) -> Self {
        #[derive(Deserialize)]
        struct Fields<'a> {
            #[serde(borrow, default)]
            pid: Option<&'a RawValue>,
            #[serde(borrow, default)]
            offset: Option<&'a RawValue>,
        }
        if auth.is_empty() {
            return Asked::Nothing;
        }
        let Ok(fields) = serde_json::from_slice::<Fields<'a>>(auth) else {
            return Asked::Nonsense;
        };
        let text = |value: &'a RawValue| serde_json::from_str::<Text<'a>>(value.get()).ok();
        match (fields.pid, fields.offset) {
            (None, _) => Asked::Nothing,
            (Some(pid), Some(offset)) => match (text(pid), text(offset)) {
                (Some(Text(pid)), Some(Text(offset))) => Asked::Session { pid, offset },
                _ => Asked::Nonsense,
            },
            (Some(_), None) => Asked::Nonsense,
        }
    }
}

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_accepted_and_bad_values_named() {
        let start = |recovery: Recovery| recovery.start(2, 8 << 20);
        assert!(start(Recovery::default()).is_ok());
        type Change = fn(&mut Recovery);
        let cases: [(&str, Change); 6] = [
            ("max_bytes", |r| r.max_bytes = 0),
            ("max_sessions", |r| r.max_sessions = 0),
            ("max_session_bytes", |r| r.max_session_bytes = 1),
            ("max_replay", |r| r.max_replay = usize::MAX),
            ("max_packet_age", |r| r.max_packet_age = Duration::ZERO),
            ("max_disconnection_duration", |r| {
                r.max_disconnection_duration = Duration::MAX
            }),
        ];
        for (name, change) in cases {
            let mut recovery = Recovery::default();
            change(&mut recovery);
            let text = start(recovery).map(|_| ()).unwrap_err().to_string();
            assert!(text.contains(name), "{text}");
        }
    }

    #[test]
    fn an_adapter_that_listens_to_single_rooms_is_refused() {
        use crate::adapter::{Adapter, Options, Packet};
        struct Single;
        impl Adapter for Single {
            fn wants_rooms(&self) -> bool {
                true
            }

            fn broadcast(&self, _: &str, _: Packet, _: Options) {}
        }
        let builder = || {
            crate::Server::builder()
                .listen("127.0.0.1:0")
                .adapter(Single)
        };
        assert!(builder().check().is_ok());
        let error = builder().recovery(Recovery::default()).check().unwrap_err();
        assert!(error.to_string().contains("wants_rooms"), "{error}");
    }

    #[test]
    fn what_clients_say_may_be_anything() {
        let session = |pid: &'static str, offset: &'static str| Asked::Session {
            pid: pid.into(),
            offset: offset.into(),
        };
        for (auth, asked) in [
            ("", Asked::Nothing),
            ("{}", Asked::Nothing),
            (r#"{"offset":"o"}"#, Asked::Nothing),
            (r#"{"token":[1,{"pid":"x"}]}"#, Asked::Nothing),
            (r#"{"pid":"p","offset":"o"}"#, session("p", "o")),
            (r#"{"a":1,"offset":"","pid":"\u00e9"}"#, session("é", "")),
            (r#"{"pid":"p"}"#, Asked::Nonsense),
            (r#"{"pid":1,"offset":"o"}"#, Asked::Nonsense),
            (r#"{"pid":null,"offset":null}"#, Asked::Nothing),
            (r#"{"pid":"p","offset":null}"#, Asked::Nonsense),
            (r#"{"pid":["p"],"offset":{}}"#, Asked::Nonsense),
            (r#"{"pid":"p","pid":"q","offset":"o"}"#, Asked::Nonsense),
        ] {
            assert_eq!(Asked::read(auth.as_bytes()), asked, "{auth}");
        }
    }

    #[test]
    fn refusals_add_up() {
        let recovering = Recovery::default().start(1, 8 << 20).unwrap();
        let all = [
            Refusal::Malformed,
            Refusal::UnknownPid,
            Refusal::Used,
            Refusal::Expired,
            Refusal::Evicted,
            Refusal::UnknownOffset,
            Refusal::OffsetTooOld,
            Refusal::LogFull,
            Refusal::TooMuch,
            Refusal::Unavailable,
        ];
        assert_eq!(all.len(), Refusal::COUNT);
        all.iter()
            .for_each(|why| recovering.core.count_refused(*why));
        recovering.core.count_recovered();
        let counted = recovering.counted();
        assert_eq!((counted.recovered, counted.refused()), (1, 10));
        assert_eq!(
            (counted.expired, counted.log_full, counted.unavailable),
            (1, 1, 1)
        );
    }
}
