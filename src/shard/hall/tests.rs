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
