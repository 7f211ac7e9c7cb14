//! The way of answers to one broadcast, back to who asked.

use std::fmt;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::packet::SocketDetails;
use crate::server::Payload;

/// What there is to say of a broadcast whose answers are wanted.
///
/// ```
/// use ringhall::adapter::AckReport;
/// let report = AckReport::Count(3);
/// # let _ = report;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AckReport {
    /// So many more sockets got the packet: as many answers are to be expected.
    Count(usize),
    /// A socket's answer: the list of its arguments.
    Answer(Payload),
    /// So many of the answers that were to be expected will not come: their server is lost.
    Lost(usize),
    /// Nobody will report a count any more.
    AllCounted,
    /// Others than those that are lost will not answer, or not in time.
    NotAll,
}

type Report<T> = Arc<dyn Fn(T) -> bool + Send + Sync>;

/// Takes the reports on one broadcast. A clone reports to the same asker; when the last is dropped, nothing more will come.
///
/// ```
/// use ringhall::adapter::{AckReport, AnswerSink};
/// # fn f(answers: AnswerSink, payload: ringhall::Payload) {
/// answers.report(AckReport::Count(1));
/// answers.report(AckReport::AllCounted);
/// let is_wanted = answers.report(AckReport::Answer(payload));
/// # let _ = is_wanted;
/// # }
/// ```
#[derive(Clone)]
pub struct AnswerSink(Report<AckReport>);

impl AnswerSink {
    /// `report` is `false` when nobody wants to know any more.
    pub(crate) fn new(report: impl Fn(AckReport) -> bool + Send + Sync + 'static) -> Self {
        AnswerSink(Arc::new(report))
    }

    /// The two ends of a channel.
    pub(crate) fn channel() -> (Self, mpsc::UnboundedReceiver<AckReport>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let report = move |report| sender.send(report).is_ok();
        (AnswerSink::new(report), receiver)
    }

    /// Tells the asker. `false`: nobody wants to know any more.
    ///
    /// ```
    /// use ringhall::adapter::{AckReport, AnswerSink};
    /// fn lost(answers: &AnswerSink, sockets: usize) {
    ///     if !answers.report(AckReport::Lost(sockets)) {
    ///         println!("nobody waits any more");
    ///     }
    /// }
    /// # let _ = lost;
    /// ```
    pub fn report(&self, report: AckReport) -> bool {
        (self.0)(report)
    }
}

impl fmt::Debug for AnswerSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnswerSink")
    }
}

/// Takes the sockets of other servers, as they come. A clone takes them for the same asker; when the last is dropped, nothing more will come.
///
/// ```
/// use ringhall::adapter::{SocketDetails, SocketSink};
/// fn arrived(sink: &SocketSink, sockets: Vec<SocketDetails>) {
///     sink.report(sockets);
/// }
/// ```
#[derive(Clone)]
pub struct SocketSink(Report<Vec<SocketDetails>>);

impl SocketSink {
    /// `report` is `false` when nobody wants to know any more.
    pub(crate) fn new(report: impl Fn(Vec<SocketDetails>) -> bool + Send + Sync + 'static) -> Self {
        SocketSink(Arc::new(report))
    }

    /// Tells the asker of sockets. `false`: nobody wants to know any more.
    ///
    /// ```
    /// use ringhall::adapter::{SocketDetails, SocketSink};
    /// fn arrived(sink: &SocketSink, sockets: Vec<SocketDetails>) -> bool {
    ///     sink.report(sockets)
    /// }
    /// # let _ = arrived;
    /// ```
    pub fn report(&self, sockets: Vec<SocketDetails>) -> bool {
        (self.0)(sockets)
    }
}

impl fmt::Debug for SocketSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SocketSink")
    }
}

/// Adds up reports until the last answer is there.
#[derive(Debug, Default)]
pub(crate) struct Sum {
    pub(crate) expected: usize,
    answered: usize,
    all_counted: bool,
}

impl Sum {
    pub(crate) fn add(&mut self, report: &AckReport) {
        match report {
            AckReport::Count(count) => self.expected = self.expected.saturating_add(*count),
            AckReport::Answer(_) => self.answered += 1,
            AckReport::Lost(count) => self.expected = self.expected.saturating_sub(*count),
            AckReport::AllCounted => self.all_counted = true,
            AckReport::NotAll => {}
        }
    }

    pub(crate) fn is_counted(&self) -> bool {
        self.all_counted
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.all_counted && self.answered >= self.expected
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_over_with_the_last_answer_or_when_no_more_can_come() {
        let answer = || AckReport::Answer(Payload::encode(&1).unwrap());
        let mut sum = Sum::default();
        for report in [answer(), AckReport::Count(2), AckReport::Count(1)] {
            sum.add(&report);
            assert!(!sum.is_complete());
        }
        sum.add(&AckReport::AllCounted);
        assert!(sum.is_counted() && !sum.is_complete());
        sum.add(&answer());
        assert!(!sum.is_complete());
        sum.add(&AckReport::Lost(1));
        assert!(sum.is_complete());

        let mut nobody = Sum::default();
        nobody.add(&AckReport::AllCounted);
        assert!(nobody.is_complete());
    }

    #[test]
    fn an_asker_that_is_gone_is_noticed() {
        let (answers, receiver) = AnswerSink::channel();
        assert!(answers.report(AckReport::Count(1)));
        drop(receiver);
        assert!(!answers.report(AckReport::AllCounted));
    }
}
