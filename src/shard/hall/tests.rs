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

#[test]
fn an_id_is_reached_before_its_core_is_known_to_have_anybody() {
    let [(here, _mails), (there, mails_there)] = two();
    let scope: Arc<str> = "/".into();
    let (_, id) = there.seat(connection(0), &scope).unwrap();
    // The notice of the other core's first member lies unread in the mailbox here.
    let target = Target {
        scope: &scope,
        to: &[id.as_str()],
        except: &[],
        not: None,
        volatile: false,
    };
    let message = Outgoing {
        kind: Kind::Text,
        body: b"hello",
        attachments: &[],
        offset: None,
    };
    let (receivers, counted) = here.broadcast(&target, message, true);
    assert_eq!(receivers, 0);
    let mut counted = counted.expect("it is on its way to the other core");
    there.handle_mail(mails_there.take().unwrap());
    assert_eq!(counted.try_recv(), Ok(1));
}

fn say_to(hall: &Hall, scope: &Arc<str>, to: &[&str]) -> usize {
    let target = Target {
        scope,
        to,
        except: &[],
        not: None,
        volatile: false,
    };
    let message = Outgoing {
        kind: Kind::Text,
        body: b"hello",
        attachments: &[],
        offset: None,
    };
    hall.broadcast(&target, message, false).0
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
