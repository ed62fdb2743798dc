//! Every kernel against its reference, in a table.

use std::time::{SystemTime, UNIX_EPOCH};

use setaccio_train::{
    Error, Result, device,
    gpu_cases::CASES,
    kernels::gpu_check::{Gpu, Line},
    recipe,
};

use super::{Options, table};

/// Whether all of them are close enough.
pub fn check(options: &Options) -> Result<bool> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| u64::from(t.subsec_nanos()));
    let (seed, only) = (options.number("seed", now)?, options.names("only"));
    if let Some(unknown) = only.iter().find(|name| CASES.iter().all(|(case, _)| case != name)) {
        let all = CASES.map(|(name, _)| name).join(", ");
        return Err(Error::Other(format!("no case is called {unknown}; there are {all}")));
    }
    // Its errors say what to do, such as for a GPU that is too old.
    device::pick(recipe::Device::Cuda)?;
    let gpu = Gpu::open(seed)?;
    let mut found = Vec::new();
    for (name, case) in CASES.iter().filter(|(name, _)| only.is_empty() || only.iter().any(|o| o == name)) {
        let lines = gpu.run(*case).map_err(|error| Error::Other(format!("{name}: {error}")))?;
        if lines.is_empty() {
            return Err(Error::Other(format!("{name} compares nothing")));
        }
        found.extend(lines);
    }
    let worst = worst_of_each(&found);
    let cell = |x: f64| if x == 0.0 { "0".to_owned() } else { format!("{x:.1e}") };
    let row = |line: &Line| {
        let verdict = if line.passed() { "ok" } else { "MISSED" };
        vec![line.kernel.clone(), line.shape.clone(), cell(line.error), cell(line.allowed), verdict.to_owned()]
    };
    table::print(&["kernel", "shape", "worst error", "allowed", "verdict"], &worst.iter().map(row).collect::<Vec<_>>());
    let missed = found.iter().filter(|line| !line.passed()).count();
    println!("\n{} comparisons, {missed} missed; seed {seed} (--seed {seed} gives the same inputs)", found.len());
    Ok(missed == 0)
}

/// The comparison with the largest error of each kernel and shape, in their order.
fn worst_of_each(found: &[Line]) -> Vec<Line> {
    let mut worst: Vec<Line> = Vec::new();
    for line in found {
        match worst.iter_mut().find(|w| w.kernel == line.kernel && w.shape == line.shape) {
            // What is no number is worse than any.
            Some(w) if line.error.is_nan() || line.error > w.error => *w = line.clone(),
            Some(_) => {}
            None => worst.push(line.clone()),
        }
    }
    worst
}
