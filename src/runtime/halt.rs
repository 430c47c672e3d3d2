//! How a run is stopped before its input ends: by an error in a worker, or by a person.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::{Error, Result};

/// Shared by the workers of a process; the first error counts.
#[derive(Clone, Debug, Default)]
pub struct Halt {
    failed: Arc<AtomicBool>,
    asked: Arc<AtomicBool>,
    error: Arc<Mutex<Option<Error>>>,
}

impl Halt {
    /// A halt that nobody asked for yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Stops the run when the process is asked to end (SIGINT, SIGTERM).
    ///
    /// # Errors
    /// `Unavailable` where the signals cannot be caught.
    pub fn on_signals(&self) -> Result<()> {
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            // A second signal ends the process at once.
            signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&self.asked))
                .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&self.asked)))
                .map_err(|error| {
                    Error::unavailable("could not listen for signals").with_source(error)
                })?;
        }
        Ok(())
    }

    /// Stops the run because of `error`.
    pub fn fail(&self, error: Error) {
        let mut first = self.error.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert(error);
        self.failed.store(true, Ordering::Release);
    }

    /// Whether a worker failed.
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// Whether a person asked the run to stop.
    pub fn was_asked(&self) -> bool {
        self.asked.load(Ordering::Acquire)
    }

    /// The first error, if there was one.
    pub fn take_error(&self) -> Option<Error> {
        self.error
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}
