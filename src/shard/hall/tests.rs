use std::cell::RefCell;
use std::rc::Rc;

use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::asking::{Asking, Report};
use super::broadcast::Wanted;
use super::operation::Deed;
use super::*;
use crate::room::Limits;
use crate::shard::mailbox::{Mailbox, mailbox};

/// The halls of a server of two cores, with their mailboxes.
fn two() -> [(Hall, Mailbox<Mail>); 2] {
    let (first, own_of_first) = mailbox(Arc::new(|| {}));
    let (second, own_of_second) = mailbox(Arc::new(|| {}));
    let addresses: Arc<[_]> = Arc::from([first, second]);
    let hall = |core| {
        let outbox = Outbox::new(core, addresses.clone());
        Hall::new(core, outbox, 10, Rooms::new(Limits::default()))
    };
    [(hall(0), own_of_first), (hall(1), own_of_second)]
}

fn connection(slot: u32) -> ConnKey {
    ConnKey {
        slot,
        generation: 0,
    }
}

const COUNTED: Wanted<'_> = Wanted {
    count: true,
    answers: None,
};

fn target<'a>(scope: &'a Arc<str>, to: &'a [&'a str]) -> Target<'a> {
    Target {
        scope,
        to,
        except: &[],
        not: None,
        volatile: false,
    }
}

fn text(body: &[u8]) -> Outgoing<'_> {
    Outgoing {
        kind: Kind::Text,
        body,
        attachments: &[],
        offset: None,
    }
}

fn read_all(hall: &Hall, mails: &Mailbox<Mail>) {
    while let Some(mail) = mails.take() {
        hall.handle_mail(mail);
    }
}

/// Joins and leaves as it is told, and notes what it is told.
struct Steward {
    hall: Rc<Hall>,
    told: RefCell<Vec<String>>,
}

impl Usher for Steward {
    fn reached(&self, message: Outgoing<'_>, sockets: &[SocketKey]) {
        // Nothing of the hall is borrowed: it can be acted on.
        assert!(sockets.iter().all(|key| self.hall.is_seated(*key)));
        let body = String::from_utf8_lossy(message.body);
        let told = format!("{body} to {}", sockets.len());
        self.told.borrow_mut().push(told);
    }

    fn operate(&self, deed: &Deed, sockets: &[SocketKey]) {
        for socket in sockets {
            match deed {
                Deed::Join(rooms) => {
                    for room in &**rooms {
                        self.hall.join(*socket, room).unwrap();
                    }
                }
                Deed::Leave(rooms) => {
                    for room in &**rooms {
                        self.hall.leave(*socket, room);
                    }
                }
                Deed::Disconnect { .. } => drop(self.hall.vacate(*socket)),
                Deed::Fetch { .. } => {}
            }
        }
    }
}

/// One for each core.
type Ushered = ([Rc<Hall>; 2], [Rc<Steward>; 2], [Mailbox<Mail>; 2]);

/// The same two with an usher each.
fn two_with_ushers() -> Ushered {
    let [(first, mails_of_first), (second, mails_of_second)] = two();
    let halls = [Rc::new(first), Rc::new(second)];
    let stewards = halls.each_ref().map(|hall| {
        let steward = Rc::new(Steward {
            hall: hall.clone(),
            told: RefCell::default(),
        });
        let usher: Rc<dyn Usher> = steward.clone();
        hall.set_usher(Rc::downgrade(&usher));
        steward
    });
    (halls, stewards, [mails_of_first, mails_of_second])
}

fn join(rooms: &[&str]) -> Deed {
    Deed::Join(rooms.iter().map(|room| (*room).into()).collect())
}

#[test]
fn who_is_made_to_join_elsewhere_is_reached_by_what_the_same_core_says_next() {
    let ([here, there], _stewards, [mails_here, mails_there]) = two_with_ushers();
    let scope: Arc<str> = "/".into();
    let (leaver, id) = there.seat(connection(0), &scope).unwrap();
    // The end of an interest is on its way when the joining is asked for.
    there.join(leaver, "x").unwrap();
    read_all(&here, &mails_here);
    there.leave(leaver, "x");
    here.operate(&target(&scope, &[&id]), join(&["x"]));
    read_all(&here, &mails_here);
    let spread = here.broadcast(&target(&scope, &["x"]), text(b"hello"), COUNTED);
    assert_eq!(spread.cores, 1);
    let mut counted = spread.there.unwrap();
    read_all(&there, &mails_there);
    assert_eq!(counted.try_recv(), Ok(1));
    // From now on the other core's own word counts.
    read_all(&here, &mails_here);
    assert!(!here.assumes_interest());
    assert!(here.with_rooms(|rooms| {
        let scope = rooms.find_scope("/").unwrap();
        rooms.interest(scope, Some("x")).contains(1)
    }));
}

#[test]
fn a_joining_that_nobody_was_there_for_leaves_no_interest() {
    let ([here, there], _stewards, [mails_here, mails_there]) = two_with_ushers();
    let scope: Arc<str> = "/".into();
    let _other = there.seat(connection(0), &scope).unwrap();
    read_all(&here, &mails_here);
    let mut target_all = target(&scope, &[]);
    target_all.except = &["y"];
    here.operate(&target(&scope, &["nobody"]), join(&["x"]));
    assert!(
        mails_there.take().is_none(),
        "nobody is in that room anywhere"
    );
    here.operate(&target_all, join(&["y"]));
    here.operate(&target_all, join(&["y"]));
    let everybody = [&["y"][..], &[]];
    for to in everybody {
        let spread = here.broadcast(&target(&scope, to), text(b"hello"), COUNTED);
        assert_eq!(spread.cores, 1, "{to:?}");
    }
    read_all(&there, &mails_there);
    read_all(&here, &mails_here);
    assert!(!here.assumes_interest());
}

#[test]
fn what_is_done_elsewhere_and_what_is_said_arrive_in_order() {
    let ([here, there], _stewards, [mails_here, mails_there]) = two_with_ushers();
    let scope: Arc<str> = "/".into();
    let (key, _) = there.seat(connection(0), &scope).unwrap();
    there.join(key, "x").unwrap();
    read_all(&here, &mails_here);
    let in_x = target(&scope, &["x"]);
    let before = here.broadcast(&in_x, text(b"before"), COUNTED);
    here.operate(&in_x, Deed::Leave(Arc::from(["x".into()])));
    let after = here.broadcast(&in_x, text(b"after"), COUNTED);
    read_all(&there, &mails_there);
    assert_eq!(before.there.unwrap().try_recv(), Ok(1));
    assert_eq!(after.there.unwrap().try_recv(), Ok(0));
    here.operate(&target(&scope, &[]), Deed::Disconnect { close: false });
    read_all(&there, &mails_there);
    assert!(!there.is_seated(key));
}

#[test]
fn the_watched_are_told_of_and_nobody_else() {
    let ([here, there], stewards, [mails_here, mails_there]) = two_with_ushers();
    let scope: Arc<str> = "/".into();
    let seats: Vec<_> = (0..3)
        .map(|slot| there.seat(connection(slot), &scope).unwrap().0)
        .collect();
    read_all(&here, &mails_here);
    let say = |body: &[u8]| {
        here.broadcast(&target(&scope, &[]), text(body), Wanted::default());
        read_all(&there, &mails_there);
        stewards[1].told.take()
    };
    assert_eq!(say(b"one"), Vec::<String>::new());
    there.watch(seats[0], true);
    there.watch(seats[0], true);
    there.watch(seats[1], true);
    assert_eq!(say(b"two"), ["two to 2"]);
    there.watch(seats[0], false);
    assert_eq!(say(b"three"), ["three to 1"]);
    there.vacate(seats[1]);
    assert_eq!(say(b"four"), Vec::<String>::new());
    assert_eq!(there.state.borrow().watched, 0);
    assert_eq!(stewards[0].told.take(), Vec::<String>::new());
}

/// Asks everybody; the channel is this test's alone.
fn ask(hall: &Hall, scope: &Arc<str>, id: u64) -> UnboundedReceiver<Report> {
    let (reports, receiver) = unbounded_channel();
    let asking = Asking { id, reports };
    let wanted = Wanted {
        count: false,
        answers: Some(&asking),
    };
    hall.broadcast(&target(scope, &[]), text(b"?"), wanted);
    receiver
}

/// What was reported, and whether that was all.
fn reports(receiver: &mut UnboundedReceiver<Report>) -> (Vec<String>, bool) {
    let mut all = Vec::new();
    loop {
        match receiver.try_recv() {
            Ok(Report::Count(count)) => all.push(count.to_string()),
            Ok(Report::Answer { json, .. }) => {
                all.push(String::from_utf8(json.to_vec()).unwrap());
            }
            Ok(Report::NotAll) => panic!("there is no other server"),
            Err(error) => return (all, error == TryRecvError::Disconnected),
        }
    }
}

#[test]
fn answers_are_taken_once_and_from_those_who_were_asked() {
    let ([here, there], _stewards, [mails_here, mails_there]) = two_with_ushers();
    let scope: Arc<str> = "/".into();
    let (near, _) = here.seat(connection(0), &scope).unwrap();
    let (far, _) = there.seat(connection(0), &scope).unwrap();
    read_all(&here, &mails_here);
    let mut answers = ask(&here, &scope, 7);
    read_all(&there, &mails_there);
    let (late, _) = there.seat(connection(1), &scope).unwrap();
    assert!(!there.answered(late, 7, b"[0]", &[]), "it was not asked");
    assert!(!there.answered(far, 8, b"[0]", &[]), "nobody asked that");
    assert!(there.answered(far, 7, b"[1]", &[]));
    assert!(!there.answered(far, 7, b"[2]", &[]), "it has answered");
    assert_eq!(
        reports(&mut answers),
        (vec!["1".into(), "1".into(), "[1]".into()], false)
    );
    assert!(here.answered(near, 7, b"[3]", &[]));
    assert_eq!(reports(&mut answers), (vec!["[3]".into()], true));
    assert_eq!((here.open_questions(), there.open_questions()), (0, 0));
}

#[test]
fn who_has_left_is_missed_until_nobody_waits_any_more() {
    let ([here, there], _stewards, [mails_here, mails_there]) = two_with_ushers();
    let scope: Arc<str> = "/".into();
    let (gone, _) = there.seat(connection(0), &scope).unwrap();
    read_all(&here, &mails_here);
    let mut answers = ask(&here, &scope, 0);
    read_all(&there, &mails_there);
    there.vacate(gone);
    let (successor, _) = there.seat(connection(0), &scope).unwrap();
    assert_eq!(successor.slot, gone.slot);
    assert!(!there.answered(successor, 0, b"[1]", &[]));
    assert_eq!(reports(&mut answers), (vec!["0".into(), "1".into()], false));
    drop(answers);
    here.unask_everywhere(0);
    read_all(&there, &mails_there);
    assert_eq!(there.open_questions(), 0);
}

#[test]
fn questions_that_nobody_waits_for_do_not_pile_up() {
    let ([here, _], _stewards, _mails) = two_with_ushers();
    let scope: Arc<str> = "/".into();
    let _asked = here.seat(connection(0), &scope).unwrap();
    let mut kept = Vec::new();
    for id in 0..1000 {
        let receiver = ask(&here, &scope, id);
        if id % 10 == 0 {
            kept.push(receiver);
        }
    }
    // A hundred are waited for; of the others no more are kept than those.
    assert!(
        (100..=300).contains(&here.open_questions()),
        "{}",
        here.open_questions()
    );
}

#[test]
fn an_id_is_reached_before_its_core_is_known_to_have_anybody() {
    let [(here, _mails), (there, mails_there)] = two();
    let scope: Arc<str> = "/".into();
    let (_, id) = there.seat(connection(0), &scope).unwrap();
    // The notice of the other core's first member lies unread in the mailbox here.
    let to = [id.as_str()];
    let (target, message) = (target(&scope, &to), text(b"hello"));
    let spread = here.broadcast(&target, message, COUNTED);
    assert_eq!((spread.here, spread.cores), (0, 1));
    let mut counted = spread.there.expect("it is on its way to the other core");
    there.handle_mail(mails_there.take().unwrap());
    assert_eq!(counted.try_recv(), Ok(1));
}

fn say_to(hall: &Hall, scope: &Arc<str>, to: &[&str]) -> usize {
    hall.broadcast(&target(scope, to), text(b"hello"), Wanted::default())
        .here
}

#[test]
fn a_pending_socket_is_in_its_rooms_and_out_of_reach() {
    let [(here, _mails), (there, mails_there)] = two();
    let scope: Arc<str> = "/".into();
    let (waiting, id) = here.seat_pending(connection(3), &scope).unwrap();
    let (other, _) = here.seat(connection(4), &scope).unwrap();
    for key in [waiting, other] {
        here.join(key, "room").unwrap();
    }
    assert_eq!(here.rooms_of(waiting), ["room"], "not in that of its name");
    assert_eq!(here.standing_of(waiting), Some(Standing::Pending));
    let reached = |to: &[&str]| say_to(&here, &scope, to);
    assert_eq!(reached(&[]), 1);
    assert_eq!(reached(&["room"]), 1);
    assert_eq!(reached(&["room", id.as_str()]), 1);
    assert_eq!(reached(&[id.as_str()]), 0);
    let direct = Outgoing {
        kind: Kind::Text,
        body: b"psst",
        attachments: &[],
        offset: None,
    };
    assert!(
        here.deliver(waiting, direct, false),
        "it can be told things"
    );
    // Other cores know of its rooms already.
    while let Some(mail) = mails_there.take() {
        there.handle_mail(mail);
    }
    let interest = there.with_rooms(|rooms| {
        let scope = rooms.find_scope(&scope).unwrap();
        rooms
            .interest(scope, Some("room"))
            .iter()
            .collect::<Vec<_>>()
    });
    assert_eq!(interest, [0]);

    here.admit(waiting);
    here.admit(waiting);
    assert_eq!(here.standing_of(waiting), Some(Standing::Here));
    assert_eq!(here.rooms_of(waiting), [id.as_str(), "room"]);
    assert_eq!(reached(&[]), 2);
    assert_eq!(reached(&["room"]), 2);
    assert_eq!(reached(&[id.as_str()]), 1);
    assert_eq!(reached(&["room", id.as_str()]), 2);
    here.leave(waiting, id.as_str());
    here.admit(waiting);
    assert_eq!(here.rooms_of(waiting), ["room"], "it is let in once");
}

#[test]
fn a_pending_socket_that_is_turned_away_leaves_nothing() {
    let [(here, _mails), (there, mails_there)] = two();
    let scope: Arc<str> = "/".into();
    let (waiting, _) = here.seat_pending(connection(3), &scope).unwrap();
    here.join(waiting, "room").unwrap();
    here.vacate(waiting);
    here.admit(waiting);
    assert_eq!(here.standing_of(waiting), None);
    assert_eq!(here.seats(), (0, 0));
    while let Some(mail) = mails_there.take() {
        there.handle_mail(mail);
    }
    for hall in [&here, &there] {
        assert!(hall.with_rooms(|rooms| rooms.find_scope(&scope).is_none()));
    }
}
