//! What tells this build from others.
//!
//! Two questions are kept apart. Whether bytes may be taken for columns at all depends on how this
//! build lays them out in memory: `codec` looks at that itself, so nothing here is a matter of
//! soundness. Whether the columns are what this build would decode depends on its code, and the
//! version says too little about that while the code is worked on: so the executable is looked at.
//! Its length, its time of change and 64 pages spread over it are read, a quarter of a megabyte: as
//! good as all of it (any edit moves code and tables about, and a linker's build id lies in the
//! first page), in well under a millisecond. The time alone would not do, for some package builders
//! set it to a constant.

use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;
use std::time::UNIX_EPOCH;

use xxhash_rust::xxh3::Xxh3;

const PAGES: u64 = 64;
const PAGE_BYTES: usize = 4096;

/// The fingerprint of the running executable.
///
/// Where the executable cannot be read it is a random number: then no cache of another process is
/// taken for one of ours.
pub(super) fn of_this_build() -> u64 {
    static FINGERPRINT: OnceLock<u64> = OnceLock::new();
    *FINGERPRINT.get_or_init(|| {
        executable()
            .and_then(|file| of_executable(&file))
            .unwrap_or_else(|_| RandomState::new().hash_one(env!("CARGO_PKG_VERSION")))
    })
}

/// The file that this process runs. On Linux the link leads to it even after another build has been
/// put in its place, where the path would lead to the other one.
fn executable() -> io::Result<File> {
    File::open("/proc/self/exe").or_else(|_| File::open(std::env::current_exe()?))
}

fn of_executable(file: &File) -> io::Result<u64> {
    let metadata = file.metadata()?;
    let changed = metadata.modified()?.duration_since(UNIX_EPOCH);
    let mut hash = Xxh3::new();
    hash.update(env!("CARGO_PKG_VERSION").as_bytes());
    hash.update(&[0]);
    hash.update(&changed.map_or(0, |age| age.as_nanos()).to_le_bytes());
    hash.update(&metadata.len().to_le_bytes());
    let mut page = [0; PAGE_BYTES];
    for nth in 0..PAGES {
        let at = metadata.len() / PAGES * nth;
        let read = read_page(file, &mut page, at)?;
        hash.update(&page[..read]);
    }
    Ok(hash.digest())
}

/// Reads the page at `at`, or what there is of it.
fn read_page(file: &File, page: &mut [u8; PAGE_BYTES], at: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < page.len() {
        match file.read_at(&mut page[filled..], at + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_is_one_and_the_same() {
        assert_eq!(of_this_build(), of_this_build());
        let again = of_executable(&executable().unwrap()).unwrap();
        assert_eq!(of_this_build(), again);
    }

    #[test]
    fn other_executables_differ() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("executable");
        let mut seen = std::collections::BTreeSet::new();
        for content in ["", "a", "b", "ab", &"a".repeat(300_000)] {
            std::fs::write(&path, content).unwrap();
            let file = File::options().write(true).read(true).open(&path).unwrap();
            file.set_modified(UNIX_EPOCH).unwrap();
            assert!(seen.insert(of_executable(&file).unwrap()));
            file.set_modified(UNIX_EPOCH + std::time::Duration::from_nanos(1))
                .unwrap();
            assert!(seen.insert(of_executable(&file).unwrap()));
        }
    }
}
