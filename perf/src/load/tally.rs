//! Counts and times of one window.

use std::time::Duration;

use crate::script::Plan;

const SAMPLES_MAX: usize = 1 << 20;

/// What was counted since the window opened.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) messages: u64,
    samples_us: Vec<f32>,
}

impl Tally {
    pub(crate) fn record(&mut self, latency: Duration) {
        if self.samples_us.len() < SAMPLES_MAX {
            self.samples_us.push(latency.as_secs_f32() * 1e6);
        }
    }

    /// One line of JSON. In rooms a latency is that of a whole burst to all members.
    pub(crate) fn report(&mut self, plan: &Plan, took: Duration) -> String {
        self.samples_us.sort_by(f32::total_cmp);
        let seconds = took.as_secs_f64();
        format!(
            "{{\"scenario\":\"{}\",\"connections\":{},\"bytes\":{},\"depth\":{},\"burst\":{},\"rooms\":{},\
             \"messages\":{},\"seconds\":{seconds:.3},\"rate\":{:.0},\"p50_us\":{:.1},\"p99_us\":{:.1}}}",
            plan.scenario,
            plan.connections,
            plan.bytes,
            plan.depth,
            plan.burst,
            plan.rooms,
            self.messages,
            self.messages as f64 / seconds,
            self.percentile(50),
            self.percentile(99),
        )
    }

    fn percentile(&self, percent: usize) -> f32 {
        self.samples_us
            .get(self.samples_us.len() * percent / 100)
            .copied()
            .unwrap_or(0.0)
    }
}
