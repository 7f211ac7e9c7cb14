//! The way of answers to one broadcast, back to who asked.

use tokio::sync::mpsc;

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
}

/// Takes the reports on one broadcast. A clone reports to the same asker.
///
/// ```
/// use ringhall::adapter::{AckReport, Answers};
/// # fn f(answers: Answers, payload: ringhall::Payload) {
/// answers.report(AckReport::Count(1));
/// answers.report(AckReport::AllCounted);
/// if !answers.is_abandoned() {
///     answers.report(AckReport::Answer(payload));
/// }
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Answers(mpsc::UnboundedSender<AckReport>);

impl Answers {
    /// The two ends.
    pub(crate) fn channel() -> (Answers, mpsc::UnboundedReceiver<AckReport>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Answers(sender), receiver)
    }

    /// Tells the asker; nothing happens if it is gone.
    pub fn report(&self, report: AckReport) {
        let _ = self.0.send(report);
    }

    /// Does nobody want to know any more?
    pub fn is_abandoned(&self) -> bool {
        self.0.is_closed()
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
        let (answers, receiver) = Answers::channel();
        assert!(!answers.is_abandoned());
        drop(receiver);
        assert!(answers.is_abandoned());
        answers.report(AckReport::AllCounted);
    }
}
