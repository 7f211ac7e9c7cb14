use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ringhall::{Config, Forbidden, Handshake, NamespaceRequest, Server, Session, Socket};

use crate::client::Client;
use crate::{base, end, start};

struct User {
    name: String,
    /// How many of them there are.
    alive: Arc<AtomicUsize>,
}

impl Drop for User {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

#[test]
fn what_the_gate_returns_is_the_session_of_all_sockets() {
    let alive = Arc::new(AtomicUsize::new(0));
    let counted = alive.clone();
    let config = Config { cores: 2, ..base() };
    let server = start(
        Server::builder()
            .config(config)
            .allow_request(move |request: Handshake| {
                let alive = counted.clone();
                async move {
                    tokio::task::yield_now().await;
                    let name = request.query("user").ok_or(Forbidden::default())?;
                    alive.fetch_add(1, Ordering::Relaxed);
                    let name = name.into_owned();
                    Ok(User { name, alive })
                }
            })
            .middleware(|user: Session<User>| match user.name.as_str() {
                "mallory" => Err("not you"),
                _ => Ok(()),
            })
            .on("who", |user: Session<User>| user.name.clone())
            .on("same", |socket: Socket, user: Session<User>| {
                let name = socket.session::<User>().map(|user| user.name.clone());
                name.as_ref() == Some(&user.name) && socket.session::<u8>().is_none()
            })
            .namespaces(
                async |request: NamespaceRequest| {
                    tokio::task::yield_now().await;
                    let user = request.session::<User>();
                    user.is_some_and(|user| request.name() == format!("/of-{}", user.name))
                },
                |own| own.on("who", |user: Session<User>| user.name.clone()),
            ),
    );
    let mut client = Client::open_revision(&server, "EIO=4&user=ada&");
    client.expect("0{");
    client.send("40");
    client.expect("40{");
    client.send(r#"420["who"]"#);
    assert_eq!(client.read(), r#"430["ada"]"#);
    client.send(r#"421["same"]"#);
    assert_eq!(client.read(), "431[true]");
    client.send("40/of-eve,");
    assert_eq!(
        client.read(),
        r#"44/of-eve,{"message":"Invalid namespace"}"#
    );
    client.send("40/of-ada,");
    client.expect("40/of-ada,{");
    client.send(r#"42/of-ada,2["who"]"#);
    assert_eq!(client.read(), r#"43/of-ada,2["ada"]"#);
    let mut other = Client::open_revision(&server, "EIO=4&user=mallory&");
    other.expect("0{");
    other.send("40");
    assert_eq!(other.read(), r#"44{"message":"not you"}"#);
    assert_eq!(alive.load(Ordering::Relaxed), 2, "one for each client");
    drop((client, other));
    end(&server);
    assert_eq!(alive.load(Ordering::Relaxed), 0);
}
