//! How a run is stopped before its input ends: by an error in a worker, or by a person.

use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use timely::worker::Worker;

use crate::{Error, Result};

/// How long a worker whose inputs have ended waits before it looks whether another failed.
const IDLE: Duration = Duration::from_millis(1);

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

    /// Lives the life of a worker. A panic in it stops the other workers too: they would wait for
    /// this one for ever.
    pub fn on_panic<T>(&self, hint: &str, life: impl FnOnce() -> T) -> T {
        match panic::catch_unwind(AssertUnwindSafe(life)) {
            Ok(end) => end,
            Err(cause) => {
                let text = cause.downcast_ref::<&str>().map(|text| (*text).to_owned());
                let text = text.or_else(|| cause.downcast_ref::<String>().cloned());
                let text = text.unwrap_or_else(|| "a panic without a message".to_owned());
                let error = Error::internal(format!("a worker panicked: {text}"));
                self.fail(error.with_hint(hint));
                panic::resume_unwind(cause)
            }
        }
    }

    /// Steps a worker whose inputs have ended until its dataflows have, too, or a worker failed:
    /// then nobody waits for what is under way.
    pub fn drain(&self, worker: &mut Worker) {
        while worker.has_dataflows() {
            worker.step_or_park(Some(IDLE));
            if self.has_failed() {
                for dataflow in worker.installed_dataflows() {
                    worker.drop_dataflow(dataflow);
                }
            }
        }
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
