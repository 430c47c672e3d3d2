//! Running the binary as a user does: what it printed and how it ended, within a time limit.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

/// A run that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(120);

/// How a process ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The exit code; none after a signal.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
    /// The most memory that it was seen to hold, in bytes; 0 where it was too quick to look.
    pub(crate) peak_bytes: u64,
}

impl Ended {
    /// Fails unless the process ended with `code` and without a panic.
    #[track_caller]
    pub(crate) fn expect_code(&self, code: i32) -> &Self {
        let stdout = String::from_utf8_lossy(&self.stdout);
        assert_eq!(
            self.code,
            Some(code),
            "exit code, after on stderr: {}\nand on stdout: {stdout:.4000}",
            self.stderr
        );
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        self
    }

    /// Fails unless each of `parts` was said on stderr.
    #[track_caller]
    pub(crate) fn expect_said(&self, parts: &[&str]) -> &Self {
        for part in parts {
            assert!(
                self.stderr.contains(part),
                "no {part:?} on stderr: {}",
                self.stderr
            );
        }
        self
    }
}

/// The binary, with nothing on its stdin.
pub(crate) fn amend() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_amend"));
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs `command` to its end.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> Ended {
    wait(command.spawn().expect("the binary starts"))
}

/// Waits until `child` ends by itself.
#[track_caller]
pub(crate) fn wait(mut child: Child) -> Ended {
    enum Stream {
        Stdout(Vec<u8>),
        Stderr(Vec<u8>),
    }
    let (sender, receiver) = mpsc::channel();
    let mut open = 0;
    if let Some(stdout) = child.stdout.take() {
        open += 1;
        let sender = sender.clone();
        std::thread::spawn(move || sender.send(Stream::Stdout(read(stdout))));
    }
    if let Some(stderr) = child.stderr.take() {
        open += 1;
        std::thread::spawn(move || sender.send(Stream::Stderr(read(stderr))));
    }
    assert!(
        open > 0,
        "the end of its output is how a process is known to have ended"
    );
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let tick = Duration::from_millis(10);
    let mut waited = Duration::ZERO;
    let mut peak = 0;
    while open > 0 {
        peak = peak.max(peak_bytes(&child));
        match receiver.recv_timeout(tick) {
            Ok(Stream::Stdout(text)) => stdout = text,
            Ok(Stream::Stderr(text)) => stderr = text,
            Err(RecvTimeoutError::Disconnected) => panic!("a reader of the output failed"),
            Err(RecvTimeoutError::Timeout) => {
                waited += tick;
                if waited > LIMIT {
                    let _ = child.kill();
                    let _ = child.wait();
                    panic!("still running after {LIMIT:?}");
                }
                continue;
            }
        }
        open -= 1;
    }
    let status = child.wait().expect("a child can be waited for");
    let stderr = String::from_utf8_lossy(&stderr).into_owned();
    Ended {
        code: status.code(),
        stdout,
        stderr,
        peak_bytes: peak,
    }
}

/// The most memory that a running process has held; 0 where that is not known.
pub(crate) fn peak_bytes(child: &Child) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()));
    let status = status.unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

fn read(mut from: impl Read) -> Vec<u8> {
    let mut all = Vec::new();
    let _ = from.read_to_end(&mut all);
    all
}
