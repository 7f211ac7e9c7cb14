//! Broadcasts that ask their receivers for an answer.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::Sleep;

use super::arguments::Args;
use super::binary::Payload;
use super::broadcast::Broadcast;
use super::emit::{self, EmitError};
use super::shared::Shared;
use super::socket::AckError;
use crate::shard::hall::asking::{Asking, Report};
use crate::shard::hall::broadcast::Wanted;

/// How long answers are waited for where nothing else is said.
const TIMEOUT: Duration = Duration::from_secs(10);

impl Broadcast<'_> {
    /// How long [`emit_with_ack`](Broadcast::emit_with_ack) waits for answers: 10 s, where nothing is said. (In Node a broadcast without a
    /// timeout waits for 1 ms.)
    ///
    /// ```
    /// # use std::time::Duration;
    /// # async fn f(server: ringhall::Server) {
    /// let ready = server.to("game").timeout(Duration::from_secs(3)).emit_with_ack::<bool>("ready?", ()).await;
    /// # let _ = ready;
    /// # }
    /// ```
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Emits an event and collects the acknowledgements of all its receivers, on all cores.
    ///
    /// The event is sent at once, whether or not the answers are awaited. They can be awaited together, or one after the other with
    /// [`next`](BroadcastAcks::next). Answers come in the order of their arrival; `T` is read like [`Data`](crate::Data): a tuple is the
    /// list of values that a client answered, any other type the first of them.
    ///
    /// Where nobody is a receiver, there is nothing to wait for. A receiver that disconnects is waited for until the time is up, as in Node.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # async fn f(server: ringhall::Server) {
    /// let votes = server.to("jury").timeout(Duration::from_secs(30)).emit_with_ack::<u32>("vote", "pie").await;
    /// println!("{} points", votes.answers.iter().sum::<u32>());
    /// if let Some(error) = votes.error {
    ///     println!("not all have voted: {error}");
    /// }
    /// # }
    /// ```
    pub fn emit_with_ack<T: DeserializeOwned>(
        &self,
        event: &str,
        args: impl Serialize,
    ) -> BroadcastAcks<T> {
        let timeout = self.timeout.unwrap_or(TIMEOUT);
        let (reports, receiver) = unbounded_channel();
        let id = match self.hall {
            Some(hall) => self.shared.next_packet_id(hall.core()),
            None => self.shared.next_packet_id_anywhere(),
        };
        let asking = Asking { id, reports };
        let parser = self.shared.settings.parser;
        let sent = emit::with_event(parser, self.namespace, event, Some(id), &args, |message| {
            let wanted = Wanted {
                count: false,
                answers: Some(&asking),
            };
            let target = self.target();
            if let Some(elsewhere) = self.elsewhere() {
                let timeout_ms = timeout.as_millis().try_into().unwrap_or(u64::MAX);
                elsewhere.ask(&target, message, &asking, timeout_ms);
            }
            match self.hall {
                Some(hall) => hall.broadcast(&target, message, wanted),
                None => self.shared.deliver(&target, message, wanted),
            };
        });
        // The cores have their own ends: this one would keep the channel open.
        drop(asking);
        BroadcastAcks {
            shared: self.shared.clone(),
            id,
            receiver,
            refused: sent.err(),
            timeout,
            asked_ms: self.shared.now_ms(),
            sleep: None,
            is_over: false,
            not_all: false,
            asked: 0,
            answers: Answers::default(),
            of: PhantomData,
        }
    }
}

/// The acknowledgements of a broadcast, once they are there; see [`Broadcast::emit_with_ack`]. Dropping it stops waiting.
///
/// It is a future of all answers and, for those who want each as it comes, a stream. Both want a tokio runtime around them, such as every
/// handler and every [`spawn`](crate::spawn)ed task has.
///
/// ```
/// # use std::time::Duration;
/// # async fn f(socket: ringhall::Socket) {
/// let mut answers = socket.to("lobby").emit_with_ack::<String>("who are you", ());
/// while let Some(answer) = answers.next().await {
///     match answer {
///         Ok(name) => println!("{name}"),
///         Err(error) => println!("{error}"),
///     }
/// }
/// # }
/// ```
#[must_use = "the event was sent; await this for the acknowledgements"]
pub struct BroadcastAcks<T> {
    shared: Arc<Shared>,
    id: u64,
    receiver: UnboundedReceiver<Report>,
    refused: Option<EmitError>,
    timeout: Duration,
    asked_ms: u64,
    /// From the first time that somebody waits.
    sleep: Option<Pin<Box<Sleep>>>,
    is_over: bool,
    /// Some on other servers will not answer.
    not_all: bool,
    asked: usize,
    /// For the future: what has come.
    answers: Answers<Payload>,
    of: PhantomData<fn() -> T>,
}

/// What the receivers of a broadcast answered.
///
/// ```
/// # async fn f(server: ringhall::Server) {
/// let ringhall::Answers { answers, error, .. } = server.everyone().emit_with_ack::<String>("name", ()).await;
/// println!("{answers:?}, {error:?}");
/// # }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Answers<T> {
    /// In the order of their arrival.
    pub answers: Vec<T>,
    /// Why these are not all: some did not answer in time, or something else than a `T`, or the event was not sent.
    pub error: Option<AckError>,
}

impl<T> Default for Answers<T> {
    fn default() -> Self {
        Answers {
            answers: Vec::new(),
            error: None,
        }
    }
}

impl<T> BroadcastAcks<T> {
    /// How many sockets have been asked, as far as their cores have told up to now.
    ///
    /// ```
    /// # async fn f(server: ringhall::Server) {
    /// let mut answers = server.to("jury").emit_with_ack::<u32>("vote", "pie");
    /// let first = answers.next().await;
    /// println!("{first:?} is the first of {} votes", answers.asked());
    /// # }
    /// ```
    pub fn asked(&self) -> usize {
        self.asked
    }

    /// The next answer, as it came, or the one error that ends it all.
    fn poll_payload(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Payload, AckError>>> {
        if let Some(error) = self.refused.take() {
            self.is_over = true;
            return Poll::Ready(Some(Err(AckError::NotSent(error))));
        }
        if self.is_over {
            return Poll::Ready(None);
        }
        loop {
            match self.receiver.poll_recv(cx) {
                Poll::Ready(Some(Report::Count(count))) => self.asked += count,
                Poll::Ready(Some(Report::Answer { json, attachments })) => {
                    let args = Args {
                        json: &json,
                        attachments: &attachments,
                    };
                    return Poll::Ready(Some(Payload::of(&args).map_err(AckError::Decode)));
                }
                Poll::Ready(Some(Report::NotAll)) => self.not_all = true,
                Poll::Ready(None) => {
                    self.is_over = true;
                    return Poll::Ready(self.not_all.then_some(Err(AckError::TimedOut)));
                }
                Poll::Pending => break,
            }
        }
        // Both are rounded down: rather a millisecond too late than too early.
        let elapsed_ms = self.shared.now_ms().saturating_sub(self.asked_ms + 1);
        let left = || {
            self.timeout
                .saturating_sub(Duration::from_millis(elapsed_ms))
        };
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(left())));
        ready!(sleep.as_mut().poll(cx));
        self.give_up();
        Poll::Ready(Some(Err(AckError::TimedOut)))
    }

    fn give_up(&mut self) {
        self.is_over = true;
        self.receiver.close();
        self.shared.unask(self.id);
    }
}

impl<T: DeserializeOwned> BroadcastAcks<T> {
    /// The next answer, in the order of their arrival. `None`: all have answered, or the time is up, which was said before by
    /// [`AckError::TimedOut`]. An answer that is no `T` is an error, and further ones may follow.
    ///
    /// ```
    /// # async fn f(server: ringhall::Server) {
    /// // The first to answer is enough.
    /// let first = server.to("workers").emit_with_ack::<String>("free?", ()).next().await;
    /// # let _ = first;
    /// # }
    /// ```
    pub async fn next(&mut self) -> Option<Result<T, AckError>> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

#[cfg(test)]
impl<T: DeserializeOwned> BroadcastAcks<T> {
    /// What has come by now: how many were asked, what they answered, and whether that is all.
    pub(crate) fn drain(&mut self) -> (usize, Vec<T>, bool) {
        let mut answers = Vec::new();
        loop {
            match self.receiver.try_recv() {
                Ok(Report::Count(count)) => self.asked += count,
                Ok(Report::NotAll) => {}
                Ok(Report::Answer { json, attachments }) => {
                    let args = Args {
                        json: &json,
                        attachments: &attachments,
                    };
                    let payload = Payload::of(&args).ok();
                    answers.extend(payload.and_then(|payload| payload.decode().ok()));
                }
                Err(error) => {
                    return (self.asked, answers, error == TryRecvError::Disconnected);
                }
            }
        }
    }
}

impl<T: DeserializeOwned> Stream for BroadcastAcks<T> {
    type Item = Result<T, AckError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let answer = ready!(self.poll_payload(cx));
        Poll::Ready(
            answer.map(|answer| answer.and_then(|it| it.decode().map_err(AckError::Decode))),
        )
    }
}

impl<T: DeserializeOwned> Future for BroadcastAcks<T> {
    type Output = Answers<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answers<T>> {
        while let Some(answer) = ready!(self.poll_payload(cx)) {
            match answer {
                Ok(payload) => self.answers.answers.push(payload),
                Err(error) => self.answers.error = Some(error),
            }
        }
        let Answers { answers, mut error } = std::mem::take(&mut self.answers);
        let mut decoded = Vec::with_capacity(answers.len());
        for payload in answers {
            match payload.decode() {
                Ok(answer) => decoded.push(answer),
                Err(unfit) => error = error.or(Some(AckError::Decode(unfit))),
            }
        }
        Poll::Ready(Answers {
            answers: decoded,
            error,
        })
    }
}

impl<T> Drop for BroadcastAcks<T> {
    fn drop(&mut self) {
        // What has come is not wanted; where no more can come, nobody has to be told.
        while !self.is_over {
            match self.receiver.try_recv() {
                Ok(_) => {}
                Err(TryRecvError::Empty) => self.give_up(),
                Err(TryRecvError::Disconnected) => self.is_over = true,
            }
        }
    }
}

impl<T> fmt::Debug for BroadcastAcks<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BroadcastAcks")
            .field("id", &self.id)
            .field("asked", &self.asked)
            .finish_non_exhaustive()
    }
}
