//! A storage in memory that fails on demand, so that a crash is a unit test.
//!
//! It keeps what was written apart from what was synced: [`Faulty::survivor`] is what a power cut
//! leaves. Equal operations and seeds give equal outcomes.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Lock, Storage};
use crate::{Error, Result};

/// The unit in which a disk writes or does not.
const SECTOR: usize = 512;

/// A storage in memory that fails when it is told to.
#[derive(Debug, Default)]
pub struct Faulty {
    state: Mutex<State>,
    locked: Arc<AtomicBool>,
}

#[derive(Clone, Debug, Default)]
struct State {
    files: Vec<Contents>,
    /// The files by name, as a process sees them, and as a power cut leaves them.
    live: BTreeMap<String, usize>,
    durable: BTreeMap<String, usize>,
    operations: u64,
    syncs: u64,
    crash_at: Option<u64>,
    room: Option<u64>,
    read_only: bool,
}

#[derive(Clone, Debug, Default)]
struct Contents {
    live: Vec<u8>,
    durable: Vec<u8>,
}

/// What a power cut leaves of what was written and not synced. The number is a seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survivor {
    /// Nothing of it.
    Nothing,
    /// All of it: only the process died.
    All,
    /// The beginning of it, up to any byte.
    Prefix(u64),
    /// Any of its sectors; where the others should be there are zeros.
    Zeroed(u64),
}

impl Faulty {
    /// An empty storage that works.
    pub fn new() -> Self {
        Faulty::default()
    }

    /// Makes the `n`th operation from now, counted from 1, and all later ones fail. Operations are
    /// appends, syncs, truncations and removals. Of an append that fails any part may be written.
    pub fn crash_at(&self, n: u64) {
        let mut state = self.state();
        state.crash_at = Some(state.operations + n);
    }

    /// Makes the disk full after `bytes` more.
    pub fn full_after(&self, bytes: u64) {
        self.state().room = Some(bytes);
    }

    /// Lets nothing be written any more.
    pub fn make_read_only(&self) {
        self.state().read_only = true;
    }

    /// The operations so far, failed ones too.
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// The syncs of files so far.
    pub fn syncs(&self) -> u64 {
        self.state().syncs
    }

    /// The bytes of a file, as a process sees them.
    pub fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.state();
        let &at = state.live.get(name)?;
        Some(state.files[at].live.clone())
    }

    /// Replaces a file, durably: how a test damages it.
    pub fn replace(&self, name: &str, bytes: Vec<u8>) {
        let mut state = self.state();
        let at = state.files.len();
        state.files.push(Contents {
            live: bytes.clone(),
            durable: bytes,
        });
        state.live.insert(name.to_owned(), at);
        state.durable.insert(name.to_owned(), at);
    }

    /// A storage that works, with what is there after a power cut; nobody holds its lock.
    pub fn survivor(&self, survivor: Survivor) -> Faulty {
        let state = self.state();
        let mut dice = Dice(match survivor {
            Survivor::Prefix(seed) | Survivor::Zeroed(seed) => seed,
            Survivor::Nothing | Survivor::All => 0,
        });
        let after = Faulty::new();
        let mut names: Vec<&String> = state.live.keys().chain(state.durable.keys()).collect();
        names.sort();
        names.dedup();
        for name in names {
            let live = state.live.get(name);
            let durable = state.durable.get(name);
            let at = match survivor {
                Survivor::Nothing => durable,
                Survivor::All => live,
                // A name that was not synced is there or is not.
                Survivor::Prefix(_) | Survivor::Zeroed(_) if dice.below(2) == 0 => durable,
                Survivor::Prefix(_) | Survivor::Zeroed(_) => live,
            };
            if let Some(&at) = at {
                let bytes = state.files[at].survivor(survivor, &mut dice);
                after.replace(name, bytes);
            }
        }
        after
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Contents {
    fn survivor(&self, survivor: Survivor, dice: &mut Dice) -> Vec<u8> {
        let Some(tail) = self.live.strip_prefix(self.durable.as_slice()) else {
            // It was truncated: that happened or it did not.
            let happened = match survivor {
                Survivor::Nothing => false,
                Survivor::All => true,
                Survivor::Prefix(_) | Survivor::Zeroed(_) => dice.below(2) == 0,
            };
            let bytes = if happened { &self.live } else { &self.durable };
            return bytes.clone();
        };
        let synced = self.durable.len();
        match survivor {
            Survivor::Nothing => self.durable.clone(),
            Survivor::All => self.live.clone(),
            Survivor::Prefix(_) => self.live[..synced + dice.below(tail.len() + 1)].to_vec(),
            Survivor::Zeroed(_) => {
                let mut bytes = self.live.clone();
                let mut start = synced;
                while start < bytes.len() {
                    let end = ((start / SECTOR + 1) * SECTOR).min(bytes.len());
                    if dice.below(2) == 0 {
                        bytes[start..end].fill(0);
                    }
                    start = end;
                }
                bytes
            }
        }
    }
}

impl State {
    /// Counts an operation; whether it happens at all.
    fn operate(&mut self) -> io::Result<()> {
        if self.read_only {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        self.operations += 1;
        match self.crash_at {
            Some(n) if self.operations >= n => Err(io::Error::other("the machine crashed")),
            _ => Ok(()),
        }
    }

    fn file(&mut self, name: &str) -> io::Result<&mut Contents> {
        let at = self.live.get(name).copied();
        let at = at.ok_or(io::Error::from(io::ErrorKind::NotFound))?;
        Ok(&mut self.files[at])
    }
}

impl Storage for Faulty {
    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let state = self.state();
        let files = state.live.iter();
        Ok(files
            .map(|(name, &at)| (name.clone(), state.files[at].live.len() as u64))
            .collect())
    }

    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let mut state = self.state();
        let live = &state.file(name)?.live;
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let end = start.saturating_add(buffer.len());
        let bytes = live.get(start..end);
        buffer.copy_from_slice(bytes.ok_or(io::Error::from(io::ErrorKind::UnexpectedEof))?);
        Ok(())
    }

    fn append(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        let crashed_before = state.crash_at.is_some_and(|n| state.operations + 1 > n);
        let outcome = state.operate();
        if state.read_only || crashed_before {
            return outcome;
        }
        if !state.live.contains_key(name) {
            let at = state.files.len();
            state.files.push(Contents::default());
            state.live.insert(name.to_owned(), at);
        }
        let fits = state.room.map_or(bytes.len(), |room| {
            bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX))
        });
        if let Some(room) = &mut state.room {
            *room -= fits as u64;
        }
        // What was being written when the machine crashed may be there.
        state.file(name)?.live.extend_from_slice(&bytes[..fits]);
        outcome?;
        if fits < bytes.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn truncate(&self, name: &str, length: u64) -> io::Result<()> {
        let mut state = self.state();
        state.operate()?;
        let live = &mut state.file(name)?.live;
        live.truncate(usize::try_from(length).unwrap_or(usize::MAX));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.operate()?;
        match state.live.remove(name) {
            Some(_) => Ok(()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.operate()?;
        let file = state.file(name)?;
        file.durable.clone_from(&file.live);
        state.syncs += 1;
        Ok(())
    }

    fn sync_folder(&self) -> io::Result<()> {
        let mut state = self.state();
        state.operate()?;
        state.durable = state.live.clone();
        Ok(())
    }

    fn lock(&self) -> Result<Lock> {
        if self.state().read_only {
            let err = io::Error::from(io::ErrorKind::ReadOnlyFilesystem);
            return Err(super::failed(self, "write", err));
        }
        if self.locked.swap(true, Ordering::SeqCst) {
            return Err(Error::fenced("another writer owns the journal"));
        }
        Ok(Lock::new(Unlock(Arc::clone(&self.locked))))
    }

    fn place(&self) -> String {
        "memory".to_owned()
    }
}

/// Gives the lock back.
struct Unlock(Arc<AtomicBool>);

impl Drop for Unlock {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

/// Numbers that follow from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        ((u128::from(mixed) * limit as u128) >> 64) as usize
    }
}
