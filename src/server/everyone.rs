//! What a server's and a namespace's handle can do with all sockets at once.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::asking::BroadcastAcks;
use super::broadcast::Broadcast;
use super::remote::{FetchSockets, IntoRooms, Rooms};
use super::{NamespaceHandle, Server};

/// The methods that both have; `$example` begins the examples.
macro_rules! for_everyone {
    ($handle:ident, $param:literal) => {
        impl $handle {
            /// Whether what is emitted may be compressed; see [`Broadcast::compress`].
            ///
            /// ```
            #[doc = $param]
            /// server.compress(false).emit("noise", "that no compression makes shorter");
            /// # }
            /// ```
            pub fn compress(&self, compress: bool) -> Broadcast<'_> {
                self.everyone().compress(compress)
            }

            /// How long acknowledgements are waited for; see [`Broadcast::timeout`].
            ///
            /// ```
            #[doc = $param]
            /// let up = server.timeout(std::time::Duration::from_secs(1)).emit_with_ack::<bool>("up?", ()).await;
            /// # let _ = up;
            /// # }
            /// ```
            pub fn timeout(&self, timeout: Duration) -> Broadcast<'_> {
                self.everyone().timeout(timeout)
            }

            /// Emits an event to everybody and collects the acknowledgements; see [`Broadcast::emit_with_ack`].
            ///
            /// ```
            #[doc = $param]
            /// let up = server.emit_with_ack::<bool>("up?", ()).await;
            /// println!("{} answered", up.answers.len());
            /// # }
            /// ```
            pub fn emit_with_ack<T: DeserializeOwned>(
                &self,
                event: &str,
                args: impl Serialize,
            ) -> BroadcastAcks<T> {
                self.everyone().emit_with_ack(event, args)
            }

            /// All sockets; see [`Broadcast::fetch_sockets`].
            ///
            /// ```
            #[doc = $param]
            /// println!("{} are here", server.fetch_sockets().await.len());
            /// # }
            /// ```
            pub fn fetch_sockets(&self) -> FetchSockets {
                self.everyone().fetch_sockets()
            }

            /// Makes all sockets join rooms; see [`Broadcast::sockets_join`].
            ///
            /// ```
            #[doc = $param]
            /// server.sockets_join("everybody");
            /// # }
            /// ```
            pub fn sockets_join(&self, rooms: impl IntoRooms) {
                self.everyone().sockets_join(rooms);
            }

            /// Makes all sockets leave rooms; see [`Broadcast::sockets_leave`].
            ///
            /// ```
            #[doc = $param]
            /// server.sockets_leave("game 7");
            /// # }
            /// ```
            pub fn sockets_leave(&self, rooms: impl IntoRooms) {
                self.everyone().sockets_leave(rooms);
            }

            /// Disconnects all sockets; see [`Broadcast::disconnect_sockets`].
            ///
            /// ```
            #[doc = $param]
            /// server.disconnect_sockets(false);
            /// # }
            /// ```
            pub fn disconnect_sockets(&self, close: bool) {
                self.everyone().disconnect_sockets(close);
            }

            /// Who is in which room, on all cores of this server: the ids of the members, by the name of the room. The room that each socket
            /// has of its own is among them.
            ///
            /// ```
            #[doc = $param]
            /// for (room, members) in server.rooms().await {
            ///     println!("{} in {room}", members.len());
            /// }
            /// # }
            /// ```
            pub fn rooms(&self) -> Rooms {
                self.everyone().local().rooms()
            }

            /// Which rooms each socket of this server is in: their names, by the id of the socket.
            ///
            /// ```
            #[doc = $param]
            /// for (id, rooms) in server.sids().await {
            ///     println!("{id} is in {rooms:?}");
            /// }
            /// # }
            /// ```
            pub fn sids(&self) -> Rooms {
                self.everyone().local().sids()
            }
        }
    };
}

for_everyone!(Server, "# async fn f(server: ringhall::Server) {");
for_everyone!(
    NamespaceHandle,
    "# async fn f(server: ringhall::NamespaceHandle) {"
);
