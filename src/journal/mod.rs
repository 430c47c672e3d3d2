//! The journal: what was read, made durable before anything is made of it.
//!
//! It is the only ground truth; collections, outputs and reports are derived from it. A journal is a
//! folder of segments, a segment is a file of entries, and the entry that matters is the
//! [`Frame`]: what was read in one epoch. The bytes are in `docs/journal-format.md`.
//!
//! The one rule: a frame that was reported as synced is there after any crash, and what is found
//! after a crash was appended. What a power cut tore off is cut; any other difference is damage, and
//! an error.
//!
//! The journal knows nothing of dataflows: rules, totals and state are bytes to it.
//!
//! ```
//! use std::sync::Arc;
//! use amend::journal::{Entry, Faulty, Frame, Identity, Journal, Options, read_frames};
//!
//! let storage = Arc::new(Faulty::new()); // or `Folder::new(path)`
//! let identity = Identity { name: "orders".into(), fixed: String::new(), created_us: 0 };
//! let (journal, recovered) = Journal::open(storage.clone(), &identity, Options::default())?;
//! assert!(recovered.is_new);
//! let frame = Frame { epoch: 0, bytes: b"what was read".to_vec(), ..Frame::default() };
//! journal.append(Entry::Frame(frame.to_encoded()));
//! journal.flush()?;
//! assert_eq!(journal.synced_before(), 1);
//! journal.finish()?;
//!
//! let (_journal, recovered) = Journal::open(storage.clone(), &identity, Options::default())?;
//! let frames: Vec<Frame> = read_frames(&*storage, &recovered.frames).collect::<amend::Result<_>>()?;
//! assert_eq!(frames, [frame]);
//! # Ok::<(), amend::Error>(())
//! ```

mod bytes;
pub mod columns;
mod entry;
mod frame;
mod inspect;
mod outline;
mod reader;
mod recovery;
mod scan;
mod segment;
mod standing;
mod storage;
mod writer;

pub use entry::{BasePart, Checkpoint, Entry, Identity, Partition};
pub use frame::{EncodedFrame, Frame, FrameParts, Position, SharedBytes, Span, Stretch};
pub use inspect::{Compacted, Extent, PartitionReport, Repaired, Report, compact, inspect, repair};
pub use outline::{Outline, outline};
pub use reader::{append_frame, read_frames};
pub use recovery::{Recovered, read};
pub use scan::{Base, Cut, Damage, FrameAt, SegmentInfo};
pub use segment::{FORMAT, cache_name, cache_number, segment_name, segment_number};
pub use storage::{Faulty, Folder, Lock, Storage, Survivor};
pub use writer::{Journal, Options, Stats};
