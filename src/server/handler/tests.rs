use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::pending;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use serde::Deserialize;
use tokio::sync::oneshot;

use super::*;
use crate::server::binary::{Binary, Payload};
use crate::server::extract::{Auth, Data, EventName, State, TryData};
use crate::server::fixture::{Fixture, answers, socket};
use crate::server::{DisconnectReason, Server};

/// A connect handler as a core has it.
fn on_this_core<M, F: ConnectHandler<M>>(handler: F) -> LocalConnectHandler {
    let handler = Rc::new(handler);
    Rc::new(move |context| F::handle(&handler, context))
}

/// Runs a handler once on the event and returns the answers. It must not have to wait.
fn run<M>(fixture: &Fixture, handler: impl EventHandler<M>) -> Vec<String> {
    let outcome = local_event(handler)(&fixture.context());
    assert!(
        matches!(outcome, Outcome::Done),
        "the handler should not wait"
    );
    fixture.answers()
}

/// Runs what is left of a handler.
fn finish(outcome: Outcome) {
    let Outcome::Pending(rest) = outcome else {
        panic!("the handler should wait")
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(rest);
}

#[test]
fn the_returned_value_is_the_acknowledgement() {
    let event = Fixture::event("[1,2]").with_ack(5);
    assert_eq!(
        run(&event, |Data((a, b)): Data<(i64, i64)>| a + b),
        ["5[3]"]
    );
    assert_eq!(
        run(&event, async |Data((a, b)): Data<(i64, i64)>| a + b),
        ["5[3]"]
    );
    assert_eq!(run(&event, || "text"), [r#"5["text"]"#]);
    assert_eq!(run(&event, || ("ok", 1, true)), [r#"5["ok",1,true]"#]);
    assert_eq!(run(&event, || 5), ["5[5]"]);
    assert_eq!(run(&event, || {}), [""; 0]);
}

#[test]
fn nothing_is_answered_that_nobody_asked_for() {
    let event = Fixture::event("[]");
    assert_eq!(run(&event, || 1), [""; 0]);
    assert_eq!(run(&event, async || 1), [""; 0]);
    let is_expected = Rc::new(Cell::new(true));
    let seen = is_expected.clone();
    run(&event, move |ack: Ack| {
        seen.set(ack.is_expected());
        ack.send("nobody hears");
    });
    assert!(!is_expected.get());
    assert!(event.answers().is_empty());
}

#[test]
fn an_ack_takes_the_answer_from_the_returned_value() {
    let event = Fixture::event("[]").with_ack(9);
    let answers = run(&event, |ack: Ack| {
        ack.send("mine");
        "returned"
    });
    assert_eq!(answers, [r#"9["mine"]"#]);
    assert_eq!(run(&event, |ack: Ack| drop(ack)), [""; 0]);
    let answers = run(&event, |first: Ack, second: Ack| {
        assert!(first.is_expected() && !second.is_expected());
        second.send(2);
        first.send(1);
    });
    assert_eq!(answers, ["9[1]"]);
}

#[test]
fn an_ack_works_after_the_handler_has_returned() {
    let event = Fixture::event("[]").with_ack(3);
    let kept = Rc::new(RefCell::new(None));
    let keep = kept.clone();
    assert_eq!(
        run(&event, move |ack: Ack| {
            keep.replace(Some(ack));
        }),
        [""; 0]
    );
    kept.take().unwrap().send(("late", 2));
    assert_eq!(event.answers(), [r#"3["late",2]"#]);
}

#[test]
fn of_several_handlers_the_first_that_answers_does() {
    let event = Fixture::event("[]").with_ack(1);
    let context = event.context();
    local_event(|| {})(&context);
    local_event(async || {})(&context);
    local_event(|| Ok::<(), Infallible>(()))(&context);
    local_event(|| "first")(&context);
    local_event(async || "second")(&context);
    assert_eq!(event.answers(), [r#"1["first"]"#]);
}

#[test]
fn an_error_is_counted_and_not_answered() {
    let event = Fixture::event("[]").with_ack(1);
    assert_eq!(run(&event, || Ok::<_, Infallible>(4)), ["1[4]"]);
    assert_eq!(event.failed(), 0);
    assert_eq!(run(&event, || "x".parse::<u32>()), [""; 0]);
    assert_eq!(event.failed(), 1);
    let parse = async || -> Result<u32, std::num::ParseIntError> { Ok("y".parse::<u32>()? + 1) };
    assert_eq!(run(&event, parse), [""; 0]);
    assert_eq!(event.failed(), 2);
    assert_eq!(event.rejected(), 0);
}

#[test]
fn a_handler_does_not_run_on_arguments_that_do_not_match() {
    let event = Fixture::event(r#"["no number"]"#).with_ack(1);
    let ran = Rc::new(Cell::new(0));
    let (sync, later) = (ran.clone(), ran.clone());
    assert_eq!(
        run(&event, move |Data(n): Data<u32>| {
            sync.set(1);
            n
        }),
        [""; 0]
    );
    assert_eq!(
        run(&event, async move |Data(n): Data<u32>| {
            later.set(2);
            n
        }),
        [""; 0]
    );
    assert_eq!((ran.get(), event.rejected()), (0, 2));
    let answers = run(&event, |TryData(n): TryData<u32>| n.is_err());
    assert_eq!(answers, ["1[true]"]);
}

#[test]
fn an_asynchronous_handler_answers_when_it_ends() {
    let event = Fixture::event(r#"["doc"]"#).with_ack(8);
    let (store, stored) = oneshot::channel::<&str>();
    let stored = RefCell::new(Some(stored));
    let handler = local_event(async move |Data(name): Data<String>| {
        let stored = stored.take().unwrap();
        (name, stored.await.unwrap())
    });
    let outcome = handler(&event.context());
    assert!(event.answers().is_empty());
    drop(handler); // The future keeps what it has borrowed.
    store.send("saved").unwrap();
    finish(outcome);
    assert_eq!(event.answers(), [r#"8["doc","saved"]"#]);
}

#[test]
fn a_handler_that_never_waits_leaves_no_task() {
    let event = Fixture::event("[]");
    assert!(matches!(
        local_event(async || {})(&event.context()),
        Outcome::Done
    ));
    assert!(matches!(
        local_event(async || pending::<()>().await)(&event.context()),
        Outcome::Pending(_)
    ));
}

#[test]
fn asynchronous_closures_may_borrow_what_they_captured() {
    let event = Fixture::event(r#"["b"]"#).with_ack(1);
    let names = ["a".to_owned(), "b".to_owned()];
    let log = RefCell::new(Vec::new());
    let handler = local_event(async move |Data(name): Data<String>| {
        log.borrow_mut().push(name.clone());
        tokio::task::yield_now().await;
        (names.contains(&name), log.borrow().len())
    });
    finish(handler(&event.context()));
    finish(handler(&event.context()));
    assert_eq!(event.answers(), ["1[true,1]", "1[true,2]"]);
}

#[test]
fn closures_returning_futures_are_handlers() {
    let event = Fixture::event(r#"["x"]"#).with_ack(1);
    let prefix = "got ".to_owned();
    let answers = run(&event, move |Data(text): Data<String>| {
        let prefix = prefix.clone();
        async move { prefix + &text }
    });
    assert_eq!(answers, [r#"1["got x"]"#]);
    let boxed =
        |ack: Ack| -> Pin<Box<dyn Future<Output = ()>>> { Box::pin(async move { ack.send(1) }) };
    assert_eq!(run(&event, boxed), ["1[1]"]);
}

async fn by_name(socket: Socket, Data(text): Data<String>) -> String {
    format!("{text} of {}", socket.id().len())
}

fn plain(_: Socket) -> &'static str {
    "plain"
}

#[test]
fn named_functions_are_handlers() {
    let event = Fixture::event(r#"["x"]"#).with_ack(1);
    assert_eq!(run(&event, by_name), [r#"1["x of 20"]"#]);
    assert_eq!(run(&event, plain), [r#"1["plain"]"#]);
    let pointer: fn(Socket) -> &'static str = plain;
    assert_eq!(run(&event, pointer), [r#"1["plain"]"#]);
}

#[derive(Deserialize)]
struct Doc {
    title: String,
    image: Binary,
}

async fn store(doc: Doc) -> Result<usize, String> {
    if doc.title.is_empty() {
        Err("no title".to_owned())
    } else {
        Ok(doc.image.len())
    }
}

/// Every form that the documentation promises; each line is a test of the compiler's inference above all.
#[test]
fn handlers_have_many_shapes() {
    let event = Fixture::event(r#"[{"title":"t","image":{"_placeholder":true,"num":0}},null]"#);
    let event = event.with_attachment(b"abc").with_ack(0);
    run(&event, || {});
    run(&event, |_: Socket| {});
    run(&event, |_: Socket, _: Payload| {});
    run(&event, |_: Socket, _: Payload, _: Server| {});
    run(&event, |_: Socket, _: Payload, _: Server, _: EventName| {});
    run(
        &event,
        |_: Socket, _: Payload, _: Server, _: EventName, _: State<u32>| {},
    );
    run(
        &event,
        |_: Socket, _: Payload, _: Server, _: EventName, _: State<u32>, _: Data<Doc>| {},
    );
    run(
        &event,
        |_: Socket,
         _: Payload,
         _: Server,
         _: EventName,
         _: State<u32>,
         _: Data<Doc>,
         _: TryData<()>| {},
    );
    let eight = |_: Socket,
                 _: Payload,
                 _: Server,
                 _: EventName,
                 _: State<u32>,
                 _: Data<Doc>,
                 _: TryData<()>,
                 ack: Ack| {
        ack.send("eight");
    };
    assert_eq!(run(&event, eight), [r#"0["eight"]"#]);
    run(&event, async |_: Socket, Data(doc): Data<Doc>, ack: Ack| {
        let _ = store(doc).await;
        ack.send("saved")
    });
    assert_eq!(
        run(&event, async |Data(doc): Data<Doc>| store(doc).await),
        ["0[3]"]
    );
    assert_eq!(
        run(&event, async |Data(doc): Data<Doc>| -> Result<_, String> {
            Ok(store(doc).await? * 2)
        }),
        ["0[6]"]
    );
    run(
        &event,
        async |_: Socket,
               _: Payload,
               _: Server,
               _: EventName,
               _: State<u32>,
               _: Data<Doc>,
               _: Ack,
               _: Ack| {},
    );
    assert_eq!(
        run(&event, |(_, State(n)): (Socket, State<u32>)| *n),
        ["0[7]"]
    );
    assert_eq!(
        run(&event, |payload: Payload| payload.attachments().len()),
        ["0[1]"]
    );
    assert_eq!(
        run(&event, |EventName(name): EventName| name),
        [r#"0["test"]"#]
    );
    assert_eq!((event.rejected(), event.failed()), (0, 0));
}

#[test]
fn a_handler_need_not_end() {
    let event = Fixture::event("[]").with_ack(1);
    let outcome = local_event(async || -> () {
        loop {
            tokio::task::yield_now().await
        }
    })(&event.context());
    assert!(matches!(outcome, Outcome::Pending(_)));
    let handler = local_event(|| -> () { panic!("on purpose") });
    assert!(
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| handler(&event.context())))
            .is_err()
    );
    assert!(event.answers().is_empty());
}

#[test]
fn a_shared_handler_serves_many_cores() {
    let count = Arc::new(AtomicU32::new(0));
    let seen = Mutex::new(Vec::new());
    let counter = count.clone();
    let shared = shared_event(async move |Data(n): Data<u32>| {
        seen.lock().unwrap().push(n);
        counter.fetch_add(n, Ordering::Relaxed);
        tokio::task::yield_now().await;
        seen.lock().unwrap().len()
    });
    std::thread::scope(|cores| {
        for _ in 0..2 {
            let shared = shared.clone();
            cores.spawn(move || {
                let event = Fixture::event("[4]").with_ack(0);
                let handler = shared();
                finish(handler(&event.context()));
                finish(handler(&event.context()));
                assert_eq!(event.answers().len(), 2);
            });
        }
    });
    assert_eq!(count.load(Ordering::Relaxed), 16);
    let event = Fixture::event("[1]").with_ack(0);
    finish(shared()(&event.context()));
    assert_eq!(event.answers(), ["0[5]"]);
}

#[test]
fn a_handler_may_be_replaced_while_it_runs() {
    let slot: Rc<RefCell<Option<LocalEventHandler>>> = Rc::default();
    let own = slot.clone();
    slot.replace(Some(local_event(move || {
        own.replace(None);
        "replaced"
    })));
    let event = Fixture::event("[]").with_ack(2);
    let handler = slot.borrow().clone().unwrap();
    handler(&event.context());
    assert!(slot.borrow().is_none());
    assert_eq!(event.answers(), [r#"2["replaced"]"#]);
}

#[derive(Deserialize)]
struct Login {
    user: String,
}

#[test]
fn connect_handlers_take_what_there_is_at_that_time() {
    let socket = socket();
    let context = ConnectContext::new(&socket, Some(br#"{"user":"ada"}"#));
    let seen = Rc::new(RefCell::new(Vec::new()));
    let (first, second) = (seen.clone(), seen.clone());
    let connect = on_this_core(move |_: Socket, Auth(login): Auth<Login>, _: Server| {
        first.borrow_mut().push(login.user)
    });
    assert!(matches!(connect(&context), Ok(Outcome::Done)));
    let connect = on_this_core(
        async move |Auth(login): Auth<Login>, state: State<String>| {
            tokio::task::yield_now().await;
            second
                .borrow_mut()
                .push(format!("{} {}", login.user, *state));
            Err::<(), _>("refused")
        },
    );
    finish(connect(&context).unwrap());
    assert_eq!(*seen.borrow(), ["ada", "ada shared"]);
    assert_eq!(socket.local().counted(Count::Failed), 1);
    assert!(matches!(on_this_core(|| {})(&context), Ok(Outcome::Done)));
    assert!(matches!(
        on_this_core(|_: Socket| {})(&context),
        Ok(Outcome::Done)
    ));
}

#[test]
fn a_connect_handler_that_cannot_run_says_so() {
    let socket = socket();
    let context = ConnectContext::new(&socket, Some(br#"{"name":"ada"}"#));
    let error =
        on_this_core(|_: Auth<Login>| -> () { panic!("must not run") })(&context).unwrap_err();
    assert_eq!(
        error.to_string(),
        "arguments do not match: missing field `user` at line 1 column 14"
    );
    assert!(on_this_core(async |_: Socket, _: Auth<Login>| {})(&context).is_err());
}

#[test]
fn disconnect_handlers_learn_the_reason() {
    let socket = socket();
    let context = DisconnectContext::new(&socket, DisconnectReason::PingTimeout);
    let seen = Rc::new(RefCell::new(Vec::new()));
    let (first, second) = (seen.clone(), seen.clone());
    local_disconnect(move |_: Socket, reason: DisconnectReason| {
        first.borrow_mut().push(reason.to_string())
    })(&context);
    let outcome = local_disconnect(
        async move |reason: DisconnectReason, State(n): State<u32>| {
            tokio::task::yield_now().await;
            second.borrow_mut().push(format!("{reason:?} {n}"));
        },
    )(&context);
    finish(outcome);
    assert_eq!(*seen.borrow(), ["ping timeout", "PingTimeout 7"]);
    shared_disconnect(|_: Server| {})()(&context);
    local_disconnect(|_: State<u64>| -> () { panic!("must not run") })(&context);
    local_disconnect(async |_: State<u64>| -> () { panic!("must not run") })(&context);
    assert_eq!(socket.local().counted(Count::Rejected), 2);
    assert!(answers(&socket).is_empty());
}

#[test]
fn a_reason_is_one_line_of_the_log() {
    assert_eq!(
        one_line(&"a\nERROR b\u{1b}[31m ☃"),
        "a\\nERROR b\\u{1b}[31m ☃"
    );
    assert_eq!(one_line(&"x".repeat(1000)).len(), LOGGED_REASON_BYTES_MAX);
}
