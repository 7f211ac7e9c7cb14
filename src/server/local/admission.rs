//! From a CONNECT to a socket.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use super::line::{all, caught};
use super::{Local, Seat};
use crate::server::extract::ConnectContext;
use crate::server::handler::{self, Outcome};
use crate::server::socket::Socket;
use crate::server::task;
use crate::shard::application::{Arrival, Verdict};

impl Local {
    /// Is there such a namespace?
    pub(super) fn find_namespace(&self, namespace: &str) -> Verdict {
        // Whether a family takes a name is said by the user's code, and the name is the peer's.
        let find = AssertUnwindSafe(|| self.shared.namespaces.find(namespace));
        let found = catch_unwind(find).unwrap_or_else(|panic| {
            task::log_panic(&*panic);
            None
        });
        match found {
            Some((scope, number)) => Verdict::Accept { scope, number },
            None => Verdict::Refuse {
                json: r#"{"message":"Invalid namespace"}"#.to_owned(),
            },
        }
    }

    /// The client is in: the handlers are told.
    pub(super) fn welcome(self: &Rc<Self>, arrival: Arrival<'_>) {
        let Arrival {
            socket,
            id,
            namespace,
            number,
            handshake,
            auth,
        } = arrival;
        let table = &self.tables[number];
        let socket = Socket::new(
            socket,
            id,
            (namespace, table.clone()),
            handshake,
            auth,
            self,
        );
        self.set_seat(socket.key(), Seat::Socket(socket.clone()));
        let auth = (!auth.is_empty()).then_some(auth);
        let run = || {
            let context = ConnectContext::new(&socket, auth);
            all(table
                .connection
                .iter()
                .map(|handler| caught(|| handler::connect(handler, &context))))
        };
        self.run_in_order(socket.key(), run, || (0, Box::new(|| Outcome::Done)));
    }
}
