//! The flags that say how the engine runs, whatever it reads.

/// How many workers there are, and how they cut their input into epochs.
#[derive(Debug, clap::Args)]
pub(super) struct EngineFlags {
    /// Worker threads of this process [default: the cores]
    #[arg(short, long, value_name = "N", value_parser = super::parse_workers)]
    workers: Option<usize>,

    /// Close an epoch after this many records
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) epoch_events: Option<u64>,

    /// Close an epoch after this many milliseconds; 0 turns the clock off
    #[arg(long, value_name = "N")]
    pub(super) epoch_ms: Option<u64>,
}

impl EngineFlags {
    pub(super) fn workers(&self) -> usize {
        self.workers.unwrap_or_else(super::default_workers)
    }

    /// Whether they say where epochs end.
    pub(super) fn cuts_epochs(&self) -> bool {
        self.epoch_events.is_some() || self.epoch_ms.is_some()
    }
}
