//! Records that may still be needed, kept on disk: those whose verdict a later record may change.
//!
//! The file has no name and goes with the process.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use crate::{Error, Result};

/// Records are written this many bytes at a time, and read ahead as many.
const WINDOW_BYTES: usize = 256 << 10;

/// A file shorter than this is not worth packing.
const WORTH_PACKING_BYTES: u64 = if cfg!(test) { 64 << 10 } else { 64 << 20 };

/// Records by key `K`, with what is known of each.
#[derive(Debug)]
pub struct Attic<K, V> {
    folder: PathBuf,
    file: Option<File>,
    /// The length of the file.
    written: u64,
    /// What is to be appended to it.
    unwritten: Vec<u8>,
    kept: BTreeMap<K, Kept<V>>,
    /// The length of all records that are kept.
    kept_bytes: u64,
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
        let kept = BTreeMap::new();
        Attic {
            folder,
            file: None,
            written: 0,
            unwritten: Vec::new(),
            kept,
            kept_bytes: 0,
        }
    }

    /// Keeps a record.
    ///
    /// # Errors
    /// `Unavailable` where the disk does not take it.
    pub fn keep(&mut self, key: K, record: &[u8], value: V) -> Result<()> {
        if self.written >= WORTH_PACKING_BYTES && self.written / 2 > self.kept_bytes {
            self.pack()?;
        }
        let at = self.written + self.unwritten.len() as u64;
        self.unwritten.extend_from_slice(record);
        self.kept_bytes += record.len() as u64;
        self.kept.insert(
            key,
            Kept {
                value,
                at,
                length: record.len(),
            },
        );
        if self.unwritten.len() >= WINDOW_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    /// Moves all records into a new file, without those that were let go.
    fn pack(&mut self) -> Result<()> {
        let mut packed = Attic::<K, ()>::new(self.folder.clone());
        let mut places = Vec::with_capacity(self.kept.len());
        self.for_each(
            |_| true,
            |key, _, record| {
                places.push(packed.written + packed.unwritten.len() as u64);
                packed.keep(*key, record, ())
            },
        )?;
        packed.flush()?;
        for (kept, at) in self.kept.values_mut().zip(places) {
            kept.at = at;
        }
        (self.file, self.written) = (packed.file, packed.written);
        self.unwritten.clear();
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let fail = |error| Error::unavailable("could not set records aside").with_source(error);
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(tempfile::tempfile_in(&self.folder).map_err(fail)?),
        };
        file.write_all_at(&self.unwritten, self.written)
            .map_err(fail)?;
        self.written += self.unwritten.len() as u64;
        self.unwritten.clear();
        Ok(())
    }

    /// What is known of the record with this key.
    pub fn get(&self, key: &K) -> Option<&Kept<V>> {
        self.kept.get(key)
    }

    /// As [`Attic::get`], to be changed.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut Kept<V>> {
        self.kept.get_mut(key)
    }

    /// Lets go of the record with this key.
    pub fn forget(&mut self, key: &K) {
        if let Some(gone) = self.kept.remove(key) {
            self.kept_bytes -= gone.length as u64;
        }
        if self.kept.is_empty() {
            // All room in the file is free again.
            self.written = 0;
            self.unwritten.clear();
        }
    }

    /// What is known of all records, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &Kept<V>)> {
        self.kept.iter()
    }

    /// Reads a record into `buffer`, which is cleared first.
    ///
    /// # Errors
    /// `Unavailable` where the disk does not give it.
    pub fn read(&self, kept: &Kept<V>, buffer: &mut Vec<u8>) -> Result<()> {
        buffer.clear();
        if let Some(at) = kept.at.checked_sub(self.written) {
            let at = at as usize;
            buffer.extend_from_slice(&self.unwritten[at..at + kept.length]);
            return Ok(());
        }
        buffer.resize(kept.length, 0);
        self.read_at(kept.at, buffer)
    }

    /// Calls `each` with every record that is `wanted`, by key. Records are read ahead, which pays
    /// where keys grow as records are kept.
    ///
    /// # Errors
    /// `Unavailable` where the disk fails, or what `each` returns.
    pub fn for_each(
        &self,
        wanted: impl Fn(&V) -> bool,
        mut each: impl FnMut(&K, &V, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let mut window = Vec::new();
        let mut window_at = 0;
        let mut record = Vec::new();
        for (key, kept) in self.kept.iter().filter(|(_, kept)| wanted(&kept.value)) {
            let end = kept.at + kept.length as u64;
            if end > self.written || kept.length > WINDOW_BYTES {
                self.read(kept, &mut record)?;
                each(key, &kept.value, &record)?;
                continue;
            }
            if kept.at < window_at || end > window_at + window.len() as u64 {
                window_at = kept.at;
                window.resize(WINDOW_BYTES.min((self.written - window_at) as usize), 0);
                self.read_at(window_at, &mut window)?;
            }
            let start = (kept.at - window_at) as usize;
            each(key, &kept.value, &window[start..start + kept.length])?;
        }
        Ok(())
    }

    fn read_at(&self, at: u64, buffer: &mut [u8]) -> Result<()> {
        let Some(file) = &self.file else {
            return Err(Error::internal("a record was kept, but there is no attic"));
        };
        file.read_exact_at(buffer, at)
            .map_err(|error| Error::unavailable("could not read a record back").with_source(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_of_what_was_let_go_is_used_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut attic = Attic::new(folder.path().to_owned());
        let record = |key: u32| vec![key as u8; 1 + (key as usize * 7919) % 1000];
        for key in 0..20_000 {
            attic.keep(key, &record(key), ()).unwrap();
            if let Some(old) = key.checked_sub(50) {
                attic.forget(&old);
            }
            assert!(attic.written <= WORTH_PACKING_BYTES + 2 * WINDOW_BYTES as u64);
        }
        let mut buffer = Vec::new();
        for (key, kept) in attic.iter() {
            attic.read(kept, &mut buffer).unwrap();
            assert_eq!(buffer, record(*key));
        }
    }

    #[test]
    fn what_is_kept_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let mut attic = Attic::new(folder.path().to_owned());
        let record = |key: u32| vec![key as u8; 1 + (key as usize * 7919) % 1000];
        for key in 0..2000 {
            attic.keep(key, &record(key), key % 3).unwrap();
        }
        for key in (0..2000).step_by(7) {
            attic.forget(&key);
        }
        let mut buffer = Vec::new();
        for (key, kept) in attic.iter() {
            attic.read(kept, &mut buffer).unwrap();
            assert_eq!(buffer, record(*key));
        }
        let mut seen = Vec::new();
        let each = |key: &u32, _: &u32, bytes: &[u8]| {
            assert_eq!(bytes, record(*key));
            seen.push(*key);
            Ok(())
        };
        attic.for_each(|third| *third == 1, each).unwrap();
        let expected: Vec<u32> = (0..2000)
            .filter(|key| key % 7 != 0 && key % 3 == 1)
            .collect();
        assert_eq!(seen, expected);
    }
}
