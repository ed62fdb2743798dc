//! The learning rate of each step, as `transformers.get_scheduler` has it: up in a straight line from 0 over the
//! warmup, then as the schedule says. Step 0 is the first, so with a warmup the first step has rate 0.

use setaccio_base::run_lock::Leg;

use crate::recipe::{Schedule, Train};

/// The learning rate as a function of the step.
#[derive(Clone, Debug)]
pub struct Rate {
    shape: Schedule,
    peak: f64,
    warmup_steps: u64,
    warmup_ratio: f64,
    total: u64,
    legs: Vec<Leg>,
}

#[allow(clippy::cast_precision_loss, reason = "far fewer than 2^53 steps")]
fn float(x: u64) -> f64 {
    x as f64
}

impl Rate {
    /// For a run of `total` steps. A warmup ratio becomes steps rounded up.
    pub fn new(train: &Train, total: u64) -> Self {
        Self {
            shape: train.schedule,
            peak: train.learning_rate,
            warmup_steps: train.warmup_steps,
            warmup_ratio: train.warmup_ratio,
            total,
            legs: Vec::new(),
        }
    }

    /// The same for a run that went as far as `legs` say under other lengths. The steps after them have the rates that a
    /// run of this length has there, as transformers' Trainer gives them when `max_steps` is another one on resuming.
    #[must_use]
    pub fn after(self, legs: &[Leg]) -> Self {
        Self { legs: legs.to_vec(), ..self }
    }

    /// Of step `step`, from 0.
    pub fn at(&self, step: u64) -> f64 {
        let leg = self.legs.iter().find(|leg| step < leg.until);
        self.peak * self.factor(step, leg.map_or(self.total, |leg| leg.steps))
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of the steps")]
    fn factor(&self, step: u64, total: u64) -> f64 {
        let warmup = match self.warmup_steps {
            0 => (float(total) * self.warmup_ratio).ceil() as u64,
            steps => steps,
        };
        if step < warmup {
            return float(step) / float(warmup);
        }
        let span = float(total.saturating_sub(warmup).max(1));
        match self.shape {
            Schedule::Constant => 1.0,
            Schedule::Linear => float(total.saturating_sub(step)) / span,
            Schedule::Cosine => {
                let done = float(step - warmup) / span;
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
