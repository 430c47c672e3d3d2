//! Room for a file that grows, taken before it is written to.
//!
//! A file system that must find room for every page as it comes spends a third of the time of a
//! write on that. Room that was taken lies behind the end of the file, where nobody sees it, until it
//! is written to or given back.

use std::fs::File;
use std::io;

/// No room is taken for files that stay shorter than this.
const FROM_BYTES: u64 = 1 << 20;
/// As much again is taken as a file has, but no more than this at once.
const AHEAD_BYTES_MAX: u64 = 16 << 20;

/// The room that was taken for one file.
#[derive(Debug, Default)]
pub(crate) struct Room {
    /// Where it ends.
    end: u64,
    /// Whether some may have been taken: a disk that has too little may keep what it found.
    tried: bool,
    /// Whether the file system gives none.
    refused: bool,
}

impl Room {
    /// Takes room, if that is due, for `file`, which is about to be written up to `end`.
    #[inline]
    pub(crate) fn reach(&mut self, file: &File, end: u64) {
        if end > self.end && end >= FROM_BYTES && !self.refused {
            self.take(file, end);
        }
    }

    #[cold]
    fn take(&mut self, file: &File, end: u64) {
        self.tried = true;
        let room = end + end.min(AHEAD_BYTES_MAX);
        let (from, length) = (self.end, room - self.end);
        // Where there is none, the write that needs it will say so.
        match allocate(file, from, length) {
            Ok(()) => self.end = room,
            Err(_) => self.refused = true,
        }
    }

    /// Gives back what lies behind the end of `file`, to which nobody writes meanwhile.
    ///
    /// # Errors
    /// Where the system does not let it.
    pub(crate) fn give_back(&mut self, file: &File) -> io::Result<()> {
        if !std::mem::take(self).tried {
            return Ok(());
        }
        give_back(file)
    }
}

/// Gives back what lies behind the end of `file`, whoever has taken it.
///
/// # Errors
/// As [`Room::give_back`].
pub(crate) fn give_back(file: &File) -> io::Result<()> {
    // To the length that it has: what lies behind goes.
    file.set_len(file.metadata()?.len())
}

#[cfg(target_os = "linux")]
fn allocate(file: &File, from: u64, length: u64) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    Ok(fallocate(file, FallocateFlags::KEEP_SIZE, from, length)?)
}

#[cfg(not(target_os = "linux"))]
fn allocate(_file: &File, _from: u64, _length: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileExt, MetadataExt};

    use super::*;

    #[test]
    fn room_is_not_seen_and_given_back() {
        let file = tempfile::tempfile().unwrap();
        let mut room = Room::default();
        let bytes = vec![7; 700 << 10];
        let mut length = 0;
        for _ in 0..5 {
            room.reach(&file, length + bytes.len() as u64);
            file.write_all_at(&bytes, length).unwrap();
            length += bytes.len() as u64;
            assert_eq!(file.metadata().unwrap().len(), length);
        }
        assert!(room.end >= length || room.refused);
        room.give_back(&file).unwrap();
        let metadata = file.metadata().unwrap();
        assert_eq!(metadata.len(), length);
        // Blocks of 512 bytes; the last page of the file, and what the file system adds.
        assert!(
            metadata.blocks() * 512 < length + (64 << 10),
            "{metadata:?}"
        );
    }
}
