//! amend: event repair and dataflow on timely and differential dataflow.
pub mod cli;
pub mod error;
pub mod event;
pub mod io;
pub mod operators;
pub mod repair;
pub mod runtime;
pub mod testing;
pub mod time;

pub use error::{Error, ErrorKind};
pub use time::{Epoch, EventTime};

/// The result of everything that can stop a run.
pub type Result<T> = std::result::Result<T, Error>;
