//! How an event is answered: by an [`Ack`], or by what the handler returns.

#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;

use super::arguments::{Arguments, EncodeError};
use super::binary::{Binary, Payload};
use super::counters::Count;
use super::extract::Data;
use super::socket::Socket;

#[cfg(test)]
mod tests;

/// The right to answer one event.
///
/// A handler that takes an `Ack` answers when it likes, also after it has returned; its return value is then no answer. An
/// event is answered at most once, so `send` consumes the `Ack`. Dropping it sends nothing: the client's callback is not
/// called, or times out.
///
/// If the client did not ask for an answer (`socket.emit` without a callback), `send` does nothing.
///
/// ```
/// use ringhall::{Ack, Server};
/// let builder = Server::builder().on("later", async |ack: Ack| {
///     tokio::time::sleep(std::time::Duration::from_secs(1)).await;
///     ack.send("now");
/// });
/// # let _ = builder;
/// ```
#[must_use = "the client waits for an answer; dropping the `Ack` sends none"]
pub struct Ack {
    to: Option<(Socket, u64)>,
}

impl Ack {
    pub(super) fn new(to: Option<(Socket, u64)>) -> Self {
        Self { to }
    }

    /// Whether the client waits for an answer.
    ///
    /// ```
    /// use ringhall::{Ack, Server};
    /// let builder = Server::builder().on("report", |ack: Ack| {
    ///     if ack.is_expected() {
    ///         ack.send("a long report, made for those who want it");
    ///     }
    /// });
    /// # let _ = builder;
    /// ```
    pub fn is_expected(&self) -> bool {
        self.to.is_some()
    }

    /// Answers with `answer`: a tuple is a list of arguments for the client's callback, `()` an empty one, and any other
    /// value one argument.
    ///
    /// If `answer` cannot be encoded, nothing is sent, and the error is logged and counted; [`try_send`](Self::try_send) tells.
    ///
    /// ```
    /// use ringhall::{Ack, Server, testing};
    /// let builder = Server::builder().on("split", |ack: Ack| ack.send(("a", 1)));
    /// testing::run(builder, async |test| {
    ///     let answer: (String, u8) = test.connect().await.emit_with_ack("split", ()).await;
    ///     assert_eq!(answer, ("a".to_owned(), 1));
    /// });
    /// ```
    pub fn send<T: Serialize>(self, answer: T) {
        if let Some((socket, id)) = self.to {
            match Arguments::of(&answer) {
                Ok(arguments) => socket.acknowledge(id, &arguments.json, &arguments.attachments),
                Err(error) => {
                    log::debug!(
                        "{}: the answer to event {id} was not sent: {error}",
                        socket.namespace()
                    );
                    socket.count(Count::Failed);
                }
            }
        }
    }

    /// Answers as [`send`](Self::send) does, or tells why it cannot.
    ///
    /// # Errors
    ///
    /// If `answer` cannot be written as JSON. Nothing was sent then.
    ///
    /// ```
    /// # fn f(ack: ringhall::Ack, report: impl serde::Serialize) {
    /// if let Err(error) = ack.try_send(report) {
    ///     eprintln!("the client gets no report: {error}");
    /// }
    /// # }
    /// ```
    pub fn try_send<T: Serialize>(self, answer: T) -> Result<(), EncodeError> {
        if let Some((socket, id)) = self.to {
            let Arguments { json, attachments } = Arguments::of(&answer)?;
            socket.acknowledge(id, &json, &attachments);
        }
        Ok(())
    }

    /// Answers with arguments that are encoded already, such as those of another event.
    ///
    /// ```
    /// use ringhall::{Ack, Payload, Server, testing};
    /// let builder = Server::builder().on("echo", |ack: Ack, args: Payload| ack.send_raw(&args));
    /// testing::run(builder, async |test| {
    ///     let answer: (u8, u8) = test.connect().await.emit_with_ack("echo", (1, 2)).await;
    ///     assert_eq!(answer, (1, 2));
    /// });
    /// ```
    pub fn send_raw(self, payload: &Payload) {
        if let Some((socket, id)) = self.to {
            socket.acknowledge(id, payload.list(), payload.attachments());
        }
    }
}

impl fmt::Debug for Ack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ack")
            .field("id", &self.to.as_ref().map(|(_, id)| id))
            .finish()
    }
}

/// What an event handler may return. The value is the acknowledgement, if the client asked for one.
///
/// | returned | acknowledgement |
/// |---|---|
/// | `()` | none |
/// | a number, `bool`, string, `Vec`, array, `serde_json::Value`, [`Binary`] | this one argument |
/// | `Option<T>` | one argument, `null` for `None` |
/// | a tuple | the list of arguments |
/// | [`Data<T>`](Data) | any serialisable value; a tuple in it is the list of arguments |
/// | [`Payload`] | the arguments as they are |
/// | `Result<T, E>` | `Ok`: that of `T`. `Err`: none; the error is logged at debug level and counted |
///
/// Implement it for a type of your own to return it without [`Data`]:
///
/// ```
/// use ringhall::{Ack, HandlerError, IntoReply};
///
/// #[derive(serde::Serialize)]
/// struct Saved {
///     revision: u64,
/// }
///
/// impl IntoReply for Saved {
///     fn into_reply(self, ack: Ack) -> Result<(), HandlerError> {
///         ack.try_send(self).map_err(HandlerError::new)
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be returned from an event handler",
    label = "not an acknowledgement",
    note = "return `Data(value)` to acknowledge with any value that implements `serde::Serialize`",
    note = "return `()` (end the body with `;`) to send no acknowledgement",
    note = "a closure that loops for ever or always panics needs a written return type: `-> ()`"
)]
pub trait IntoReply {
    /// Whether values of this type may answer at all. `()` does not, and leaves the answer to another handler of the event.
    const ANSWERS: bool = true;

    /// Answers the event. `ack` is one that does nothing, if no answer is expected or the handler has taken the [`Ack`].
    ///
    /// # Errors
    ///
    /// What is returned is logged at debug level and counted, and the client gets no acknowledgement.
    fn into_reply(self, ack: Ack) -> Result<(), HandlerError>;
}

/// Why a handler failed.
///
/// ```
/// assert_eq!(ringhall::HandlerError::new("no such file").to_string(), "no such file");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandlerError(String);

impl HandlerError {
    /// An error with this reason.
    ///
    /// ```
    /// use ringhall::{HandlerError, Server};
    /// let builder = Server::builder().on("fail", || Err::<(), _>(HandlerError::new("not yet")));
    /// # let _ = builder;
    /// ```
    pub fn new(reason: impl fmt::Display) -> Self {
        Self(reason.to_string())
    }
}

impl fmt::Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for HandlerError {}

impl IntoReply for () {
    const ANSWERS: bool = false;

    fn into_reply(self, _: Ack) -> Result<(), HandlerError> {
        Ok(())
    }
}

impl<T: IntoReply, E: fmt::Display> IntoReply for Result<T, E> {
    const ANSWERS: bool = T::ANSWERS;

    fn into_reply(self, ack: Ack) -> Result<(), HandlerError> {
        self.map_err(HandlerError::new)?.into_reply(ack)
    }
}

impl<T: Serialize> IntoReply for Data<T> {
    fn into_reply(self, ack: Ack) -> Result<(), HandlerError> {
        ack.try_send(self.0).map_err(HandlerError::new)
    }
}

impl IntoReply for Payload {
    fn into_reply(self, ack: Ack) -> Result<(), HandlerError> {
        ack.send_raw(&self);
        Ok(())
    }
}

impl<T: Serialize, const N: usize> IntoReply for [T; N]
where
    [T; N]: Serialize,
{
    fn into_reply(self, ack: Ack) -> Result<(), HandlerError> {
        Data(self).into_reply(ack)
    }
}

macro_rules! reply_with_one_argument {
    ($($type:ty),* $(,)?) => {
        $(impl IntoReply for $type {
            fn into_reply(self, ack: Ack) -> Result<(), HandlerError> {
                Data(self).into_reply(ack)
            }
        })*
    };
}

reply_with_one_argument! {
    bool, char, i8, i16, i32, i64, i128, isize, u8, u16, u32, u64, u128, usize, f32, f64,
    String, &str, Cow<'_, str>, serde_json::Value, Binary,
}

/// Generic containers and tuples: what is in them must be serialisable.
macro_rules! reply_with_serialisable {
    ($(<$($element:ident),*> $type:ty;)*) => {
        $(impl<$($element: Serialize),*> IntoReply for $type {
            fn into_reply(self, ack: Ack) -> Result<(), HandlerError> {
                Data(self).into_reply(ack)
            }
        })*
    };
}

reply_with_serialisable! {
    <T> Option<T>;
    <T> Vec<T>;
    <A> (A,);
    <A, B> (A, B);
    <A, B, C> (A, B, C);
    <A, B, C, D> (A, B, C, D);
    <A, B, C, D, E> (A, B, C, D, E);
    <A, B, C, D, E, F> (A, B, C, D, E, F);
    <A, B, C, D, E, F, G> (A, B, C, D, E, F, G);
    <A, B, C, D, E, F, G, H> (A, B, C, D, E, F, G, H);
}
