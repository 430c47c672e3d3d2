//! Where a journal lies: the few things that it asks of a disk.
//!
//! Nothing is durable before its `sync` returned: neither the bytes of a file nor, before
//! [`Storage::sync_folder`], that the file is there or is gone. An implementation may lose all of
//! it in any order, and the journal is still right.

use std::fmt::Debug;
use std::io;
use std::path::Path;

use crate::{Error, ErrorKind, Result};

mod faulty;
mod folder;

pub use faulty::{Faulty, Survivor};
pub use folder::Folder;

/// A folder of append-only files.
pub trait Storage: Send + Sync + Debug {
    /// The files and their lengths, in any order.
    fn list(&self) -> io::Result<Vec<(String, u64)>>;

    /// Fills `buffer` from a file, beginning at `offset`.
    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Writes at the end of a file, which is created where there is none.
    fn append(&self, name: &str, bytes: &[u8]) -> io::Result<()>;

    /// Gives back the room that was taken ahead for a file, to which nobody appends for now.
    fn settle(&self, _name: &str) -> io::Result<()> {
        Ok(())
    }

    /// Cuts a file to a length.
    fn truncate(&self, name: &str, length: u64) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Returns once the bytes of a file are durable.
    fn sync(&self, name: &str) -> io::Result<()>;

    /// Returns once it is durable which files there are.
    fn sync_folder(&self) -> io::Result<()>;

    /// Becomes the only writer for as long as the lock lives. Creates the folder where there is
    /// none.
    ///
    /// # Errors
    /// [`ErrorKind::Fenced`] when there is a writer already; [`ErrorKind::Usage`] where nothing can
    /// be written.
    fn lock(&self) -> Result<Lock>;

    /// Where it lies in the file system, if it does: there the column caches lie beside the segments.
    fn folder(&self) -> Option<&Path> {
        None
    }

    /// What it is called in messages.
    fn place(&self) -> String;
}

/// Keeps other writers out until it is dropped.
pub struct Lock(Box<dyn Send + Sync>);

impl Lock {
    /// A lock that lasts as long as `held`.
    pub fn new(held: impl Send + Sync + 'static) -> Self {
        Lock(Box::new(held))
    }
}

impl Debug for Lock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let _ = &self.0;
        f.write_str("Lock")
    }
}

/// What a failed operation means: `what` was attempted.
pub(super) fn failed(storage: &dyn Storage, what: &str, err: io::Error) -> Error {
    let (kind, hint) = match err.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => (
            ErrorKind::Unavailable,
            "make room on the disk and run it again: it resumes where the journal ends",
        ),
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => (
            ErrorKind::Usage,
            "the folder of a journal and its files must be writable for whoever runs it",
        ),
        _ => (
            ErrorKind::Unavailable,
            "run it again: it resumes where the journal ends",
        ),
    };
    Error::new(
        kind,
        format!("could not {what} in journal {:?}", storage.place()),
    )
    .with_source(err)
    .with_hint(hint)
}

/// All bytes of a file, of which `length` are there.
pub(super) fn read_all(storage: &dyn Storage, name: &str, length: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    read_over(storage, name, length, &mut bytes)?;
    Ok(bytes)
}

/// As [`read_all`], in the place of what `bytes` held: memory that is there already costs nothing.
pub(super) fn read_over(
    storage: &dyn Storage,
    name: &str,
    length: u64,
    bytes: &mut Vec<u8>,
) -> Result<()> {
    let length = usize::try_from(length)
        .map_err(|_| Error::usage(format!("{name:?} is too long for this machine")))?;
    bytes.resize(length, 0);
    storage
        .read_at(name, 0, bytes)
        .map_err(|err| failed(storage, &format!("read {name:?}"), err))
}
