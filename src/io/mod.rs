//! The only code that reads and writes files and pipes.
//!
//! - [`input`]: the bytes of one input, whatever it is: a file, a compressed file, a pipe; `ahead`:
//!   read by a thread of its own, where it may wait.
//! - [`cutter`]: lines of all inputs, in their one order, cut into epochs; [`shared_cutter`]: dealt
//!   to workers as [`part`]s; [`keeper`]: what keeps epochs, for another run to go on from; [`gate`]:
//!   which of them go through, and when.
//! - [`bell`]: how workers that wait hear of what came.
//! - [`output`]: lines that many workers write into one file, each at its place.
//! - [`attic`]: records that may still be needed, kept on disk.
//! - [`source`]: what pipelines read from; [`memory`], [`json_lines`]: the sources there are.
//! - [`dead_letter`]: elements set aside.

mod ahead;
pub mod attic;
pub mod bell;
pub mod cutter;
pub mod dead_letter;
pub mod gate;
pub mod input;
pub mod json_lines;
pub mod keeper;
pub mod memory;
pub mod output;
pub mod part;
pub mod shared_cutter;
pub mod source;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// What `mutex` guards, whoever has panicked while holding it: that stops the run anyway.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
