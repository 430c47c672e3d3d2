//! Records that may still be needed, kept on disk: those whose verdict a later record may change.
//!
//! The file has no name and goes with the process.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use crate::{Error, Result};

/// Records by key `K`, with what is known of each.
#[derive(Debug)]
pub struct Attic<K, V> {
    folder: PathBuf,
    file: Option<File>,
    end: u64,
    kept: BTreeMap<K, Kept<V>>,
}

/// What is known of a record in the attic.
#[derive(Clone, Debug)]
pub struct Kept<V> {
    /// What the caller knows of it.
    pub value: V,
    at: u64,
    length: usize,
}

impl<K: Ord + Copy, V> Attic<K, V> {
    /// An empty attic, whose file will lie in `folder`.
    pub fn new(folder: PathBuf) -> Self {
        Attic {
            folder,
            file: None,
            end: 0,
            kept: BTreeMap::new(),
        }
    }

    /// Keeps a record.
    ///
    /// # Errors
    /// `Unavailable` where the disk does not take it.
    pub fn keep(&mut self, key: K, record: &[u8], value: V) -> Result<()> {
        let fail = |error| Error::unavailable("could not set a record aside").with_source(error);
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(tempfile::tempfile_in(&self.folder).map_err(fail)?),
        };
        file.write_all_at(record, self.end).map_err(fail)?;
        self.kept.insert(
            key,
            Kept {
                value,
                at: self.end,
                length: record.len(),
            },
        );
        self.end += record.len() as u64;
        Ok(())
    }

    /// What is known of the record with this key.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut Kept<V>> {
        self.kept.get_mut(key)
    }

    /// Lets go of the record with this key.
    pub fn forget(&mut self, key: &K) {
        self.kept.remove(key);
        if self.kept.is_empty() {
            self.end = 0;
        }
    }

    /// All records, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &Kept<V>)> {
        self.kept.iter()
    }

    /// Reads a record into `buffer`, which is cleared first.
    ///
    /// # Errors
    /// `Unavailable` where the disk does not give it.
    pub fn read(&self, kept: &Kept<V>, buffer: &mut Vec<u8>) -> Result<()> {
        buffer.clear();
        buffer.resize(kept.length, 0);
        let Some(file) = &self.file else {
            return Err(Error::internal("a record was kept, but there is no attic"));
        };
        file.read_exact_at(buffer, kept.at)
            .map_err(|error| Error::unavailable("could not read a record back").with_source(error))
    }
}
