//! One run of a program: how long it took, and how much memory of its own.

use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

/// What one run took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) seconds: f64,
    /// Of all its threads, in the program and in the system for it.
    pub(crate) cpu_seconds: f64,
    /// The most that was seen of memory that is no file's.
    pub(crate) anonymous_mib: f64,
}

/// Runs `command` to its end, which must be a good one.
pub(crate) fn run(command: &mut Command) -> Result<Sample> {
    let cpu_before = cpu_seconds_of_children()?;
    let begun = Instant::now();
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
    let mut child = child.with_context(|| format!("could not start {command:?}"))?;
    let process = child.id();
    let (done, is_done) = channel::<()>();
    let watch = std::thread::spawn(move || {
        let mut peak_kib = 0;
        loop {
            // A process that has just ended has no figure any more.
            peak_kib = peak_kib.max(anonymous_kib(process).unwrap_or(0));
            if is_done.recv_timeout(Duration::from_millis(10)) != Err(RecvTimeoutError::Timeout) {
                return peak_kib;
            }
        }
    });
    let status = child.wait()?;
    let seconds = begun.elapsed().as_secs_f64();
    drop(done);
    let peak_kib = watch.join().expect("the watch does not panic");
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(Sample {
        seconds,
        cpu_seconds: cpu_seconds_of_children()? - cpu_before,
        anonymous_mib: peak_kib as f64 / 1024.0,
    })
}

fn anonymous_kib(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("RssAnon:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// Of those that have ended: as they run one after the other, the difference is one run's.
fn cpu_seconds_of_children() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(micros as f64 / 1e6)
}
