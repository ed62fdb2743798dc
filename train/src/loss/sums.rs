//! What a run reports of preferences: sums that add up over micro-batches, and TRL's metrics from them.

use serde::{Deserialize, Serialize};

use super::scalar::float;

/// PreferenceSums over pairs or unpaired answers. Index 0 is chosen (or desirable), 1 rejected (or undesirable).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreferenceSums {
    /// Pairs, or unpaired answers.
    pub rows: u64,
    /// Pairs among them, whose two rewards can be compared.
    pub pairs: u64,
    /// Answers of each kind.
    pub answers: [u64; 2],
    /// The part of the loss that is averaged over rows.
    pub row_loss: f64,
    /// The part that is averaged over tokens, with its weight.
    pub token_loss: f64,
    /// NLL, in nats, and the tokens that it is over.
    pub nll: f64,
    /// Tokens of `nll`.
    pub nll_tokens: u64,
    /// Rewards: beta times the log-ratio to the reference, or beta times the log-probability where there is none.
    pub rewards: [f64; 2],
    /// Pairs whose chosen answer has the higher reward; a tie has not.
    pub accurate: u64,
    /// Log-probabilities as the loss takes them: of answers, or for ORPO and SimPO means over their tokens.
    pub logps: [f64; 2],
    /// Logits, each token's averaged over the vocabulary, summed over the answers' tokens. The trainer fills these in.
    /// DPO and KTO in TRL average them so; its ORPO and CPO average over prompt and padding too, which has no
    /// counterpart here.
    pub logits: [f64; 2],
    /// Tokens of `logits`.
    pub logit_tokens: [u64; 2],
    /// ORPO: log-sigmoid of the log odds ratio.
    pub log_odds_ratio: f64,
    /// ORPO: log odds ratio.
    pub log_odds_chosen: f64,
    /// Pairs that these two are over.
    pub odds: u64,
    /// KTO: mean KL of each micro-batch, at least 0, in nats.
    pub kl: f64,
    /// MicroBatch-batches of `kl`.
    pub kl_batches: u64,
}

/// A mean, if it is over anything.
fn metric(name: &'static str, sum: f64, count: u64) -> Option<(&'static str, f64)> {
    (count > 0).then(|| (name, sum / float(count)))
}

impl PreferenceSums {
    /// Whether they are over nothing.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Add those of other rows.
    pub fn add(&mut self, other: &Self) {
        for i in 0..2 {
            self.answers[i] += other.answers[i];
            self.rewards[i] += other.rewards[i];
            self.logps[i] += other.logps[i];
            self.logits[i] += other.logits[i];
            self.logit_tokens[i] += other.logit_tokens[i];
        }
        self.rows += other.rows;
        self.pairs += other.pairs;
        self.row_loss += other.row_loss;
        self.token_loss += other.token_loss;
        self.nll += other.nll;
        self.nll_tokens += other.nll_tokens;
        self.accurate += other.accurate;
        self.log_odds_ratio += other.log_odds_ratio;
        self.log_odds_chosen += other.log_odds_chosen;
        self.odds += other.odds;
        self.kl += other.kl;
        self.kl_batches += other.kl_batches;
    }

    /// An answer's reward and log-probability.
    pub(super) fn answer(&mut self, which: usize, reward: f64, logp: f64) {
        self.rewards[which] += reward;
        self.logps[which] += logp;
    }

    /// Both answers of a pair.
    pub(super) fn pair(&mut self, rewards: [f64; 2], logps: [f64; 2]) {
        self.answer(0, rewards[0], logps[0]);
        self.answer(1, rewards[1], logps[1]);
        self.accurate += u64::from(rewards[0] > rewards[1]);
    }

    /// The loss: of a step, of an evaluation, of whatever was added up. 0 of nothing.
    pub fn loss(&self) -> f64 {
        self.row_loss / float(self.rows.max(1)) + self.token_loss / float(self.nll_tokens.max(1))
    }

    /// Means under TRL's names, without `eval_`; only what there is. `nll_loss` is the NLL itself even where its weight
    /// is 0 (TRL writes 0 there), and DPO's `sft` term has one too.
    pub fn metrics(&self) -> Vec<(&'static str, f64)> {
        let [chosen, rejected] = self.answers;
        let margin = (chosen > 0 && rejected > 0)
            .then(|| ("rewards/margins", self.rewards[0] / float(chosen) - self.rewards[1] / float(rejected)));
        [
            metric("rewards/chosen", self.rewards[0], chosen),
            metric("rewards/rejected", self.rewards[1], rejected),
            metric("rewards/accuracies", float(self.accurate), self.pairs),
            margin,
            metric("logps/chosen", self.logps[0], chosen),
            metric("logps/rejected", self.logps[1], rejected),
            metric("logits/chosen", self.logits[0], self.logit_tokens[0]),
            metric("logits/rejected", self.logits[1], self.logit_tokens[1]),
            metric("nll_loss", self.nll, self.nll_tokens),
            metric("log_odds_ratio", self.log_odds_ratio, self.odds),
            metric("log_odds_chosen", self.log_odds_chosen, self.odds),
            metric("kl", self.kl, self.kl_batches),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}
