use std::sync::Arc;

use super::*;
use crate::server::{Builder, Server, fixture};
use crate::shard::mailbox::mailbox;

const KEY: ConnKey = ConnKey {
    slot: 0,
    generation: 0,
};

/// A core with nothing but what it is described with.
fn core(builder: Builder) -> fixture::CoreParts {
    let (_, parts) = fixture::cores(builder, vec![mailbox(Arc::new(|| {}))]);
    parts.into_iter().next().unwrap()
}

/// A connection that was told nothing yet.
fn accepted() -> Connection {
    Connection::new(Descriptor(0), None, None, 0)
}

#[test]
fn what_was_written_in_this_turn_is_no_room_for_more() {
    const PAGE: usize = 10_000;
    let core = core(Server::builder().page("/", "text/plain", "x".repeat(PAGE)));
    let cx = Context {
        app: &core.local,
        hall: &core.hall,
        settings: &core.settings,
        now_ms: 0,
    };
    let most = core.settings.outbound_soft;
    let marked = || core.hall.with_turn(|turn, _| turn.pending_bytes(KEY.slot));
    let mut connection = accepted();
    // Asks for far more than may wait, in pieces that all come in one turn.
    let asked = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(20);
    for _ in 0..most / PAGE / 5 {
        let flow = connection.handle_input(KEY, &mut asked.clone(), &cx);
        assert_eq!(flow, Flow::Continue);
    }
    let told = marked();
    assert!((PAGE..=most).contains(&told), "{told} bytes");
    let flow = connection.handle_input(KEY, &mut asked.clone(), &cx);
    assert_eq!((flow, marked()), (Flow::Continue, told), "nothing more");
}

#[test]
fn who_waits_for_a_session_is_no_task_whatever_the_gate() {
    let core = core(Server::builder().allow_request(|_| async { Ok(()) }));
    let cx = Context {
        app: &core.local,
        hall: &core.hall,
        settings: &core.settings,
        now_ms: 0,
    };
    let asked = b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut connection = accepted();
    let flow = connection.handle_input(KEY, &mut asked.to_vec(), &cx);
    assert_eq!(flow, Flow::Continue);
    let calls = core.hall.take_commands();
    assert!(matches!(&calls[..], [Command::Call(_)]), "it was let in");
    // A core with tasks waits through the runtime, which costs it more.
    assert_eq!(core.hall.tasks(), 0);
}
