//! The bytes of one input: a plain or compressed file, a pipe, or standard input.
//!
//! Files are read where the caller stands. Whatever may make a reader wait is read by a thread of
//! its own, so that the caller can do other work until bytes come; then the thread rings.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::ahead::Ahead;
use super::bell::Bell;
use crate::{Error, Result};

/// What came of asking an input for bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// This many bytes were appended; never 0.
    Bytes(usize),
    /// There are none now; there may be later.
    Pending,
    /// There are no more.
    End,
}

/// An open input.
pub struct Input {
    label: String,
    bytes: Bytes,
}

/// Reads bytes; see [`Input::waiting`].
pub type Reader = Box<dyn Read + Send>;

/// Appends bytes, at most so many, where there are some; see [`Input::polled`].
pub type Supply = Box<dyn FnMut(&mut Vec<u8>, usize) -> io::Result<Fill> + Send>;

/// What is read where the caller stands.
enum Ready {
    /// A file as it is: the only reader that fills memory without clearing it first.
    Plain(Counted),
    Other(Reader),
}

enum Bytes {
    Now(Ready),
    Polled(Supply),
    Later(Ahead),
}

impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Input")
            .field("label", &self.label)
            .finish_non_exhaustive()
    }
}

impl Input {
    /// Opens the file at `path`, past the first `skip` bytes of its content; `.gz` and `.zst` are
    /// decompressed. `progress` counts the bytes read from the file. A pipe is opened only by the
    /// thread that waits for it, and nothing of it is skipped.
    ///
    /// # Errors
    /// `Unavailable` where the file cannot be opened.
    pub fn open(path: &Path, skip: u64, progress: Arc<AtomicU64>) -> Result<Self> {
        let label = path.display().to_string();
        let open = || -> io::Result<Bytes> {
            if path.metadata()?.is_file() {
                Ok(Bytes::Now(open_file(path, skip, progress)?))
            } else {
                let path = path.to_owned();
                Ok(Bytes::Later(Ahead::of(move || {
                    Ok(match open_file(&path, 0, progress)? {
                        Ready::Plain(file) => Box::new(file) as Reader,
                        Ready::Other(reader) => reader,
                    })
                })))
            }
        };
        let bytes = open().map_err(|error| {
            Error::unavailable(format!("could not open input \"{label}\"")).with_source(error)
        })?;
        Ok(Input { label, bytes })
    }

    /// Standard input, past its first `skip` bytes.
    pub fn stdin(skip: u64) -> Self {
        let open = move || -> io::Result<Reader> {
            let mut stdin = io::stdin();
            pass(&mut stdin, skip)?;
            Ok(Box::new(stdin))
        };
        Input {
            label: "stdin".to_owned(),
            bytes: Bytes::Later(Ahead::of(open)),
        }
    }

    /// What a reader gives, whenever it does: `open` and the reader are called in a thread of their own.
    pub fn waiting(
        label: &str,
        open: impl FnOnce() -> io::Result<Reader> + Send + 'static,
    ) -> Self {
        Input {
            label: label.to_owned(),
            bytes: Bytes::Later(Ahead::of(open)),
        }
    }

    /// What `supply` gives when it is asked, where the caller stands: it never waits.
    pub fn polled(label: &str, supply: Supply) -> Self {
        Input {
            label: label.to_owned(),
            bytes: Bytes::Polled(supply),
        }
    }

    /// Bytes that are there already.
    pub fn from_bytes(label: &str, content: Vec<u8>) -> Self {
        let bytes = Bytes::Now(Ready::Other(Box::new(io::Cursor::new(content))));
        Input {
            label: label.to_owned(),
            bytes,
        }
    }

    /// Rings `bell` for those who are idle when there are bytes, and for all when very many wait and
    /// at the end.
    pub(super) fn rings(&self, bell: &Bell) {
        if let Bytes::Later(ahead) = &self.bytes {
            ahead.rings(bell);
        }
    }

    /// The path, or `stdin`.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Appends at most `most` bytes to `buffer`.
    ///
    /// # Errors
    /// `Unavailable` where reading failed, a damaged compressed file included.
    pub fn fill(&mut self, buffer: &mut Vec<u8>, most: usize) -> Result<Fill> {
        let fill = match &mut self.bytes {
            Bytes::Now(Ready::Plain(file)) => {
                let fill = read_ahead(&file.inner, buffer, most);
                if let Ok(Fill::Bytes(count)) = fill {
                    file.progress.fetch_add(count as u64, Ordering::Relaxed);
                }
                fill
            }
            Bytes::Now(Ready::Other(reader)) => read_ahead(reader, buffer, most),
            Bytes::Polled(supply) => supply(buffer, most),
            Bytes::Later(ahead) => ahead.take(buffer, most),
        };
        fill.map_err(|error| {
            Error::unavailable(format!("could not read input \"{}\"", self.label))
                .with_source(error)
        })
    }
}

/// Opens a file, compressed or not, past the first `skip` bytes of its content.
fn open_file(path: &Path, skip: u64, progress: Arc<AtomicU64>) -> io::Result<Ready> {
    let mut file = File::open(path)?;
    // A compressed file of no bytes holds nothing, not half a header.
    let metadata = file.metadata()?;
    let is_empty = metadata.is_file() && metadata.len() == 0;
    let extension = path.extension().and_then(|extension| extension.to_str());
    let extension = extension.map(str::to_ascii_lowercase);
    let compressed = extension.filter(|text| !is_empty && matches!(text.as_str(), "gz" | "zst"));
    if compressed.is_none() && metadata.is_file() {
        file.seek(SeekFrom::Start(skip))?;
        progress.fetch_add(skip, Ordering::Relaxed);
    }
    let counted = Counted {
        inner: file,
        progress,
    };
    let mut reader: Reader = match compressed.as_deref() {
        Some("gz") => Box::new(flate2::read::MultiGzDecoder::new(counted)),
        Some(_) => Box::new(zstd::stream::read::Decoder::new(counted)?),
        None => return Ok(Ready::Plain(counted)),
    };
    pass(&mut reader, skip)?;
    Ok(Ready::Other(reader))
}

/// Reads `count` bytes and lets them go.
fn pass(reader: &mut impl Read, count: u64) -> io::Result<()> {
    let passed = io::copy(&mut reader.take(count), &mut io::sink())?;
    if passed == count {
        return Ok(());
    }
    let message = format!("it ends after {passed} bytes, and {count} were read of it before");
    Err(io::Error::new(io::ErrorKind::UnexpectedEof, message))
}

/// Reads `most` bytes into the end of `buffer`, fewer only at the end.
fn read_ahead(reader: impl Read, buffer: &mut Vec<u8>, most: usize) -> io::Result<Fill> {
    buffer.reserve(most);
    Ok(match reader.take(most as u64).read_to_end(buffer)? {
        0 => Fill::End,
        count => Fill::Bytes(count),
    })
}

/// A file whose reads are counted.
struct Counted {
    inner: File,
    progress: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.progress.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}
