//! What a step costs in arithmetic and in memory traffic, before it is taken: the share of a chip's ceiling that a
//! measured step reached, and a prediction from a roofline (Williams, Waterman and Patterson 2009), in which each
//! operation takes as long as the slower of its arithmetic and its traffic.
//!
//! A weight of n elements costs 2 n FLOP a token forward and 2 n for the gradient of its input; a frozen one has no
//! gradient of its own, an adapter's has 2 n more. A pair of a query and a key that it sees costs 4 D FLOP a head
//! forward and, with the scores made again, 10 D backward.

use setaccio_train::model::config::Config;

/// A chip, in FLOP or bytes a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Machine {
    /// Dense bf16 peak of the data sheet, of which ceilings are made.
    pub peak: f64,
    /// What large bf16 products reach.
    pub products: f64,
    /// What attention reaches forward.
    pub attention: f64,
    /// What attention reaches backward.
    pub attention_back: f64,
    /// What a copy moves, read and written.
    pub traffic: f64,
    /// Seconds that the host takes to start one operation.
    pub launch: f64,
}

/// One NVIDIA H200. The peak is the data sheet's (989 TFLOP/s of dense bf16). Nothing else here was measured by this
/// project: `products` (8192 cubed through cuBLAS) and `traffic` (a copy of 8.6 GB) are figures that others reported,
/// `attention`, `attention_back` and `launch` are guesses. `just gpu-bench` on an H200 prints the step times that these
/// predict beside measured ones, and the seconds of each kernel.
pub const H200: Machine = Machine {
    peak: 989e12,
    products: 780e12,
    attention: 220e12,
    attention_back: 130e12,
    traffic: 4.3e12,
    launch: 10e-6,
};

/// A step of QLoRA: what it goes over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Tokens that are laid down.
    pub tokens: usize,
    /// Pairs of a query and a key that it sees, about half of the sum of squared lengths.
    pub pairs: f64,
    /// Tokens that count in the loss.
    pub targets: usize,
    /// Layers computed again in the backward pass.
    pub recompute: usize,
    /// Rank of the adapters, on all linear layers.
    pub rank: usize,
    /// Whether the adapters' inputs are masked.
    pub dropout: bool,
    /// Whether another forward pass asks the reference.
    pub reference: bool,
}

/// What it costs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// Floating-point operations that a ceiling is made of.
    pub flops: f64,
    /// Seconds on the machine, each operation by its own roof.
    pub seconds: f64,
    /// Operations that the host starts.
    pub launches: f64,
}

impl Cost {
    /// Of `step` with a model of these sizes in bf16, its linear layers in NF4.
    pub fn of(config: &Config, step: &Step, machine: &Machine) -> Self {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let (query, keys) = (config.heads * config.head_dim, config.kv_heads * config.head_dim);
        let linears = [
            (query, hidden),
            (keys, hidden),
            (keys, hidden),
            (hidden, query),
            (inner, hidden),
            (inner, hidden),
            (hidden, inner),
        ];
        let roof = Roof { machine, tokens: real(step.tokens) };
        let (mut forward, mut backward) = (Self::default(), Self::default());
        for (out, input) in linears {
            forward.add(roof.linear(real(out), real(input), step), 1.0);
            backward.add(roof.linear_back(real(out), real(input), step), 1.0);
        }
        let width = 2.0 * step.pairs * real(query);
        forward.add(Roof::attention(2.0 * width, machine.attention), 1.0);
        backward.add(Roof::attention(5.0 * width, machine.attention_back), 1.0);
        // Norms, rotation, SwiGLU and residuals: how often a row of each width is read or written.
        let (h, q, k, i) = (real(hidden), real(query), real(keys), real(inner));
        forward.add(roof.stream(4.0 * h + 6.0 * h + 2.0 * (q + k) + 3.0 * i, 7.0), 1.0);
        backward.add(roof.stream(2.0 * 9.0 * h + 2.0 * (q + k) + 9.0 * i + 4.0 * h, 10.0), 1.0);

        let head = Roof { machine, tokens: real(step.targets) };
        let vocab = real(config.vocab_size);
        let mut once = Self::default();
        // Scores, cross-entropy in place, and the gradient of the hidden states.
        once.add(head.product(vocab, h, 2.0 * vocab * h), 1.0);
        once.add(head.stream(4.0 * vocab, 1.0), 1.0);
        let mut total = Self::default();
        let layers = real(config.layers);
        total.add(forward, layers + real(step.recompute));
        total.add(backward, layers);
        total.add(once, 1.0);
        total.add(head.product(h, vocab, 2.0 * vocab * h), 1.0);
        if step.reference {
            total.add(forward, layers);
            total.add(once, 1.0);
        }
        // AdamW: value, gradient and both moments, read, and all but the gradient written; the gradient set to 0 and
        // its norm taken.
        let trained = layers * linears.iter().map(|(o, i)| real(o + i)).sum::<f64>() * real(step.rank);
        total.seconds += 36.0 * trained / machine.traffic;
        total.launches += 6.0 * layers * 14.0;
        total
    }

    fn add(&mut self, other: Self, times: f64) {
        self.flops += times * other.flops;
        self.seconds += times * other.seconds;
        self.launches += times * other.launches;
    }

    /// Seconds at the peak of the data sheet.
    pub fn ceiling(&self, machine: &Machine) -> f64 {
        self.flops / machine.peak
    }

    /// Seconds that are predicted: those of the GPU, or of the host if it cannot start operations as fast.
    pub fn predicted(&self, machine: &Machine) -> f64 {
        self.seconds.max(self.launches * machine.launch)
    }
}

#[allow(clippy::cast_precision_loss, reason = "sizes are far below 2^53")]
fn real(n: usize) -> f64 {
    n as f64
}

struct Roof<'a> {
    machine: &'a Machine,
    tokens: f64,
}

impl Roof<'_> {
    /// A product of [tokens, input] by [input, out] that is `flops` a token, in bf16.
    fn product(&self, out: f64, input: f64, flops: f64) -> Cost {
        let bytes = 2.0 * (self.tokens * (out + input) + out * input);
        let flops = flops * self.tokens;
        Cost { flops, seconds: (flops / self.machine.products).max(bytes / self.machine.traffic), launches: 1.0 }
    }

    /// `elements` of bf16 a token, read or written, in so many launches.
    fn stream(&self, elements: f64, launches: f64) -> Cost {
        Cost { flops: 0.0, seconds: 2.0 * elements * self.tokens / self.machine.traffic, launches }
    }

    fn attention(flops: f64, reached: f64) -> Cost {
        Cost { flops, seconds: flops / reached, launches: 3.0 }
    }

    /// Half a byte and its scale read for each weight, two bytes written.
    fn unpacked(&self, n: f64) -> Cost {
        Cost { flops: 0.0, seconds: 2.52 * n / self.machine.traffic, launches: 2.0 }
    }

    fn linear(&self, out: f64, input: f64, step: &Step) -> Cost {
        let rank = real(step.rank);
        let mut cost = self.unpacked(out * input);
        cost.add(self.product(out, input, 2.0 * out * input), 1.0);
        cost.add(self.product(rank, input, 2.0 * rank * input), 1.0);
        // Added to what is there, which is read.
        cost.add(self.product(out, rank, 2.0 * rank * out), 1.0);
        // The result read again, and the mask.
        let masked = if step.dropout { 2.0 * input } else { 0.0 };
        cost.add(self.stream(out + masked, 3.0), 1.0);
        cost
    }

    fn linear_back(&self, out: f64, input: f64, step: &Step) -> Cost {
        let rank = real(step.rank);
        let mut cost = self.unpacked(out * input);
        cost.add(self.product(input, out, 2.0 * out * input), 1.0);
        // u = dy B, dB = dy^T u', dA = u^T x, dx += u A.
        cost.add(self.product(rank, out, 2.0 * rank * out), 2.0);
        cost.add(self.product(input, rank, 2.0 * rank * input), 2.0);
        // Set to 0 first, and read for each product; the mask, and what came through it.
        let masked = if step.dropout { 5.0 * input } else { 0.0 };
        cost.add(self.stream(3.0 * input + masked, 4.0), 1.0);
        cost
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Shape;

    fn llama() -> Config {
        Shape::named("llama3-8b").unwrap().config
    }

    /// Worked out by hand for 8 texts of 1024: 32.0 GFLOP a token with no layer computed again and 46.5 with all of them,
    /// at 989 TFLOP/s.
    #[test]
    fn the_ceilings_of_llama_3_8b() {
        let step = Step {
            tokens: 8192,
            pairs: 8.0 * 1024.0 * 1024.0 / 2.0,
            targets: 8192,
            recompute: 0,
            rank: 64,
            dropout: false,
            reference: false,
        };
        for (recompute, gflop, tokens) in [(0, 32.0, 30_940.0), (32, 46.5, 21_256.0)] {
            let cost = Cost::of(&llama(), &Step { recompute, ..step }, &H200);
            assert!((cost.flops / 8192e9 - gflop).abs() < 0.05, "{}", cost.flops / 8192e9);
            let ceiling = 8192.0 / cost.ceiling(&H200);
            assert!((ceiling - tokens).abs() < 2.0, "{ceiling}");
            assert!(cost.predicted(&H200) > cost.ceiling(&H200), "a prediction above the ceiling");
        }
    }

    #[test]
    fn dropout_and_a_reference_cost_more_and_the_host_may_be_slower() {
        let step = Step {
            tokens: 2048,
            pairs: 2048.0 * 512.0,
            targets: 2048,
            recompute: 32,
            rank: 64,
            dropout: false,
            reference: false,
        };
        let of = |step: &Step| Cost::of(&llama(), step, &H200);
        let (plain, masked) = (of(&step), of(&Step { dropout: true, ..step }));
        assert!(masked.seconds > plain.seconds && (masked.flops - plain.flops).abs() < 1.0);
        let asked = of(&Step { reference: true, ..step });
        assert!(asked.flops > 1.2 * plain.flops && asked.flops < 1.5 * plain.flops);
        let slow = Machine { launch: 1.0, ..H200 };
        assert!(plain.predicted(&slow) > 1000.0);
    }
}
