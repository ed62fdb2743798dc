//! How the next token is chosen, as transformers does: penalties, then temperature, then the tokens that may be chosen.

use std::collections::BTreeMap;

use crate::kernels::{largest_of, sum_exp};

/// How the next token is chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// 0 takes the most probable token; above, logits are divided by it.
    pub temperature: f64,
    /// Choose among the most probable tokens that together have this probability.
    pub top_p: f64,
    /// Choose among so many of the most probable tokens; 0: all.
    pub top_k: usize,
    /// Choose among tokens whose probability is at least this share of the most probable one's.
    pub min_p: f64,
    /// Logits of tokens that occur in prompt or text are divided by it where they are above 0, and multiplied where below (Keskar
    /// et al. 2019); 1 changes nothing.
    pub repetition_penalty: f64,
    /// What is taken off a token's logit for each time that it was written.
    pub frequency_penalty: f64,
    /// What is taken off a token's logit if it was written.
    pub presence_penalty: f64,
    /// Decides the choices.
    pub seed: u64,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 0.0,
            top_p: 1.0,
            top_k: 0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            seed: 0,
        }
    }
}

/// Tokens that are put in order first; the rest only if the choice is not among them.
const FIRST: usize = 512;

impl Sampling {
    /// Whether logits depend on what was written.
    #[allow(clippy::float_cmp, reason = "these change nothing")]
    pub fn penalizes(&self) -> bool {
        self.repetition_penalty != 1.0 || self.frequency_penalty != 0.0 || self.presence_penalty != 0.0
    }

    /// Change logits for what stands in the prompt and what was written.
    #[allow(clippy::cast_possible_truncation, reason = "logits are f32")]
    pub fn penalize(&self, logits: &mut [f32], prompt: &[u32], written: &[u32]) {
        let mut counts: BTreeMap<u32, u32> = BTreeMap::new();
        for id in prompt {
            counts.entry(*id).or_default();
        }
        for id in written {
            *counts.entry(*id).or_default() += 1;
        }
        for (id, count) in counts {
            let Some(logit) = logits.get_mut(id as usize) else { continue };
            let mut x = f64::from(*logit);
            x = if x > 0.0 { x / self.repetition_penalty } else { x * self.repetition_penalty };
            if count > 0 {
                x -= self.presence_penalty + self.frequency_penalty * f64::from(count);
            }
            *logit = x as f32;
        }
    }

    /// The token at the point `at` in [0, 1) of the distribution. Of equal logits the first comes first.
    pub fn choose(&self, logits: &[f32], at: f32) -> u32 {
        let best = most_probable(logits);
        if self.temperature <= 0.0 {
            return best;
        }
        let top = f64::from(logits[best as usize]);
        let weight = |id: u32| ((f64::from(logits[id as usize]) - top) / self.temperature).exp();
        let mut order: Vec<u32> = (0..).take(logits.len()).collect();
        let before = |a: &u32, b: &u32| logits[*b as usize].total_cmp(&logits[*a as usize]).then(a.cmp(b));
        if (1..order.len()).contains(&self.top_k) {
            order.select_nth_unstable_by(self.top_k, before);
            order.truncate(self.top_k);
        }
        // The sum goes over tokens in their own order, whatever came before.
        order.sort_unstable();
        let total: f64 = order.iter().map(|id| weight(*id)).sum();
        let mut sorted = FIRST.min(order.len());
        loop {
            if sorted < order.len() {
                order.select_nth_unstable_by(sorted, before);
            }
            order[..sorted].sort_unstable_by(before);
            if let Some(chosen) = self.among(&order[..sorted], weight, total, at, sorted == order.len()) {
                return chosen;
            }
            sorted = order.len();
        }
    }

    /// The choice, if these first of all in order, or all of them, hold it.
    fn among(&self, order: &[u32], weight: impl Fn(u32) -> f64, total: f64, at: f32, all: bool) -> Option<u32> {
        let mut sums = Vec::with_capacity(order.len());
        let mut sum = 0.0;
        let mut cut = false;
        for id in order {
            let weight = weight(*id);
            cut = !sums.is_empty() && (sum >= self.top_p * total || weight < self.min_p);
            if cut {
                break;
            }
            sum += weight;
            sums.push(sum);
        }
        let cut = cut || sum >= self.top_p * total;
        // Where the nucleus ends among these, it is what there is to choose from.
        let of = if cut || all { sum } else { total };
        let point = f64::from(at) * of;
        match sums.iter().position(|sum| point < *sum) {
            Some(place) if cut || all || (self.top_p >= 1.0 && self.min_p <= 0.0) => Some(order[place]),
            None if cut || all => order[..sums.len()].last().copied(),
            _ => None,
        }
    }
}

/// The first of the largest logits.
pub fn most_probable(logits: &[f32]) -> u32 {
    let top = largest_of(logits);
    let best = logits.iter().position(|x| top <= *x).unwrap_or(0);
    u32::try_from(best).unwrap_or(u32::MAX)
}

/// The logarithm of the sum of the exponentials of logits.
pub fn log_sum_exp(logits: &[f32]) -> f64 {
    let top = largest_of(logits);
    sum_exp(logits, top).ln() + f64::from(top)
}

/// The `n` largest logits with their tokens, the largest first.
pub fn largest(logits: &[f32], n: usize) -> Vec<u32> {
    match n {
        0 => return Vec::new(),
        1 => return vec![most_probable(logits)],
        _ => {}
    }
    let before = |a: &u32, b: &u32| logits[*b as usize].total_cmp(&logits[*a as usize]).then(a.cmp(b));
    let mut order: Vec<u32> = (0..).take(logits.len()).collect();
    if n < order.len() {
        order.select_nth_unstable_by(n, before);
        order.truncate(n);
    }
    order.sort_unstable_by(before);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampling(temperature: f64, top_p: f64) -> Sampling {
        Sampling { temperature, top_p, ..Sampling::default() }
    }

    #[test]
    fn greedy_takes_the_first_of_the_best() {
        assert_eq!(sampling(0.0, 1.0).choose(&[0.0, 2.0, 2.0, 1.0], 0.9), 1);
        assert_eq!(largest(&[0.0, 2.0, 2.0, 1.0], 3), [1, 2, 3]);
    }

    #[test]
    fn only_what_settings_allow_is_chosen() {
        // Probabilities 0.25, 0.5, 0.125, 0.125.
        let logits = [0.25, 0.5, 0.125, 0.125].map(f32::ln);
        let points = [0.0, 0.49, 0.51, 0.74, 0.76, 0.99];
        let chosen = |sampling: Sampling| points.map(|at| sampling.choose(&logits, at));
        assert_eq!(chosen(sampling(1.0, 1.0)), [1, 1, 0, 0, 2, 3]);
        assert_eq!([0.0, 0.65, 0.67, 0.99].map(|at| sampling(1.0, 0.75).choose(&logits, at)), [1, 1, 0, 0]);
        assert_eq!(chosen(sampling(1.0, 0.1)), [1; 6]);
        assert_eq!(chosen(sampling(1.0, 0.0)), [1; 6]);
        assert_eq!(chosen(Sampling { top_k: 1, ..sampling(1.0, 1.0) }), [1; 6]);
        assert_eq!(chosen(Sampling { top_k: 2, ..sampling(1.0, 1.0) }), [1, 1, 1, 0, 0, 0]);
        assert_eq!(chosen(Sampling { min_p: 0.45, ..sampling(1.0, 1.0) }), [1, 1, 1, 0, 0, 0]);
        assert_eq!(chosen(Sampling { min_p: 0.6, ..sampling(1.0, 1.0) }), [1; 6]);
        // The nucleus is that of all tokens, as min_p comes after it: 0.5 and 0.25 are 0.75, not all that min_p leaves.
        assert_eq!(chosen(Sampling { min_p: 0.2, ..sampling(1.0, 0.75) }), [1, 1, 1, 0, 0, 0]);
    }

    #[test]
    fn many_tokens_are_chosen_as_if_all_were_in_order() {
        // Hardly any is more probable than another: the first ones do not decide.
        let logits: Vec<f32> = (0..3000_u16).map(|i| f32::from(i * 7 % 3000) / 3e4).collect();
        for top_p in [1.0, 0.9, 0.05] {
            let sampling = sampling(1.0, top_p);
            let mut order: Vec<u32> = (0..3000).collect();
            order.sort_by(|a, b| logits[*b as usize].total_cmp(&logits[*a as usize]).then(a.cmp(b)));
            let weights: Vec<f64> = order.iter().map(|id| f64::from(logits[*id as usize]).exp()).collect();
            let total: f64 = weights.iter().sum();
            let mut kept = 0;
            let mut sum = 0.0;
            while kept < 3000 && sum < top_p * total {
                sum += weights[kept];
                kept += 1;
            }
            for at in [0.0, 0.1, 0.3, 0.7, 0.95, 0.999] {
                let mut left = f64::from(at) * sum;
                let place = weights[..kept].iter().position(|w| {
                    left -= w;
                    left < 0.0
                });
                assert_eq!(sampling.choose(&logits, at), order[place.unwrap_or(kept - 1)], "{top_p} at {at}");
            }
        }
    }

    #[test]
    fn a_low_temperature_sharpens() {
        let logits = [0.0, 1.0];
        let share = |t| (0..1000_u16).filter(|i| sampling(t, 1.0).choose(&logits, f32::from(*i) / 1000.0) == 1).count();
        assert_eq!([share(1.0), share(0.5)], [732, 881]); // 1 / (1 + e^-1), 1 / (1 + e^-2)
    }

    #[test]
    fn penalties_are_those_of_transformers_and_openai() {
        let mut logits = [1.0, -1.0, 2.0, 3.0];
        let sampling =
            Sampling { repetition_penalty: 2.0, frequency_penalty: 0.5, presence_penalty: 1.0, ..Sampling::default() };
        sampling.penalize(&mut logits, &[0, 1], &[2, 2]);
        assert_eq!(logits.map(f32::to_bits), [0.5_f32, -2.0, 1.0 - 1.0 - 1.0, 3.0].map(f32::to_bits));
        assert!(sampling.penalizes() && !Sampling::default().penalizes());
    }
}
