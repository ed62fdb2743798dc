//! `--jobs`, as every command has it that computes.

#[derive(Clone, Copy, Default, clap::Args)]
#[group(skip)]
pub struct Jobs {
    /// Threads; the output does not depend on them [default: all cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
}

impl Jobs {
    /// How many threads to use.
    pub fn threads(self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        self.jobs.map_or_else(cores, usize::from)
    }

    /// How many were asked for.
    pub fn asked(self) -> Option<u16> {
        self.jobs
    }

    /// Use so many threads for everything from here on.
    #[cfg(feature = "train")]
    pub fn apply(self) -> setaccio_base::Result<()> {
        self.jobs.map_or(Ok(()), |jobs| setaccio_base::parallel::use_threads(jobs.into()))
    }
}
