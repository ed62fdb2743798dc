//! `[preference]`: which loss learns from preferences, and with what strength.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[preference]`. A setting that the chosen loss does not read is refused, never ignored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Preference {
    /// `dpo`, `orpo`, `kto`, `cpo` or `simpo`.
    pub loss: PreferenceLoss,
    /// How strongly a difference of log-probabilities counts. For DPO, KTO and CPO it multiplies sums over the answer's
    /// tokens, for SimPO means; for ORPO it weighs the odds ratio against the NLL. Left out, it is 0.1, and 2.0 for
    /// SimPO (its paper's; TRL keeps 0.1 there too, which asks for a margin of gamma / beta = 5 nats a token).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beta: Option<f64>,
    /// DPO only: losses to add up, e.g. `terms = [{ kind = "sigmoid", weight = 0.8 }, { kind = "sft" }]`; empty is
    /// `sigmoid` alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub terms: Vec<Term>,
    /// Share of the pairs that are taken to be the wrong way round, from 0 to below 0.5. Read by DPO's `sigmoid`,
    /// `robust` and `exo_pair`, by CPO and by SimPO. (TRL 1.16 no longer reads it for `sigmoid`; here that is
    /// conservative DPO.)
    pub label_smoothing: f64,
    /// DPO's `discopop` only: the loss turns from exponential to logistic over this many units of beta times the
    /// difference. Left out, 0.05.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discopop_tau: Option<f64>,
    /// SimPO only: the margin that beta times the difference of mean log-probabilities should reach. Left out, 0.5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gamma: Option<f64>,
    /// CPO and SimPO: weight of the NLL of the chosen answers. Left out, 1 for CPO and 0 for SimPO (TRL: 1 for both).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpo_alpha: Option<f64>,
    /// KTO only: weight of the desirable answers. Left out, 1. Where one kind is rarer, its weight should be higher.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desirable_weight: Option<f64>,
    /// KTO only: weight of the undesirable answers. Left out, 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undesirable_weight: Option<f64>,
    /// Prompts keep their last N tokens; 0 keeps them whole.
    pub max_prompt_length: usize,
    /// DPO and KTO: when the model that one starts from is asked for its log-probabilities.
    pub reference: Reference,
}

/// The family of the loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PreferenceLoss {
    /// Direct preference optimisation (arXiv 2305.18290): pairs, with a reference.
    #[default]
    Dpo,
    /// Odds ratio beside the NLL of the chosen text (arXiv 2403.07691): pairs, no reference.
    Orpo,
    /// Kahneman-Tversky optimisation (arXiv 2402.01306): single answers, desirable or not, with a reference.
    Kto,
    /// Contrastive preference optimisation (arXiv 2401.08417): pairs, no reference.
    Cpo,
    /// Mean log-probabilities and a margin (arXiv 2405.14734): pairs, no reference.
    Simpo,
}

impl PreferenceLoss {
    /// Its name in a recipe.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dpo => "dpo",
            Self::Orpo => "orpo",
            Self::Kto => "kto",
            Self::Cpo => "cpo",
            Self::Simpo => "simpo",
        }
    }

    /// Whether it compares with the model that one starts from.
    pub fn needs_reference(self) -> bool {
        matches!(self, Self::Dpo | Self::Kto)
    }
}

/// A part of DPO's loss.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Term {
    /// Its formula.
    pub kind: DpoKind,
    /// What it is multiplied by.
    #[serde(default = "one")]
    pub weight: f64,
}

/// The formulas of DPO's loss; each is in `loss/dpo.rs`. TRL's `aot` and `aot_unpaired` are missing: they sort the whole
/// batch, so that accumulation would change them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DpoKind {
    /// DPO itself (arXiv 2305.18290); with `label_smoothing` conservative DPO.
    Sigmoid,
    /// SLiC's margin (arXiv 2305.10425).
    Hinge,
    /// Squared distance from a margin, on means over tokens (arXiv 2310.12036).
    Ipo,
    /// Reverse KL from the smoothed preference (arXiv 2402.00856); needs `label_smoothing`.
    ExoPair,
    /// Noise contrastive alignment (arXiv 2402.05369).
    NcaPair,
    /// Unbiased where a known share of the pairs is the wrong way round (arXiv 2403.00409).
    Robust,
    /// Binary classification of each answer (arXiv 2404.04656), without its running mean, as TRL has it.
    BcoPair,
    /// Self-play preference with hard probabilities (arXiv 2405.00675).
    SppoHard,
    /// Anchored: chosen up, rejected down (arXiv 2408.06266, equation 7).
    ApoZero,
    /// Anchored: both down, rejected more (arXiv 2408.06266, equation 8).
    ApoDown,
    /// Between logistic and exponential (arXiv 2406.08414).
    Discopop,
    /// NLL of the chosen answers, a mean over tokens.
    Sft,
    /// DPO on means over tokens.
    SigmoidNorm,
}

/// When the reference is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reference {
    /// Beside each step: the base with its adapters off, or with a frozen copy of the adapter that is continued, and with a copy of
    /// whatever is trained whole.
    #[default]
    Live,
    /// Once, before the first step, into a file beside the run that names data and model by their hashes.
    Precomputed,
}

impl Default for Preference {
    fn default() -> Self {
        Self {
            loss: PreferenceLoss::Dpo,
            beta: None,
            terms: Vec::new(),
            label_smoothing: 0.0,
            discopop_tau: None,
            gamma: None,
            cpo_alpha: None,
            desirable_weight: None,
            undesirable_weight: None,
            max_prompt_length: 512,
            reference: Reference::Live,
        }
    }
}

impl Preference {
    /// Whether the model that one starts from is asked beside each step.
    pub fn asks_beside(&self) -> bool {
        self.loss.needs_reference() && self.reference == Reference::Live
    }

    /// `beta`, or what the loss takes without one.
    pub fn beta(&self) -> f64 {
        self.beta.unwrap_or(if self.loss == PreferenceLoss::Simpo { 2.0 } else { 0.1 })
    }

    /// DPO's terms; at least one.
    pub fn terms(&self) -> &[Term] {
        const ALONE: &[Term] = &[Term { kind: DpoKind::Sigmoid, weight: 1.0 }];
        if self.terms.is_empty() { ALONE } else { &self.terms }
    }

    /// `gamma`, or SimPO's own.
    pub fn gamma(&self) -> f64 {
        self.gamma.unwrap_or(0.5)
    }

    /// Width of `discopop`'s turn.
    pub fn discopop_tau(&self) -> f64 {
        self.discopop_tau.unwrap_or(0.05)
    }

    /// Weight of the chosen answers' NLL in CPO and SimPO.
    pub fn cpo_alpha(&self) -> f64 {
        self.cpo_alpha.unwrap_or(if self.loss == PreferenceLoss::Simpo { 0.0 } else { 1.0 })
    }

    /// KTO's weights of desirable and undesirable answers.
    pub fn kto_weights(&self) -> [f64; 2] {
        [self.desirable_weight, self.undesirable_weight].map(|weight| weight.unwrap_or(1.0))
    }

    /// Whether all of it can be done, and nothing in it would do nothing.
    ///
    /// # Errors
    /// A sentence that names the setting and says what to write instead.
    pub fn check(&self) -> Result<(), String> {
        self.check_readers()?;
        let low = f64::MIN_POSITIVE;
        let ranges = [
            ("beta", self.beta, low, f64::MAX),
            ("discopop_tau", self.discopop_tau, low, 1.0),
            ("gamma", self.gamma, 0.0, f64::MAX),
            ("cpo_alpha", self.cpo_alpha, 0.0, f64::MAX),
            ("desirable_weight", self.desirable_weight, low, f64::MAX),
            ("undesirable_weight", self.undesirable_weight, low, f64::MAX),
        ];
        for (name, value, low, high) in ranges {
            if let Some(value) = value.filter(|v| !(low..=high).contains(v)) {
                return Err(format!("`preference.{name}` is {value}; it goes from {low:e} to {high:e}"));
            }
        }
        if !(0.0..0.5).contains(&self.label_smoothing) {
            return Err(format!(
                "`preference.label_smoothing` is {}; it is the share of pairs the wrong way round, from 0 to below 0.5",
                self.label_smoothing
            ));
        }
        for (i, term) in self.terms.iter().enumerate() {
            let at = format!("preference.terms[{i}]");
            if !(term.weight > 0.0 && term.weight.is_finite()) {
                return Err(format!("{at}: the weight is {}; give one above 0, or leave the term out", term.weight));
            }
            if self.terms[..i].iter().any(|before| before.kind == term.kind) {
                return Err(format!("{at} has the kind of an earlier one: add their weights up in one term"));
            }
            if term.kind == DpoKind::ExoPair && self.label_smoothing == 0.0 {
                return Err(format!(
                    "{at}: `exo_pair` takes the logarithm of `preference.label_smoothing`; set it, e.g. to 1e-3"
                ));
            }
        }
        Ok(())
    }

    /// Whether the loss reads every setting that was made.
    fn check_readers(&self) -> Result<(), String> {
        use PreferenceLoss::{Cpo, Dpo, Kto, Simpo};
        let has = |kind| self.loss == Dpo && self.terms().iter().any(|t| t.kind == kind);
        let contrastive = matches!(self.loss, Cpo | Simpo);
        let smoothed = contrastive || [DpoKind::Sigmoid, DpoKind::Robust, DpoKind::ExoPair].into_iter().any(has);
        let readers = [
            ("terms", !self.terms.is_empty(), self.loss == Dpo, "loss = \"dpo\""),
            (
                "label_smoothing",
                self.label_smoothing != 0.0,
                smoothed,
                "DPO's kinds sigmoid, robust and exo_pair, loss = \"cpo\" and loss = \"simpo\"",
            ),
            ("discopop_tau", self.discopop_tau.is_some(), has(DpoKind::Discopop), "DPO's kind discopop"),
            ("gamma", self.gamma.is_some(), self.loss == Simpo, "loss = \"simpo\""),
            ("cpo_alpha", self.cpo_alpha.is_some(), contrastive, "loss = \"cpo\" and loss = \"simpo\""),
            ("desirable_weight", self.desirable_weight.is_some(), self.loss == Kto, "loss = \"kto\""),
            ("undesirable_weight", self.undesirable_weight.is_some(), self.loss == Kto, "loss = \"kto\""),
            (
                "reference",
                self.reference == Reference::Precomputed,
                self.loss.needs_reference(),
                "loss = \"dpo\" and loss = \"kto\"",
            ),
        ];
        match readers.iter().find(|(_, set, read, _)| *set && !read) {
            Some((name, _, _, by)) => Err(format!(
                "`preference.{name}` is read by {by} only; with loss = \"{}\" it would do nothing, so leave it out",
                self.loss.name()
            )),
            None => Ok(()),
        }
    }
}

fn one() -> f64 {
    1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Preference, String> {
        let read: Preference = toml::from_str(text).map_err(|e| e.message().to_owned())?;
        read.check().map(|()| read)
    }

    #[test]
    fn left_out_and_given() {
        let plain = read("").unwrap();
        assert_eq!((plain.loss, plain.beta(), plain.terms().len()), (PreferenceLoss::Dpo, 0.1, 1));
        let simpo = read("loss = \"simpo\"").unwrap();
        assert_eq!((simpo.beta(), simpo.gamma(), simpo.cpo_alpha()), (2.0, 0.5, 0.0));
        let cpo = read("loss = \"cpo\"").unwrap();
        assert_eq!((cpo.beta(), cpo.cpo_alpha()), (0.1, 1.0));
        let text = "terms = [{ kind = \"sigmoid\", weight = 0.8 }, { kind = \"sft\" }]\nlabel_smoothing = 0.1";
        let list = read(text).unwrap();
        assert_eq!(list.terms()[1], Term { kind: DpoKind::Sft, weight: 1.0 });
        for preference in [plain, simpo, list] {
            assert_eq!(read(&toml::to_string(&preference).unwrap()).unwrap(), preference);
        }
    }

    #[test]
    fn refused() {
        let table = [
            ("loss = \"ppo\"", "unknown variant `ppo`"),
            ("bet = 0.1", "unknown field `bet`"),
            ("beta = 0.0", "`preference.beta` is 0"),
            ("beta = nan", "`preference.beta` is NaN"),
            ("label_smoothing = 0.5", "from 0 to below 0.5"),
            ("terms = [{ kind = \"robust\" }]\nlabel_smoothing = 0.5", "from 0 to below 0.5"),
            ("terms = [{ kind = \"hinge\" }]\nlabel_smoothing = 0.1", "kinds sigmoid, robust and exo_pair"),
            ("terms = [{ kind = \"exo_pair\" }]", "e.g. to 1e-3"),
            ("terms = [{ kind = \"hinge\", weight = 0.0 }]", "terms[0]: the weight is 0"),
            ("terms = [{ kind = \"sft\" }, { kind = \"sft\" }]", "terms[1] has the kind of an earlier one"),
            ("loss = \"orpo\"\nterms = [{ kind = \"sft\" }]", "read by loss = \"dpo\" only; with loss = \"orpo\""),
            ("loss = \"orpo\"\nreference = \"precomputed\"", "`preference.reference` is read by"),
            ("loss = \"cpo\"\ngamma = 0.5", "`preference.gamma` is read by loss = \"simpo\""),
            ("discopop_tau = 0.1", "DPO's kind discopop"),
            ("loss = \"simpo\"\ncpo_alpha = -1.0", "`preference.cpo_alpha` is -1"),
            ("desirable_weight = 2.0", "read by loss = \"kto\""),
        ];
        for (text, want) in table {
            let said = read(text).unwrap_err();
            assert!(said.contains(want), "{text}: {said}");
        }
    }
}
