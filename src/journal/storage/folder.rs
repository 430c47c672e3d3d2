//! The real storage: a folder of the file system.
//!
//! The file that was last appended to stays open. The lock is the operating system's, on the file
//! `lock`, so that it goes with the process that holds it, however that ends.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Lock, Storage};
use crate::room::{self, Room};
use crate::{Error, Result};

const LOCK: &str = "lock";

/// A folder of the file system.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    open: Mutex<Option<Opened>>,
}

/// The file that was last appended to.
#[derive(Debug)]
struct Opened {
    name: String,
    file: File,
    length: u64,
    room: Room,
}

impl Folder {
    /// The folder at `path`, which need not exist before it is locked.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Folder {
            path: path.into(),
            open: Mutex::new(None),
        }
    }

    /// The folder at `path`.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Usage`] where there is no folder.
    pub fn existing(path: impl Into<PathBuf>) -> Result<Self> {
        let folder = Folder::new(path);
        match fs::metadata(&folder.path) {
            Ok(metadata) if metadata.is_dir() => Ok(folder),
            Ok(_) => Err(folder.not_a_folder()),
            Err(err) => Err(
                Error::usage(format!("could not open journal {:?}", folder.place()))
                    .with_source(err)
                    .with_hint("name the folder that was given to amend run --journal"),
            ),
        }
    }

    /// The folder's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn not_a_folder(&self) -> Error {
        Error::usage(format!("journal {:?} is not a folder", self.place()))
            .with_hint("name a folder; it is created where there is none")
    }

    fn open(&self) -> MutexGuard<'_, Option<Opened>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget(&self, name: &str) {
        let mut open = self.open();
        if open.as_ref().is_some_and(|opened| opened.name == name) {
            *open = None;
        }
    }

    fn create_folder(&self) -> io::Result<()> {
        if self.path.is_dir() {
            return Ok(());
        }
        fs::create_dir_all(&self.path)?;
        // The folder itself must outlive a power cut as its files do.
        let parent = self
            .path
            .parent()
            .filter(|path| !path.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
    }

    fn lock_error(&self, err: io::Error) -> Error {
        Error::usage(format!("could not write in journal {:?}", self.place()))
            .with_source(err)
            .with_hint("the folder of a journal and its files must be writable for whoever runs it")
    }
}

impl Storage for Folder {
    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            // A name that is not UTF-8 is not one of ours.
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            match fs::metadata(entry.path()) {
                Ok(metadata) if metadata.is_file() => files.push((name, metadata.len())),
                Ok(_) => {}
                // A writer may remove a segment while somebody looks.
                Err(err) if err.kind() == io::ErrorKind::NotFound => {}
                Err(err) => return Err(err),
            }
        }
        Ok(files)
    }

    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        File::open(self.path.join(name))?.read_exact_at(buffer, offset)
    }

    fn append(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut open = self.open();
        let opened = match open.take() {
            Some(opened) if opened.name == name => opened,
            _ => {
                let file = OpenOptions::new()
                    .append(true)
                    .create(true)
                    .open(self.path.join(name))?;
                Opened {
                    name: name.to_owned(),
                    length: file.metadata()?.len(),
                    file,
                    room: Room::default(),
                }
            }
        };
        let opened = open.insert(opened);
        let length = opened.length + bytes.len() as u64;
        opened.room.reach(&opened.file, length);
        opened.file.write_all(bytes)?;
        opened.length = length;
        Ok(())
    }

    fn settle(&self, name: &str) -> io::Result<()> {
        match &mut *self.open() {
            Some(opened) if opened.name == name => {
                opened.room = Room::default();
                room::give_back(&opened.file)
            }
            _ => room::give_back(&OpenOptions::new().write(true).open(self.path.join(name))?),
        }
    }

    fn truncate(&self, name: &str, length: u64) -> io::Result<()> {
        self.forget(name);
        let file = OpenOptions::new().write(true).open(self.path.join(name))?;
        file.set_len(length)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.forget(name);
        fs::remove_file(self.path.join(name))
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        match &*self.open() {
            Some(opened) if opened.name == name => opened.file.sync_data(),
            _ => File::open(self.path.join(name))?.sync_data(),
        }
    }

    fn sync_folder(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    fn lock(&self) -> Result<Lock> {
        if self.path.exists() && !self.path.is_dir() {
            return Err(self.not_a_folder());
        }
        self.create_folder().map_err(|err| self.lock_error(err))?;
        let path = self.path.join(LOCK);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(|err| self.lock_error(err))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // Who holds it is only for the message.
                let _ = file.read_to_string(&mut holder);
                let holder = match holder.trim() {
                    "" => String::new(),
                    pid => format!(" (process {pid})"),
                };
                return Err(Error::fenced(format!(
                    "another writer{holder} owns journal {:?}: it is locked",
                    self.place()
                ))
                .with_hint("stop the other run or give this one a journal of its own"));
            }
            Err(TryLockError::Error(err)) => return Err(self.lock_error(err)),
        }
        // As above; on a full disk there may be no room for it.
        let _ = file
            .set_len(0)
            .and_then(|()| file.write_all(format!("{}\n", std::process::id()).as_bytes()));
        Ok(Lock::new(file))
    }

    fn folder(&self) -> Option<&Path> {
        Some(&self.path)
    }

    fn place(&self) -> String {
        self.path.display().to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_settled_file_takes_no_more_room_than_its_bytes() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::new(place.path());
        let bytes = vec![7; 600 << 10];
        let path = place.path().join("a");
        // As a run does that goes on where another ended.
        for run in 1..=2_u64 {
            for _ in 0..5 {
                folder.append("a", &bytes).unwrap();
            }
            if run == 2 {
                // Nobody has given back what was taken before.
                folder.forget("a");
            }
            folder.settle("a").unwrap();
            let metadata = fs::metadata(&path).unwrap();
            assert_eq!(metadata.len(), run * 5 * bytes.len() as u64);
            let most = metadata.len() + (64 << 10);
            assert!(metadata.blocks() * 512 < most, "{metadata:?}");
            folder.forget("a");
        }
        let written = fs::read(&path).unwrap();
        assert!(written.iter().all(|byte| *byte == 7));
    }
}
