//! What the query of an Engine.IO request says, and what is checked of it first.

use super::error::Error;
use super::options::Options;
use crate::proto::session::{Revision, Transport};
use crate::shard::call::{Above, Opening};
use crate::shard::grant::Grant;
use crate::shard::handshake::Handshake;
use crate::wire::http::query_value;

/// What the query of a request says.
pub(crate) struct Query {
    pub(crate) transport: Transport,
    pub(crate) sid: Option<Box<str>>,
    /// `None`: neither 3 nor 4 as this server has it.
    pub(crate) revision: Option<Revision>,
    pub(crate) base64_only: bool,
}

impl Query {
    /// Reads it, which is the first check.
    pub(crate) fn read(query: &str, options: &Options) -> Result<Query, Error> {
        let transport = match query_value(query, "transport").as_deref() {
            Some("polling") if options.polling => Transport::Polling,
            Some("websocket") if options.websocket => Transport::WebSocket,
            _ => return Err(Error::TransportUnknown),
        };
        let revision = match query_value(query, "EIO").as_deref() {
            Some("4") => Some(Revision::V4),
            _ if options.allow_eio3 => Some(Revision::V3),
            _ => None,
        };
        let sid = query_value(query, "sid").filter(|sid| !sid.is_empty());
        Ok(Query {
            transport,
            sid: sid.map(|sid| sid.into()),
            revision,
            base64_only: query_value(query, "b64").is_some_and(|b64| !b64.is_empty()),
        })
    }

    /// The checks of a request that opens a session; `is_upgrade`: it asks for a WebSocket.
    pub(crate) fn check_opening(&self, method: &str, is_upgrade: bool) -> Result<(), Error> {
        if method != "GET" {
            Err(Error::BadMethod)
        } else if is_upgrade != (self.transport == Transport::WebSocket) {
            Err(Error::BadRequest)
        } else {
            Ok(())
        }
    }

    pub(crate) fn sid(&self) -> Option<&str> {
        self.sid.as_deref()
    }

    /// What a session starts with that such a request opens; the last check is that of the revision.
    pub(crate) fn opening(
        &self,
        above: Above,
        handshake: Handshake,
        grant: Option<Grant>,
        options: &Options,
    ) -> Result<Opening, Error> {
        let revision = self.revision.ok_or(Error::UnsupportedVersion)?;
        Ok(Opening {
            above,
            revision,
            base64_only: self.base64_only,
            name: options.name(&handshake),
            handshake,
            grant,
        })
    }
}
