//! How a worker that waits hears of bytes, epochs and syncs.
//!
//! A worker with nothing to do parks its thread. Whoever makes something for it to do rings: a thread
//! that reads an input, the worker that cut an epoch, the journal when it has synced. Bytes matter
//! only to those who have nothing else under way, because others let them gather; waking them for
//! every few bytes would cost more than what is done with these. Nothing depends on being heard,
//! since a worker looks again by itself before long; it is only sooner.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, Thread};

use super::lock;

/// Wakes the threads that listen; clones wake the same ones.
#[derive(Clone, Debug, Default)]
pub struct Bell {
    listeners: Arc<Mutex<Vec<Listener>>>,
}

#[derive(Debug)]
struct Listener {
    thread: Thread,
    idle: Arc<AtomicBool>,
}

/// What a thread that listens says of itself.
#[derive(Debug)]
pub struct Ear(Arc<AtomicBool>);

impl Ear {
    /// Whether the thread has nothing under way, to be said before it looks for something to do.
    pub fn set_idle(&self, idle: bool) {
        self.0.store(idle, Ordering::SeqCst);
    }
}

impl Bell {
    /// From now on this thread is woken; one that is not parked yet will not park the next time.
    pub fn listen(&self) -> Ear {
        let idle = Arc::new(AtomicBool::new(true));
        self.listeners().push(Listener {
            thread: thread::current(),
            idle: Arc::clone(&idle),
        });
        Ear(idle)
    }

    /// Wakes all who listen, but for this thread.
    pub fn ring(&self) {
        self.wake(|_| true);
    }

    /// Wakes those who have nothing under way, but for this thread.
    pub fn ring_for_idle(&self) {
        self.wake(|listener| listener.idle.load(Ordering::SeqCst));
    }

    fn wake(&self, who: impl Fn(&Listener) -> bool) {
        let own = thread::current().id();
        for listener in self.listeners().iter() {
            if listener.thread.id() != own && who(listener) {
                listener.thread.unpark();
            }
        }
    }

    fn listeners(&self) -> MutexGuard<'_, Vec<Listener>> {
        lock(&self.listeners)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;

    #[test]
    fn who_listens_is_woken() {
        let bell = Bell::default();
        bell.ring();
        let (sender, receiver) = channel();
        let listener = {
            let bell = bell.clone();
            thread::spawn(move || {
                let _ear = bell.listen();
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

    #[test]
    fn who_has_something_under_way_is_not_woken_for_bytes() {
        let bell = Bell::default();
        let (sender, receiver) = channel();
        let listener = {
            let bell = bell.clone();
            thread::spawn(move || {
                let ear = bell.listen();
                ear.set_idle(false);
                sender.send(()).unwrap();
                thread::park();
                sender.send(()).unwrap();
                ear.set_idle(true);
                sender.send(()).unwrap();
                thread::park();
            })
        };
        receiver.recv().unwrap();
        bell.ring_for_idle();
        let heard = receiver.recv_timeout(Duration::from_millis(50));
        assert!(heard.is_err(), "it was woken");
        bell.ring();
        receiver.recv().unwrap();
        receiver.recv().unwrap();
        bell.ring_for_idle();
        listener.join().unwrap();
    }
}
