//! Steps of QLoRA, timed, each beside what was predicted.

use std::{collections::BTreeMap, path::Path, time::Instant};

use candle_core::{DType, Device};
use serde_json::{Value, json};
#[cfg(feature = "cuda")]
use setaccio_train::kernels::{launch_timer, memory_pool};
use setaccio_train::{
    Error, Result,
    cost::{Cost, H200, Machine, Step, Trained},
    data::MicroBatch,
    device,
    memory::{GIB, Memory},
    model::{
        config::Config,
        load::{self, LoadOptions, Trainable},
    },
    recipe,
    trainer::{StepError, Trainer},
};

use super::{
    Options,
    model::{Random, Shape},
    runs::{RANK, RUNS, Run, asks_reference},
    table,
};

#[allow(clippy::cast_precision_loss, reason = "shown to a few digits")]
fn gib(bytes: u64) -> f64 {
    bytes as f64 / GIB
}

/// What is asked of all runs.
struct Bench {
    shape: Shape,
    device: Device,
    dtype: DType,
    steps: usize,
    parts: usize,
    /// What is predicted for.
    machine: Machine,
    /// Whether a profiler is to see one step more, and nothing else.
    profile: bool,
}

/// What was measured of a run, in seconds and bytes.
struct Measurement {
    first: f64,
    steps: Vec<f64>,
    median: f64,
    peak: Option<u64>,
    reserved: Option<u64>,
    parts: BTreeMap<String, (f64, usize)>,
}

pub fn bench(options: &Options) -> Result<()> {
    let shape = Shape::named(&options.text("shape", "llama3-8b"))?;
    let wanted = match options.text("device", "cuda").as_str() {
        "cuda" => recipe::Device::Cuda,
        "cpu" => recipe::Device::Cpu,
        other => return Err(Error::Other(format!("--device is cuda or cpu, not {other}"))),
    };
    let count = |name, default| -> Result<usize> { Ok(usize::try_from(options.number(name, default)?).unwrap_or(1)) };
    let (steps, parts, only) = (count("steps", 10)?, count("parts", 12)?, options.names("runs"));
    if let Some(unknown) = only.iter().find(|name| RUNS.iter().all(|run| run.name != **name)) {
        let all = RUNS.map(|run| run.name).join(", ");
        return Err(Error::Other(format!("no run is called {unknown}; there are {all}")));
    }
    // Without steps there are predictions alone, for a GPU that need not be there.
    let (device, dtype) = if steps == 0 { (Device::Cpu, DType::BF16) } else { device::pick(wanted)? };
    let profile = options.0.contains_key("profile");
    let mut bench = Bench { shape, device, dtype, steps, parts, machine: H200, profile };
    bench.machine = match options.0.get("card") {
        Some(card) => {
            Machine::named(card).ok_or_else(|| Error::Other(format!("--card is h100 or h200, not {card}")))?
        }
        None => Machine::named(&bench.on()).unwrap_or(H200),
    };
    let mut measured = Vec::new();
    for run in RUNS.into_iter().filter(|run| only.is_empty() || only.iter().any(|name| name == run.name)) {
        measured.push(bench.run(run.shortened(bench.shape.shorter))?);
        // After each, so that what a later run takes away, such as the time, leaves the earlier ones.
        if let Some(file) = options.0.get("json") {
            setaccio_base::atomic::write(Path::new(file), format!("{:#}\n", Value::from(measured.clone())).as_bytes())?;
        }
    }
    let head = ["run", "tokens", "recomputed", "predicted tok/s", "tok/s", "share of ceiling"];
    let head = [&head[..], &["predicted GiB", "peak GiB", "reserved GiB"]].concat();
    let row = |m: &Value| {
        let text = |name: &str| m[name].as_str().unwrap_or_default().to_owned();
        let number = |name: &str, digits: usize| m[name].as_f64().map_or("-".into(), |x| format!("{x:.digits$}"));
        vec![
            text("run"),
            number("tokens", 0),
            number("recomputed", 0),
            number("predicted_tokens_per_second", 0),
            number("tokens_per_second", 0),
            m["share_of_ceiling"].as_f64().map_or("-".into(), |x| format!("{:.1}%", 100.0 * x)),
            number("predicted_gib", 2),
            number("peak_gib", 2),
            number("reserved_gib", 2),
        ]
    };
    let on = if steps == 0 { "nothing".into() } else { bench.on() };
    let card = bench.machine.name.to_uppercase();
    println!("\nPredictions and ceilings are those of an {card} in bf16, whatever this ran on: {on}.\n");
    table::print(&head, &measured.iter().map(row).collect::<Vec<_>>());
    Ok(())
}

#[allow(clippy::cast_precision_loss, reason = "lengths are small")]
fn step_of(micro: &MicroBatch, recompute: usize, run: &Run) -> Step {
    let batch = micro.batch();
    // Query i of a span sees i + 1 keys and those before: about half a square and a rectangle.
    let seen = |span: &setaccio_train::kernels::Span| {
        let (q, k) = (span.q_len as f64, span.k_len as f64);
        q * (k - q) + q * q / 2.0
    };
    Step {
        tokens: batch.tokens(),
        pairs: batch.spans().0.iter().map(seen).sum(),
        targets: batch.targets(),
        recompute,
        trained: Trained::Adapter(RANK),
        packed: true,
        dropout: run.dropout > 0.0,
        reference: asks_reference(micro),
        shared: batch.spans().1.is_some(),
    }
}

impl Bench {
    fn on(&self) -> String {
        #[cfg(feature = "cuda")]
        if let Ok(device) = self.device.as_cuda_device() {
            return device.cuda_stream().context().name().unwrap_or_else(|_| "a GPU without a name".into());
        }
        device::name(&self.device, self.dtype, setaccio_train::kernels::Products::Exact)
    }

    fn run(&self, run: Run) -> Result<Value> {
        let (config, recipe) = (&self.shape.config, run.recipe()?);
        let micro = run.micro(config.vocab_size);
        let (laid, targets, tokens) = (micro.batch().tokens(), micro.batch().targets(), micro.tokens());
        let plan = Memory::new(config, &recipe, self.dtype, self.dtype);
        let free = if self.steps == 0 { Some(self.machine.memory) } else { device::free(&self.device) };
        let free = free.map_or(usize::MAX, |free| free / 10 * 9);
        let recompute = plan.recompute(recipe.train.recompute, laid, targets, free);
        eprintln!("{}: {laid} tokens a step, {recompute} of {} layers computed again", run.name, config.layers);
        let micros = [micro];
        let cost = Cost::of(config, &step_of(&micros[0], recompute, &run), &self.machine);
        let predicted = plan.parts(laid, targets, recompute).total() as u64;
        #[allow(clippy::cast_precision_loss, reason = "far below 2^53")]
        let rate = |seconds: f64| tokens as f64 / seconds;
        let mut said = json!({
            "run": run.name, "card": self.machine.name, "batch": run.batch, "length": run.length, "dropout": run.dropout, "rank": RANK,
            "tokens": tokens, "laid_down": laid, "recomputed": recompute, "layers": config.layers,
            "predicted_tokens_per_second": rate(cost.predicted(&self.machine)),
            "ceiling_tokens_per_second": rate(cost.ceiling(&self.machine)), "gflop_per_step": cost.flops / 1e9,
            "predicted_gib": gib(predicted),
        });
        if self.steps > 0 {
            let timed = self.measure(&run, &recipe, recompute, &micros)?;
            said["device"] = self.on().into();
            said["tokens_per_second"] = rate(timed.median).into();
            said["share_of_ceiling"] = (cost.ceiling(&self.machine) / timed.median).into();
            said["step_seconds"] = timed.steps.into();
            said["first_step_seconds"] = timed.first.into();
            said["peak_gib"] = timed.peak.map(gib).into();
            said["reserved_gib"] = timed.reserved.map(gib).into();
            said["seconds_by_part"] = timed.parts.iter().map(|(name, (s, n))| (name.clone(), json!([s, n]))).collect();
        }
        Ok(said)
    }

    fn measure(
        &self,
        run: &Run,
        recipe: &recipe::Recipe,
        recompute: usize,
        micros: &[MicroBatch],
    ) -> Result<Measurement> {
        reset(&self.device)?;
        let mut trainer = self.trainer(&self.shape.config, recipe, recompute)?;
        let mut seconds = Vec::new();
        // The first step loads kernels and fills the pool.
        for _ in 0..=self.steps {
            seconds.push(self.step(&mut trainer, micros)?);
        }
        let mut steps = seconds.split_off(1);
        steps.sort_by(f64::total_cmp);
        let (median, (peak, reserved)) = (steps[steps.len() / 2], peak(&self.device));
        if self.profile {
            self.profiled(&mut trainer, micros)?;
        }
        let parts = self.by_part(&mut trainer, micros)?;
        self.show(run, median, &parts);
        Ok(Measurement { first: seconds[0], steps, median, peak, reserved, parts })
    }

    fn trainer(&self, config: &Config, recipe: &recipe::Recipe, recompute: usize) -> Result<Trainer> {
        let source = Random { device: self.device.clone(), dtype: self.dtype };
        let options = LoadOptions {
            quantization: recipe.model.quantization,
            double_quant: true,
            dtype: self.dtype,
            device: self.device.clone(),
            trainable: Trainable::Adapter(recipe.lora.clone(), recipe.seed),
            ..LoadOptions::default()
        };
        let llama = load::model(config, &source, &options, &|_| true)?;
        Trainer::new(llama, recipe, 1 << 20, recompute)
    }

    /// Seconds of a step, until the GPU is done with it.
    fn step(&self, trainer: &mut Trainer, micros: &[MicroBatch]) -> Result<f64> {
        let began = Instant::now();
        trainer.step(micros, &|| false).map_err(|fault| match fault {
            StepError::Error(error) => error,
            StepError::Diverged(what) => Error::Other(format!("{what} is not finite")),
        })?;
        self.device.synchronize()?;
        Ok(began.elapsed().as_secs_f64())
    }

    /// The parts that took longest in one more step.
    fn show(&self, run: &Run, median: f64, by_part: &BTreeMap<String, (f64, usize)>) {
        if by_part.is_empty() || self.parts == 0 {
            return;
        }
        let mut parts: Vec<_> = by_part.iter().collect();
        parts.sort_by(|a, b| b.1.0.total_cmp(&a.1.0));
        let all: f64 = parts.iter().map(|(_, (seconds, _))| seconds).sum();
        let row = |(name, (seconds, launches)): &(&String, &(f64, usize))| {
            vec![(*name).clone(), format!("{:.2}", 1e3 * seconds), launches.to_string()]
        };
        println!("\n{}: {:.1} ms a step, of which in launches of ours {:.1} ms:\n", run.name, 1e3 * median, 1e3 * all);
        table::print(&["part", "ms", "launches"], &parts.iter().take(self.parts).map(row).collect::<Vec<_>>());
    }

    /// One step more between the two marks that a profiler is told to watch: `ncu --profile-from-start off`.
    fn profiled(&self, trainer: &mut Trainer, micros: &[MicroBatch]) -> Result<()> {
        #[cfg(feature = "cuda")]
        launch_timer::profile(true)?;
        self.step(trainer, micros)?;
        #[cfg(feature = "cuda")]
        launch_timer::profile(false)?;
        Ok(())
    }

    #[cfg(feature = "cuda")]
    fn by_part(&self, trainer: &mut Trainer, micros: &[MicroBatch]) -> Result<BTreeMap<String, (f64, usize)>> {
        if !self.device.is_cuda() {
            return Ok(BTreeMap::new());
        }
        launch_timer::start();
        self.step(trainer, micros)?;
        launch_timer::stop()
    }

    #[cfg(not(feature = "cuda"))]
    #[allow(clippy::unused_self, clippy::unnecessary_wraps, reason = "as with a GPU")]
    fn by_part(&self, _: &mut Trainer, _: &[MicroBatch]) -> Result<BTreeMap<String, (f64, usize)>> {
        Ok(BTreeMap::new())
    }
}

/// Forget the peak of the run before.
fn reset(device: &Device) -> Result<()> {
    match device {
        #[cfg(feature = "cuda")]
        Device::Cuda(device) => memory_pool::reset_peaks(device),
        _ => std::fs::write("/proc/self/clear_refs", "5").map_err(Error::io("write", "/proc/self/clear_refs")),
    }
}

/// Bytes of tensors at most, and of what was taken from the driver for them; on the CPU, of the whole process.
fn peak(device: &Device) -> (Option<u64>, Option<u64>) {
    match device {
        #[cfg(feature = "cuda")]
        Device::Cuda(device) => {
            memory_pool::usage(device).map_or((None, None), |p| (Some(p.used_peak), Some(p.reserved_peak)))
        }
        _ => (setaccio_train::memory::peak().map(|bytes| bytes as u64), None),
    }
}
