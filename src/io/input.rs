//! The bytes of one input: a plain or compressed file, a pipe, or standard input.
//!
//! Files are read where the caller stands. Whatever may make a reader wait is read by a thread of
//! its own, so that the caller can do other work until bytes come; then the thread rings.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use super::bell::Bell;
use crate::{Error, Result};

/// Bytes that a waiting reader hands over at once.
const CHUNK_BYTES: usize = 64 << 10;
/// Chunks that may wait to be taken.
const CHUNKS_AHEAD: usize = 16;

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
    Later {
        chunks: Receiver<io::Result<Vec<u8>>>,
        rest: Vec<u8>,
        taken: usize,
        /// What rings when there is something to take.
        bell: Arc<Mutex<Bell>>,
    },
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
                Ok(Bytes::waiting_for(move || {
                    Ok(match open_file(&path, 0, progress)? {
                        Ready::Plain(file) => Box::new(file),
                        Ready::Other(reader) => reader,
                    })
                }))
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
            bytes: Bytes::waiting_for(open),
        }
    }

    /// What a reader gives, whenever it does: `open` and the reader are called in a thread of their own.
    pub fn waiting(
        label: &str,
        open: impl FnOnce() -> io::Result<Reader> + Send + 'static,
    ) -> Self {
        Input {
            label: label.to_owned(),
            bytes: Bytes::waiting_for(open),
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

    /// Rings `bell` whenever there are bytes where there were none, and at the end.
    pub(super) fn rings(&self, bell: &Bell) {
        if let Bytes::Later { bell: rung, .. } = &self.bytes {
            *rung.lock().unwrap_or_else(PoisonError::into_inner) = bell.clone();
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
            Bytes::Later {
                chunks,
                rest,
                taken,
                ..
            } => loop {
                if *taken < rest.len() {
                    let count = most.min(rest.len() - *taken);
                    buffer.extend_from_slice(&rest[*taken..*taken + count]);
                    *taken += count;
                    break Ok(Fill::Bytes(count));
                }
                match chunks.try_recv() {
                    Ok(Ok(chunk)) => (*rest, *taken) = (chunk, 0),
                    Ok(Err(error)) => break Err(error),
                    Err(TryRecvError::Empty) => break Ok(Fill::Pending),
                    Err(TryRecvError::Disconnected) => break Ok(Fill::End),
                }
            },
        };
        fill.map_err(|error| {
            Error::unavailable(format!("could not read input \"{}\"", self.label))
                .with_source(error)
        })
    }
}

impl Bytes {
    /// Opens and reads in a thread of its own, which ends with the input or when nobody takes its
    /// chunks.
    fn waiting_for(open: impl FnOnce() -> io::Result<Reader> + Send + 'static) -> Self {
        let (sender, chunks) = sync_channel(CHUNKS_AHEAD);
        let bell = Arc::new(Mutex::new(Bell::default()));
        let rung = Arc::clone(&bell);
        std::thread::spawn(move || {
            let ring = || {
                let bell = rung.lock().unwrap_or_else(PoisonError::into_inner);
                bell.ring();
            };
            let read_all = || -> io::Result<()> {
                let mut reader = open()?;
                // What comes is often little, and then its copy costs less than memory for more.
                let mut bytes = vec![0; CHUNK_BYTES];
                loop {
                    let count = read_some(&mut reader, &mut bytes)?;
                    if count == 0 || sender.send(Ok(bytes[..count].to_vec())).is_err() {
                        return Ok(());
                    }
                    ring();
                }
            };
            if let Err(error) = read_all() {
                // The receiver may be gone, and then nobody asks why reading failed.
                let _ = sender.send(Err(error));
            }
            // Without a sender the input is known to have ended.
            drop(sender);
            ring();
        });
        Bytes::Later {
            chunks,
            rest: Vec::new(),
            taken: 0,
            bell,
        }
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

/// Reads once, into the beginning of `buffer`; 0 bytes at the end.
fn read_some(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match reader.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
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
