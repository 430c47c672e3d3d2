//! amend keeps event streams true.
//!
//! It takes a stream with duplicates, holes, corrupt records and late arrivals, and maintains the
//! stream as it should have been. When a late event arrives, the guess that stood in its place is
//! retracted and the real event takes its seat. It is built on [timely dataflow] and
//! [differential dataflow]: the answer after every epoch equals a plain definition over all
//! records so far, however many workers there are.
//!
//! ```
//! use amend::repair::{Dataflow, Step, run_steps};
//!
//! let dataflow = Dataflow::from_text("[source]\nkind = \"stdin\"", "orders.toml".as_ref(), &[])?;
//! let event = |id| {
//!     let event = format!(r#"{{"event_id":{id},"type":"Paid","timestamp":"2025-02-09T12:00:0{id}Z"}}"#);
//!     event.into_bytes()
//! };
//! let steps = vec![
//!     Step { records: vec![event(1), event(3)], watermark: None },
//!     Step { records: vec![event(2)], watermark: None },
//! ];
//! let changes = String::from_utf8(run_steps(&dataflow, steps, 2)?.changes).expect("JSON is UTF-8");
//! // 2 was missing: an event was inferred, and is withdrawn when the real one comes.
//! let late: Vec<&str> = changes.lines().filter(|line| line.contains("\"epoch\":1")).collect();
//! assert!(late[0].contains(r#""op":"retract","origin":"reconstructed","event":{"event_id":2"#));
//! assert!(late[1].contains(r#""op":"insert","origin":"observed","event":{"event_id":2"#));
//! # Ok::<(), amend::Error>(())
//! ```
//!
//! Pipelines are written against [`prelude`]: Beam's collections, windows, triggers and panes, whose
//! answers correct themselves. See [`run`] and the examples in `dataflows/`.
//!
//! Reading order: [`time`] and [`error`], [`event`] (bytes to events and back), [`windowing`]
//! (windows, triggers, panes), [`operators`] (sequences, copies and gaps as dataflow operators),
//! [`io`] (inputs, epochs, outputs), [`journal`] (what was read, made durable), [`pipeline`], [`pcollection`] and [`transforms`] (pipelines),
//! [`repair`] (the rules of a dataflow file, wired to the operators), [`runtime`] (running workers),
//! [`testing`] (scenario files, scripted streams, assertions, workloads), [`mod@bench`] (how fast it is) and [`cli`].
//!
//! [timely dataflow]: https://docs.rs/timely
//! [differential dataflow]: https://docs.rs/differential-dataflow

pub mod bench;
pub mod cli;
pub mod error;
pub mod event;
pub mod io;
pub mod journal;
pub mod operators;
pub mod pcollection;
pub mod pipeline;
pub mod prelude;
pub mod repair;
mod room;
pub mod runtime;
pub mod testing;
pub mod time;
pub mod transforms;
pub mod windowing;

pub use error::{Error, ErrorKind};
pub use runtime::job::{JobReport, Options, run};
pub use time::{Epoch, EventTime};

/// The result of everything that can stop a run.
pub type Result<T> = std::result::Result<T, Error>;

#[doc = include_str!("../README.md")]
#[cfg(doctest)]
pub struct ReadmeDoctests;

#[doc = include_str!("../docs/coming-from-beam.md")]
#[cfg(doctest)]
pub struct ComingFromBeamDoctests;
