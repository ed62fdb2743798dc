//! The learning rate of each step, as `transformers.get_scheduler` has it: up in a straight line from 0 over the
//! warmup, then as the schedule says. Step 0 is the first, so with a warmup the first step has rate 0.

use crate::recipe::{Schedule, Train};

/// The learning rate as a function of the step.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    shape: Schedule,
    peak: f64,
    warmup: u64,
    total: u64,
}

#[allow(clippy::cast_precision_loss, reason = "far fewer than 2^53 steps")]
fn float(x: u64) -> f64 {
    x as f64
}

impl Rate {
    /// For a run of `total` steps. A warmup ratio becomes steps rounded up.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of the steps")]
    pub fn new(train: &Train, total: u64) -> Self {
        let warmup = match train.warmup_steps {
            0 => (float(total) * train.warmup_ratio).ceil() as u64,
            steps => steps,
        };
        Self { shape: train.schedule, peak: train.learning_rate, warmup, total }
    }

    /// Of step `step`, from 0.
    pub fn at(&self, step: u64) -> f64 {
        self.peak * self.factor(step)
    }

    fn factor(&self, step: u64) -> f64 {
        if step < self.warmup {
            return float(step) / float(self.warmup);
        }
        let span = float(self.total.saturating_sub(self.warmup).max(1));
        match self.shape {
            Schedule::Constant => 1.0,
            Schedule::Linear => float(self.total.saturating_sub(step)) / span,
            Schedule::Cosine => {
                let done = float(step - self.warmup) / span;
                (0.5 * (1.0 + (std::f64::consts::PI * done).cos())).max(0.0)
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "exact on purpose")]
mod tests {
    use super::*;

    #[test]
    fn up_then_down() {
        for (schedule, middle) in [(Schedule::Linear, 0.5), (Schedule::Cosine, 0.5), (Schedule::Constant, 1.0)] {
            let rate = Rate::new(&Train { schedule, learning_rate: 2.0, warmup_ratio: 0.15, ..Train::default() }, 12);
            // 12 x 0.15 = 1.8, rounded up.
            assert_eq!([rate.at(0), rate.at(1), rate.at(2)], [0.0, 1.0, 2.0]);
            assert!((rate.at(7) - 2.0 * middle).abs() < 1e-15);
        }
    }
}
