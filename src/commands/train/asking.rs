//! What the commands that ask models many questions have in common.

use std::path::{Path, PathBuf};

use setaccio_eval::scorer::Room;
use setaccio_templates::Clock;
use setaccio_train::{artifacts::finished_run::FinishedRun, chain::finished::Finished, models, recipe};

use super::generate::{date, device};

/// How many questions are asked, and with what.
#[derive(clap::Args, Clone, Copy)]
pub struct Asking {
    /// What a chat template takes for today
    #[arg(long, value_name = "DATE", default_value = DATE, value_parser = date)]
    pub date: Clock,
    /// MiB of the KV cache, of which prompts that were read keep what questions do not need
    #[arg(long, value_name = "MIB", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..))]
    pub kv_cache: u32,
    /// Questions that are asked beside each other
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub parallel: u16,
    /// Decides what is drawn: resamples, permutations
    #[arg(long, value_name = "N", default_value_t = 42)]
    pub seed: u64,
    /// What computes; `auto` is the GPU if there is one and this build has the feature `cuda`
    #[arg(long, value_name = "DEVICE", default_value = "auto", value_parser = device())]
    pub device: recipe::Device,
}

/// Where what a model was asked is written if nothing else is said, below `folder`: a run's own, or beside all runs; and whether it is a run's,
/// which is told of it. What a chain has recorded of its stages stays as it is.
pub fn home(model: &Path, folder: &str) -> (PathBuf, bool) {
    let is_run = FinishedRun::is_in(model) && !Finished::has_stage(model);
    (if is_run { model.join(folder) } else { Path::new(folder).join(models::name(model)) }, is_run)
}

const DATE: &str = "2026-01-01";

impl Asking {
    /// As a chain asks.
    pub fn of_chain() -> Self {
        let date = Clock::date(DATE).unwrap_or_else(|| Clock::unix(0));
        Self { date, kv_cache: 1024, parallel: 16, seed: 42, device: recipe::Device::Auto }
    }

    /// The room for it, of `positions` tokens at most.
    pub fn room(self, positions: Option<usize>) -> Room {
        Room { cache_bytes: self.kv_cache as usize * (1 << 20), groups: self.parallel.into(), positions }
    }
}
