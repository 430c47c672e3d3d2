//! How a worker that waits hears of bytes, epochs and syncs.
//!
//! A worker with nothing to do parks its thread. Whoever makes something for it to do rings: a thread
//! that reads an input, the worker that cut an epoch, the journal when it has synced. Nothing
//! depends on being heard, since a worker looks again by itself before long; it is only sooner.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Thread};

/// Wakes the threads that listen; clones wake the same ones.
#[derive(Clone, Debug, Default)]
pub struct Bell {
    listeners: Arc<Mutex<Vec<Thread>>>,
}

impl Bell {
    /// From now on this thread is woken; one that is not parked yet will not park the next time.
    pub fn listen(&self) {
        let mut listeners = self
            .listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        listeners.push(thread::current());
    }

    /// Wakes all who listen, but for this thread.
    pub fn ring(&self) {
        let own = thread::current().id();
        let listeners = self
            .listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for thread in listeners.iter().filter(|thread| thread.id() != own) {
            thread.unpark();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn who_listens_is_woken() {
        let bell = Bell::default();
        bell.ring();
        let (sender, receiver) = channel();
        let listener = {
            let bell = bell.clone();
            thread::spawn(move || {
                bell.listen();
                // It does not wake itself.
                bell.ring();
                sender.send(()).unwrap();
                thread::park();
            })
        };
        receiver.recv().unwrap();
        bell.ring();
        listener.join().unwrap();
    }
}
