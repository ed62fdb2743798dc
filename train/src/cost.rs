//! What a step costs in arithmetic and in memory traffic, before it is taken: the share of a chip's ceiling that a
//! measured step reached, and a prediction from a roofline (Williams, Waterman and Patterson 2009), in which each
//! operation takes as long as the slower of its arithmetic and its traffic.
//!
//! A weight of n elements costs 2 n FLOP a token forward and 2 n for the gradient of its input; a frozen one has no
//! gradient of its own, an adapter's has 2 n more. A pair of a query and a key that it sees costs 4 D FLOP a head
//! forward and, with the scores made again, 10 D backward.
//!
//! Of experts each has its share of the tokens, as if all were chosen as often: arithmetic goes by what a token goes through,
//! traffic and unpacking by all of them.

use candle_core::DType;

use crate::model::{config::Config, head::chunk_rows};

/// A chip, in FLOP or bytes a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Machine {
    /// As `--card` takes it.
    pub name: &'static str,
    /// Memory that is free on it, in bytes.
    pub memory: usize,
    /// Dense bf16 peak of the data sheet, of which ceilings are made.
    pub peak: f64,
    /// What bf16 products of a model's shapes reach.
    pub products: f64,
    /// What attention reaches forward.
    pub attention: f64,
    /// What attention reaches backward.
    pub attention_back: f64,
    /// What a copy moves, read and written.
    pub traffic: f64,
    /// Seconds that the host takes to start one operation and to get what it needs of memory.
    pub launch: f64,
}

/// Shares of a copy's traffic that are reached by: products with a side as narrow as an adapter's rank, whose arithmetic is
/// little; kernels that go over elements; the unpacking of 4 bits.
const SKINNY: f64 = 0.6;
const ELEMENTS: f64 = 0.85;
const UNPACKED: f64 = 0.8;
/// Seconds that an operation on little takes on the GPU.
const LEAST: f64 = 3.5e-6;
/// Seconds that the GPU idles where the host waits for a result before it goes on.
const WAIT: f64 = 25e-6;
/// Rows and columns of a tile of a product: a part of one takes as long as the whole.
const TILE: f64 = 256.0;
/// Seconds for an element of a mask: some fourteen integer instructions, 64 a cycle in each of 132 multiprocessors.
const HASH: f64 = 1e-12;

/// Nothing in these was measured by this project. The peaks are the data sheets' (989 TFLOP/s of dense bf16); `traffic` is what
/// others report of copies of 8.6 GB (4.3 TB/s) and of 80 GB cards (3.0); `products` is a guess below the 780 to 800 TFLOP/s that
/// are reported for 8192 cubed, as these shapes are smaller; attention's rates, `launch` and the shares above are guesses from
/// counts of instructions and of bytes in flight. `just gpu-bench` prints the step times that these predict beside measured
/// ones, and the seconds of each kernel.
pub const H200: Machine = Machine {
    name: "h200",
    memory: 139 << 30,
    peak: 989e12,
    products: 680e12,
    attention: 275e12,
    attention_back: 165e12,
    traffic: 4.3e12,
    launch: 10e-6,
};

/// What the data sheet of an H200 says of its memory, in bytes a second.
pub const H200_TRAFFIC: f64 = 4.8e12;

/// As the H200, but for its memory.
pub const H100: Machine = Machine { name: "h100", memory: 78 << 30, traffic: 3.0e12, ..H200 };

impl Machine {
    /// A GPU of which the data sheet is known: free memory, dense bf16 FLOP and bytes of memory a second. What is reached of
    /// them is taken to be the same share as of an [`H200`].
    pub fn of_data_sheet(name: &'static str, memory: usize, peak: f64, traffic: f64) -> Self {
        let share = peak / H200.peak;
        Self {
            name,
            memory,
            peak,
            products: H200.products * share,
            attention: H200.attention * share,
            attention_back: H200.attention_back * share,
            traffic: H200.traffic * traffic / H200_TRAFFIC,
            launch: H200.launch,
        }
    }

    /// The one whose name is part of `name`, as GPUs and `--card` have it.
    pub fn named(name: &str) -> Option<Self> {
        let name = name.to_lowercase();
        [H100, H200].into_iter().find(|machine| name.contains(machine.name))
    }
}

/// What is trained in a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Trained {
    /// Adapters of this rank on all linear layers.
    Adapter(usize),
    /// Every weight.
    Whole,
}

/// A step: what it goes over.
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
    /// What is trained.
    pub trained: Trained,
    /// Whether the frozen linear layers are held in 4 bits.
    pub packed: bool,
    /// Whether the adapters' inputs are masked.
    pub dropout: bool,
    /// Whether another forward pass asks the reference.
    pub reference: bool,
    /// Whether documents see the keys of others' tokens.
    pub shared: bool,
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
    /// Of `step` with a model of these sizes in bf16.
    pub fn of(config: &Config, step: &Step, machine: &Machine) -> Self {
        let hidden = config.hidden_size;
        let (query, keys) = (config.heads * config.head_dim, config.kv_heads * config.head_dim);
        let roof = Roof { machine, tokens: real(step.tokens) };
        let (h, q, k) = (real(hidden), real(query), real(keys));
        // Those that come second to their input add to its gradient, the others begin it.
        let attention = [(q, h, 0.0), (k, h, 1.0), (k, h, 1.0), (h, q, 0.0)];
        let (mut forward, mut backward) = (Self::default(), Self::default());
        for (out, input, plus) in attention {
            forward.add(roof.linear(out, input, step), 1.0);
            backward.add(roof.linear_back(out, input, plus, step), 1.0);
        }
        let width = 2.0 * step.pairs * real(query);
        forward.add(Roof::attention(2.0 * width, machine.attention), 1.0);
        backward.add(Roof::attention(5.0 * width, machine.attention_back), 1.0);
        // How often a row of each width is read or written: norms, residuals and rotation; backward norms made again, their
        // gradients and delta.
        forward.add(roof.stream(4.0 * h + 6.0 * h + 2.0 * (q + k), 6.0), 1.0);
        backward.add(roof.stream(4.0 * h + 8.0 * h + 2.0 * (q + k) + 2.0 * q, 7.0), 1.0);
        if step.shared {
            // Rows of keys and values chosen, and their gradients added up.
            forward.add(roof.stream(4.0 * k, 2.0), 1.0);
            backward.add(roof.stream(4.0 * k, 2.0), 1.0);
        }

        let head = Roof { machine, tokens: real(step.targets) };
        let vocab = config.vocab_size;
        let once = head.head(vocab, h);
        let mut total = Self::default();
        let layers = real(config.layers);
        total.add(forward, layers + real(step.recompute));
        total.add(backward, layers);
        let (mut adapted, mut adapters) = (0.0, 0.0);
        for layer in 0..config.layers {
            let part = FeedForward::of(config, layer);
            let (forward, backward) = part.cost(&roof, step);
            let again = if layer < step.recompute { 1.0 } else { 0.0 };
            total.add(forward, 1.0 + again + if step.reference { 1.0 } else { 0.0 });
            total.add(backward, 1.0);
            adapted +=
                part.experts * 3.0 * real(hidden + part.inner) + attention.iter().map(|(o, i, _)| o + i).sum::<f64>();
            adapters += part.experts * 6.0 + 8.0;
        }
        total.add(once, 1.0);
        total.add(head.head_back(vocab, h), 1.0);
        if step.trained == Trained::Whole {
            // The gradient of the head's own weight.
            total.add(head.head_product(vocab, h), 1.0);
        }
        if step.reference {
            total.add(forward, layers);
            total.add(once, 1.0);
        }
        // AdamW: value, gradient and both moments, read, and all but the gradient written; the gradient set to 0 and
        // its norm taken: three launches for each A and B.
        let trained = match step.trained {
            Trained::Adapter(rank) => adapted * real(rank),
            Trained::Whole => {
                config.shapes().iter().map(|(_, shape)| shape.iter().map(|n| real(*n)).product::<f64>()).sum()
            }
        };
        let launches = 3.0 * adapters;
        total.seconds += 36.0 * trained / machine.traffic + launches * LEAST;
        total.launches += launches;
        // For the losses and for the norm.
        total.seconds += 2.0 * WAIT;
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

/// The MLP of a layer, or its experts.
struct FeedForward {
    inner: usize,
    hidden: usize,
    /// How many there are, 1 without a router.
    experts: f64,
    /// And how many a token goes through.
    chosen: f64,
}

impl FeedForward {
    fn of(config: &Config, layer: usize) -> Self {
        let hidden = config.hidden_size;
        match config.experts(layer) {
            None => Self { inner: config.intermediate_size, hidden, experts: 1.0, chosen: 1.0 },
            Some(experts) => {
                let [count, chosen] = [experts.count, experts.chosen].map(real);
                Self { inner: experts.inner, hidden, experts: count, chosen }
            }
        }
    }

    /// Forward and backward.
    fn cost(&self, roof: &Roof<'_>, step: &Step) -> (Cost, Cost) {
        let (h, i) = (real(self.hidden), real(self.inner));
        let (mut forward, mut backward) = (Cost::default(), Cost::default());
        let each = Roof { machine: roof.machine, tokens: roof.tokens * self.chosen / self.experts };
        for (out, input, plus) in [(i, h, 0.0), (i, h, 1.0), (h, i, 0.0)] {
            forward.add(each.linear(out, input, step), self.experts);
            backward.add(each.linear_back(out, input, plus, step), self.experts);
        }
        // SwiGLU; backward with its gradients in one pass.
        forward.add(each.stream(3.0 * i, 1.0), self.experts);
        backward.add(each.stream(6.0 * i, 1.0), self.experts);
        if self.experts > 1.0 {
            // The router, whose weights the host waits for; rows that are gathered and added up, and products that are weighed.
            let mut router = roof.product(self.experts, h, 2.0 * self.experts * h, 0.0);
            router.seconds += WAIT;
            forward.add(router, 1.0);
            backward.add(router, 1.0);
            forward.add(each.stream(5.0 * h + 2.0 * i, 3.0), self.experts);
            backward.add(each.stream(7.0 * h + 8.0 * i, 7.0), self.experts);
            backward.add(Cost { seconds: WAIT, ..Cost::default() }, self.experts);
        }
        (forward, backward)
    }
}

struct Roof<'a> {
    machine: &'a Machine,
    tokens: f64,
}

impl Roof<'_> {
    /// A product of [tokens, input] by [input, out] that is `flops` a token, in bf16; with `plus`, added to what is there.
    fn product(&self, out: f64, input: f64, flops: f64, plus: f64) -> Cost {
        let bytes = 2.0 * (self.tokens * ((1.0 + plus) * out + input) + out * input);
        let flops = flops * self.tokens;
        Cost { flops, seconds: (flops / self.machine.products).max(bytes / self.machine.traffic), launches: 1.0 }
    }

    /// As [`Roof::product`], one side of it as narrow as a rank.
    fn skinny(&self, out: f64, input: f64, plus: f64) -> Cost {
        let bytes = 2.0 * (self.tokens * ((1.0 + plus) * out + input) + out * input);
        let flops = 2.0 * out * input * self.tokens;
        let seconds = (flops / self.machine.products).max(bytes / (SKINNY * self.machine.traffic));
        Cost { flops, seconds, launches: 1.0 }
    }

    /// `elements` of bf16 a token, read or written, in so many launches.
    fn stream(&self, elements: f64, launches: f64) -> Cost {
        Cost { flops: 0.0, seconds: 2.0 * elements * self.tokens / (ELEMENTS * self.machine.traffic), launches }
    }

    fn attention(flops: f64, reached: f64) -> Cost {
        Cost { flops, seconds: flops / reached, launches: 3.0 }
    }

    /// Half a byte and its scale read for each weight, two bytes written.
    fn unpacked(&self, n: f64) -> Cost {
        Cost { flops: 0.0, seconds: 2.52 * n / (UNPACKED * self.machine.traffic), launches: 2.0 }
    }

    /// A or B, or one of its gradients' copies, in bf16.
    fn cast() -> Cost {
        Cost { flops: 0.0, seconds: LEAST, launches: 2.0 }
    }

    /// What masks of [tokens, input] take, if they take longer than the product that they are made in.
    fn masked(&self, mut product: Cost, input: f64, step: &Step) -> Cost {
        if step.dropout {
            product.seconds = product.seconds.max(self.tokens * input * HASH);
        }
        product
    }

    fn linear(&self, out: f64, input: f64, step: &Step) -> Cost {
        let mut cost = if step.packed { self.unpacked(out * input) } else { Cost::default() };
        let Trained::Adapter(rank) = step.trained else {
            cost.add(self.product(out, input, 2.0 * out * input, 0.0), 1.0);
            return cost;
        };
        let rank = real(rank);
        cost.add(Self::cast(), 2.0);
        cost.add(self.masked(self.skinny(rank, input, 0.0), input, step), 1.0);
        cost.add(self.skinny(out, rank, 0.0), 1.0);
        // Added to what the adapter gives, which is read meanwhile.
        cost.add(self.product(out, input, 2.0 * out * input, 1.0), 1.0);
        cost
    }

    fn linear_back(&self, out: f64, input: f64, plus: f64, step: &Step) -> Cost {
        let mut cost = if step.packed { self.unpacked(out * input) } else { Cost::default() };
        let Trained::Adapter(rank) = step.trained else {
            // dx = dy W, dW = dy^T x.
            cost.add(self.product(input, out, 2.0 * out * input, plus), 1.0);
            cost.add(self.product(input, out, 2.0 * out * input, 0.0), 1.0);
            return cost;
        };
        let rank = real(rank);
        cost.add(Self::cast(), 2.0);
        // u = dy B, dB = dy^T u', dx = u A, dA = u^T x.
        cost.add(self.skinny(rank, out, 0.0), 1.0);
        cost.add(self.skinny(out, rank, 0.0), 1.0);
        cost.add(self.masked(self.skinny(input, rank, plus), input, step), 1.0);
        cost.add(self.masked(self.skinny(rank, input, 0.0), input, step), 1.0);
        cost.add(self.product(input, out, 2.0 * out * input, 1.0), 1.0);
        cost
    }

    /// How many chunks of rows the head takes, how many rows a whole one has, and how many the last.
    fn chunks(&self, vocab: usize) -> (f64, f64, f64) {
        let step = real(chunk_rows(vocab, DType::BF16)).min(self.tokens);
        let chunks = (self.tokens / step).ceil();
        (chunks, step, self.tokens - (chunks - 1.0) * step)
    }

    /// A product of all rows with the head, chunk by chunk: tiles that are not full take as long as full ones.
    fn head_product(&self, vocab: usize, hidden: f64) -> Cost {
        let (chunks, step, last) = self.chunks(vocab);
        let of = |rows: f64| {
            let roof = Roof { machine: self.machine, tokens: (rows / TILE).ceil() * TILE };
            roof.product(real(vocab), hidden, 2.0 * real(vocab) * hidden, 0.0).seconds
        };
        let seconds = (chunks - 1.0) * of(step) + of(last);
        Cost { flops: 2.0 * real(vocab) * hidden * self.tokens, seconds, launches: chunks }
    }

    /// Rows chosen and normed, scores, and cross-entropy in their place, which goes over them twice and writes once.
    fn head(&self, vocab: usize, hidden: f64) -> Cost {
        let (mut cost, (chunks, _, _)) = (self.head_product(vocab, hidden), self.chunks(vocab));
        cost.add(self.stream(3.0 * real(vocab), chunks), 1.0);
        cost.add(self.stream(4.0 * hidden, 2.0), 1.0);
        cost
    }

    /// The gradient of the hidden states, weighed, through the norm, and put back in its places.
    fn head_back(&self, vocab: usize, hidden: f64) -> Cost {
        let mut cost = self.head_product(vocab, hidden);
        cost.add(self.stream(2.0 * hidden + 4.0 * hidden + 2.0 * hidden, 4.0), 1.0);
        cost
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    fn llama() -> Config {
        let json = serde_json::json!({
            "model_type": "llama", "vocab_size": 128_256, "hidden_size": 4096, "intermediate_size": 14_336,
            "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "rms_norm_eps": 1e-5,
            "max_position_embeddings": 8192, "tie_word_embeddings": false,
        });
        Config::from_json(std::path::Path::new("llama3-8b"), json.as_object().unwrap()).unwrap()
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
            trained: Trained::Adapter(64),
            packed: true,
            dropout: false,
            reference: false,
            shared: false,
        };
        for (recompute, gflop, tokens) in [(0, 32.0, 30_940.0), (32, 46.5, 21_256.0)] {
            let cost = Cost::of(&llama(), &Step { recompute, ..step }, &H200);
            assert!((cost.flops / 8192e9 - gflop).abs() < 0.05, "{}", cost.flops / 8192e9);
            let ceiling = 8192.0 / cost.ceiling(&H200);
            assert!((ceiling - tokens).abs() < 2.0, "{ceiling}");
            assert!(cost.predicted(&H200) > cost.ceiling(&H200), "a prediction above the ceiling");
            let slower = Cost::of(&llama(), &Step { recompute, ..step }, &H100);
            assert!(slower.predicted(&H100) > cost.predicted(&H200), "less traffic takes longer");
        }
    }

    /// Of experts arithmetic goes by those that a token goes through, and traffic by all.
    #[test]
    fn experts_cost_what_a_token_goes_through() {
        let experts = |count: usize, chosen: usize, inner: usize| {
            let json = serde_json::json!({
                "model_type": "mixtral", "vocab_size": 128_256, "hidden_size": 4096, "intermediate_size": inner,
                "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "rms_norm_eps": 1e-5,
                "max_position_embeddings": 8192, "num_local_experts": count, "num_experts_per_tok": chosen,
            });
            Config::from_json(std::path::Path::new("experts"), json.as_object().unwrap()).unwrap()
        };
        let step = Step {
            tokens: 8192,
            pairs: 8192.0 * 512.0,
            targets: 8192,
            recompute: 8,
            trained: Trained::Whole,
            packed: false,
            dropout: false,
            reference: false,
            shared: false,
        };
        let of = |config: &Config| Cost::of(config, &step, &H200);
        // Two halves of an MLP are the MLP but for the router: 2 x 2 x 4096 a token, forward, again and backward.
        let (whole, halves) = (of(&llama()), of(&experts(2, 2, 7168)));
        let router = 8192.0 * 2.0 * 2.0 * 4096.0 * (32.0 + 8.0 + 32.0);
        assert!(
            ((halves.flops - whole.flops) / router - 1.0).abs() < 1e-3,
            "{}",
            (halves.flops - whole.flops) / router
        );
        let (two, many) = (of(&experts(2, 2, 7168)), of(&experts(16, 2, 7168)));
        let router = router / 2.0 * 14.0;
        assert!(((many.flops - two.flops) / router - 1.0).abs() < 1e-3 && many.seconds > 1.1 * two.seconds);
    }

    #[test]
    fn a_card_is_known_by_its_name() {
        let name = |text: &str| Machine::named(text).map(|machine| machine.name);
        assert_eq!([name("NVIDIA H100 80GB HBM3"), name("h200"), name("GTX 970")], [Some("h100"), Some("h200"), None]);
    }

    #[test]
    fn dropout_and_a_reference_cost_more_and_the_host_may_be_slower() {
        let step = Step {
            tokens: 2048,
            pairs: 2048.0 * 512.0,
            targets: 2048,
            recompute: 32,
            trained: Trained::Adapter(64),
            packed: true,
            dropout: false,
            reference: false,
            shared: false,
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
