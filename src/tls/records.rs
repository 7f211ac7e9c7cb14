//! The record layer of one connection (RFC 8446 §5, RFC 5246 §6.2), by rustls.
//!
//! It uses rustls' unbuffered connections. They decrypt where the bytes lie, and keep none: an idle connection
//! holds its keys and no buffer, where a buffered one would keep 4 KiB of input. Tickets, key updates and `close_notify` are all there.

use std::fmt;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic,
};

use super::State;

/// The longest plaintext of one record (RFC 8446 §5.1).
const RECORD_MAX: usize = 1 << 14;
/// What a record adds to its plaintext: head, type, tag, and TLS 1.2's explicit nonce. A guess that is too small costs a second try.
const OVERHEAD: usize = 32;
/// Head of a record: type, version, length (RFC 8446 §5.1).
const HEAD: usize = 5;

/// Why a connection cannot go on.
#[derive(Debug)]
pub(crate) enum Error {
    /// The peer speaks HTTP without TLS. The answer to that is written.
    PlainHttp,
    /// The peer broke the protocol, or the keys are used up. The alert is written, if one is due.
    Tls(rustls::Error),
    /// Something was to be encrypted before the handshake or after the end.
    NotOpen,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::PlainHttp => f.write_str("plain HTTP on a port that speaks TLS"),
            Error::Tls(error) => error.fmt(f),
            Error::NotOpen => f.write_str("nothing can be sent in this state"),
        }
    }
}

/// See the module's text.
pub(crate) struct Records {
    connection: UnbufferedServerConnection,
    /// A record, or a handshake message, that is not whole yet. At most one of each, so 64 KiB and a record; rustls sees to that.
    carry: Vec<u8>,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing was received yet.
    Fresh,
    Begun,
    /// The peer said `close_notify`.
    Closed,
    Failed,
}

/// It may hold keys.
impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Records")
            .field("is_handshaking", &self.is_handshaking())
            .finish_non_exhaustive()
    }
}

impl Records {
    /// A connection that was just accepted.
    pub(super) fn accept(config: Arc<ServerConfig>) -> Result<Records, Error> {
        Ok(Records {
            connection: UnbufferedServerConnection::new(config).map_err(Error::Tls)?,
            carry: Vec::new(),
            stage: Stage::Fresh,
        })
    }

    /// Whether nothing can be said to the peer yet.
    pub(crate) fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// Takes in what was received, all of it; `ciphertext` is garbled by that. What the peer said is added to `plain`, and what is to be
    /// sent at once (handshake, alerts) to `out`.
    ///
    /// After an error the connection is to be closed, when `out` is sent. What was added to `plain` before counts.
    pub(crate) fn receive(
        &mut self,
        ciphertext: &mut [u8],
        plain: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<State, Error> {
        if self.stage == Stage::Fresh && !ciphertext.is_empty() {
            self.stage = Stage::Begun;
            if speaks_http(ciphertext) {
                self.stage = Stage::Failed;
                out.extend_from_slice(PLAIN_HTTP.as_bytes());
                return Err(Error::PlainHttp);
            }
        }
        let mut rest = ciphertext;
        if !self.carry.is_empty() {
            rest = self.complete(rest);
            self.process_carry(plain, out)?;
            if !self.carry.is_empty() {
                // A handshake message in several records, which stay until it is whole.
                self.carry.extend_from_slice(rest);
                rest = &mut [];
                self.process_carry(plain, out)?;
            }
        }
        let done = self.process(rest, plain, out)?;
        let rest = rest.get(done..).unwrap_or_default();
        if self.stage == Stage::Begun && !rest.is_empty() {
            self.carry.extend_from_slice(rest);
        }
        Ok(match self.stage {
            Stage::Closed | Stage::Failed => State::Closed,
            _ if self.is_handshaking() => State::Handshaking,
            _ => State::Open,
        })
    }

    /// Adds to the carried record what is missing of it, and gives back the rest: that is decrypted where it lies.
    fn complete<'a>(&mut self, bytes: &'a mut [u8]) -> &'a mut [u8] {
        let take = |carry: &mut Vec<u8>, bytes: &'a mut [u8], wanted: usize| {
            let (first, rest) = bytes.split_at_mut(wanted.min(bytes.len()));
            carry.extend_from_slice(first);
            rest
        };
        if self.is_handshaking() {
            // Messages may go over several records.
            let all = bytes.len();
            return take(&mut self.carry, bytes, all);
        }
        let of_head = HEAD.saturating_sub(self.carry.len());
        let rest = take(&mut self.carry, bytes, of_head);
        let of_record = match self.carry.get(..HEAD) {
            Some(&[_, _, _, high, low]) => HEAD + usize::from(u16::from_be_bytes([high, low])),
            _ => 0,
        };
        let of_record = of_record.saturating_sub(self.carry.len());
        take(&mut self.carry, rest, of_record)
    }

    fn process_carry(&mut self, plain: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<(), Error> {
        let mut carry = std::mem::take(&mut self.carry);
        let done = self.process(&mut carry, plain, out)?;
        // An idle connection keeps no buffer.
        if done < carry.len() && self.stage == Stage::Begun {
            carry.drain(..done);
            self.carry = carry;
        }
        Ok(())
    }

    /// Handles the whole records in `bytes`, and says how many bytes are done with.
    fn process(
        &mut self,
        bytes: &mut [u8],
        plain: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<usize, Error> {
        let mut done = 0;
        while self.stage == Stage::Begun {
            let rest = bytes.get_mut(done..).unwrap_or_default();
            let UnbufferedStatus { mut discard, state } = self.connection.process_tls_records(rest);
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(Error::Tls)?;
                        plain.extend_from_slice(record.payload);
                        discard += record.discard;
                    }
                }
                Ok(ConnectionState::EncodeTlsData(data)) => encode(data, out)?,
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => {
                    self.stage = Stage::Closed;
                }
                Ok(_) => return Ok(done + discard),
                Err(error) => {
                    self.stage = Stage::Failed;
                    done += discard;
                    let rest = bytes.get_mut(done..).unwrap_or_default();
                    self.say_alerts(rest, out)?;
                    return Err(Error::Tls(error));
                }
            }
            done += discard;
        }
        Ok(done)
    }

    /// Writes what rustls has to say about an error.
    fn say_alerts(&mut self, rest: &mut [u8], out: &mut Vec<u8>) -> Result<(), Error> {
        // Asked first: without anything to say, it would look at the bytes that it failed at once more.
        while self.connection.wants_write() {
            let UnbufferedStatus { state, .. } = self.connection.process_tls_records(rest);
            let Ok(ConnectionState::EncodeTlsData(data)) = state else {
                break;
            };
            encode(data, out)?;
        }
        Ok(())
    }

    /// Encrypts `plain` and adds the records to `out`. Not before the handshake is over.
    ///
    /// After an error the connection is to be cut: what was to be said cannot be said any more.
    pub(crate) fn encrypt(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        if plain.is_empty() {
            return Ok(());
        }
        self.write(out, |traffic, out| {
            let records = plain.len().div_ceil(RECORD_MAX);
            let room = plain.len() + records * OVERHEAD;
            grow(out, room, |room| traffic.encrypt(plain, room))
        })
    }

    /// Adds the alert that says that nothing more will be sent (RFC 8446 §6.1). Nothing, if the handshake is not over or an alert was sent.
    pub(crate) fn close_notify(&mut self, out: &mut Vec<u8>) {
        if self.is_handshaking() || self.stage == Stage::Failed {
            return;
        }
        // It fails where the alert could not be sent, and then FIN says the same.
        let _ = self.write(out, |traffic, out| {
            grow(out, OVERHEAD, |room| traffic.queue_close_notify(room))
        });
    }

    /// Lets `act` write, after all that rustls has to say before.
    fn write(
        &mut self,
        out: &mut Vec<u8>,
        act: impl FnOnce(&mut WriteTraffic<'_, Data>, &mut Vec<u8>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if self.stage == Stage::Failed {
            return Err(Error::NotOpen);
        }
        loop {
            // What is carried is no whole record, and must be shown all the same: rustls remembers where in it a message begins.
            let UnbufferedStatus { state, .. } =
                self.connection.process_tls_records(&mut self.carry);
            match state {
                Ok(ConnectionState::WriteTraffic(mut traffic)) => return act(&mut traffic, out),
                Ok(ConnectionState::EncodeTlsData(data)) => encode(data, out)?,
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                _ => return Err(Error::NotOpen),
            }
        }
    }

    #[cfg(test)]
    pub(super) fn connection(&self) -> &UnbufferedServerConnection {
        &self.connection
    }
}

type Data = rustls::server::ServerConnectionData;

fn encode(mut data: EncodeTlsData<'_, Data>, out: &mut Vec<u8>) -> Result<(), Error> {
    let start = out.len();
    loop {
        match data.encode(out.get_mut(start..).unwrap_or_default()) {
            Ok(written) => {
                out.truncate(start + written);
                return Ok(());
            }
            Err(EncodeError::InsufficientSize(size)) if out.len() < start + size.required_size => {
                out.resize(start + size.required_size, 0);
            }
            Err(_) => return Err(Error::NotOpen),
        }
    }
}

/// Lets `write` write behind what is in `out`, with as much room as it turns out to need.
fn grow(
    out: &mut Vec<u8>,
    guess: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, EncryptError>,
) -> Result<(), Error> {
    let start = out.len();
    out.resize(start + guess, 0);
    loop {
        match write(out.get_mut(start..).unwrap_or_default()) {
            Ok(written) => {
                out.truncate(start + written);
                return Ok(());
            }
            Err(EncryptError::InsufficientSize(size)) if out.len() < start + size.required_size => {
                out.resize(start + size.required_size, 0);
            }
            Err(_) => {
                out.truncate(start);
                return Err(Error::Tls(rustls::Error::EncryptError));
            }
        }
    }
}

/// Every method begins with a letter, and no record does (RFC 8446 §5.1: types are 20 to 24).
fn speaks_http(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(u8::is_ascii_uppercase)
}

const PLAIN_HTTP: &str = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 56\r\nConnection: close\r\n\r\n\
     This port speaks TLS: use an address with https or wss.\n";

#[cfg(test)]
mod tests;
