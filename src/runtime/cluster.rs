//! Runs on several processes: they stand or fall together.
//!
//! No process can go on without the others, and timely has no way to tell them that one has
//! failed. So a process that fails leaves at once, and the others, whose connection to it breaks,
//! leave too. The input is bounded and can be read again.

use std::io::Write;
use std::panic;

use crate::Error;

/// Ends this process with exit code 1 when the connection to another one breaks.
pub fn leave_when_others_do() {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        // timely's threads that send and receive have no other way to say that they cannot go on.
        let is_connection = std::thread::current().name().is_some_and(|name| {
            name.starts_with("timely:send-") || name.starts_with("timely:recv-")
        });
        if is_connection {
            let lost = Error::unavailable("lost the connection to another process of this run");
            leave(&lost.with_hint("see what it said, then start all processes again"));
        }
        usual(info);
    }));
}

/// Ends this process because of `error`, without waiting for the others.
pub fn leave(error: &Error) -> ! {
    let text = format!("error: {}\n", error.to_text());
    // There is nobody left to tell that standard error does not take this.
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
    std::process::exit(error.kind().exit_code().into())
}
