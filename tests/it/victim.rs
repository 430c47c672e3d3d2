//! A running binary that is to be killed: what it says on standard error is read as it comes, so
//! that what it had said when it died is known; and what grows or flows while it runs.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

/// The unit in which a victim's time is measured.
const TICK: Duration = Duration::from_millis(1);

/// A run that takes longer hangs.
const LIMIT_TICKS: usize = 120_000;

/// A process and what it has said.
pub(crate) struct Victim {
    child: Child,
    lines: Receiver<String>,
    stderr: String,
}

/// How a victim ended.
#[derive(Debug)]
pub(crate) struct Death {
    /// The exit code; none after a signal.
    pub(crate) code: Option<i32>,
    /// Whether the signal that nobody can catch ended it.
    pub(crate) was_killed: bool,
    pub(crate) stderr: String,
}

impl Death {
    /// Whether the run had gone beyond the recovery of its journal.
    pub(crate) fn has_recovered(&self) -> bool {
        has_recovered(&self.stderr)
    }
}

/// A resumed run says so in a line of its own when its recovery is over.
fn has_recovered(stderr: &str) -> bool {
    stderr.lines().any(|line| line.starts_with("recovered "))
}

impl Victim {
    /// Starts a process; what it prints on standard output is not kept.
    #[track_caller]
    pub(crate) fn start(command: &mut Command) -> Victim {
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let stderr = child.stderr.take().expect("standard error is piped");
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || send_lines(stderr, &sender));
        Victim {
            child,
            lines,
            stderr: String::new(),
        }
    }

    /// Its standard input, where that was piped and nobody has taken it.
    pub(crate) fn stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Lets it live for so many milliseconds, or until it ends.
    pub(crate) fn live(&mut self, ticks: usize) {
        self.live_until(ticks, |_| false);
    }

    /// Lets it live until it has recovered its journal, or has ended; for how many milliseconds.
    #[track_caller]
    pub(crate) fn live_until_recovered(&mut self) -> usize {
        let ticks = self.live_until(LIMIT_TICKS, has_recovered);
        assert!(ticks < LIMIT_TICKS, "it recovers for ever: {}", self.stderr);
        ticks
    }

    /// Kills it, unless it has ended.
    pub(crate) fn kill(mut self) -> Death {
        let _ = self.child.kill();
        self.end()
    }

    /// Waits until it ends by itself.
    #[track_caller]
    pub(crate) fn wait(mut self) -> Death {
        let ticks = self.live_until(LIMIT_TICKS, |_| false);
        assert!(ticks < LIMIT_TICKS, "it runs for ever: {}", self.stderr);
        self.end()
    }

    /// Listens until `is_enough` of what was said, or so many milliseconds have passed, or it has
    /// ended; how many have passed.
    fn live_until(&mut self, ticks: usize, is_enough: impl Fn(&str) -> bool) -> usize {
        let mut passed = 0;
        while passed < ticks && !is_enough(&self.stderr) {
            match self.lines.recv_timeout(TICK) {
                Ok(line) => self.stderr.push_str(&line),
                Err(RecvTimeoutError::Timeout) => passed += 1,
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        passed
    }

    fn end(&mut self) -> Death {
        let status = self.child.wait().expect("a child can be waited for");
        // The reader ends with the pipe: what is still in it was said before the end.
        self.stderr.extend(self.lines.iter());
        Death {
            code: status.code(),
            was_killed: status.signal() == Some(9),
            stderr: std::mem::take(&mut self.stderr),
        }
    }
}

impl Drop for Victim {
    /// A test that fails leaves no process behind.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn send_lines(stderr: impl Read, to: &Sender<String>) {
    let mut stderr = BufReader::new(stderr);
    let mut line = Vec::new();
    while stderr
        .read_until(b'\n', &mut line)
        .is_ok_and(|read| read > 0)
    {
        if to
            .send(String::from_utf8_lossy(&line).into_owned())
            .is_err()
        {
            return;
        }
        line.clear();
    }
}

/// Writes pieces one by one, with pauses, while something else goes on.
pub(crate) struct Feeder {
    /// Dropped to stop it.
    go_on: Sender<()>,
    thread: JoinHandle<usize>,
}

/// Some bytes, and for how many milliseconds nothing follows them.
pub(crate) type Piece = (Vec<u8>, u64);

impl Feeder {
    /// Starts to write; `to` is closed after the last piece.
    pub(crate) fn start(mut to: impl Write + Send + 'static, pieces: Vec<Piece>) -> Feeder {
        let (go_on, stopped) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let mut written = 0;
            for (piece, pause) in pieces {
                // Whoever read it is gone.
                if to.write_all(&piece).and_then(|()| to.flush()).is_err() {
                    break;
                }
                written += piece.len();
                let pause = Duration::from_millis(pause);
                if stopped.recv_timeout(pause) == Err(RecvTimeoutError::Disconnected) {
                    break;
                }
            }
            written
        });
        Feeder { go_on, thread }
    }

    /// Stops it between two pieces; how many bytes were written.
    pub(crate) fn stop(self) -> usize {
        drop(self.go_on);
        self.thread.join().expect("a feeder does not panic")
    }
}

#[test]
fn a_victim_is_heard_until_it_dies() {
    let script = |text: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", text]).stdin(Stdio::piped());
        Victim::start(&mut command)
    };
    let ended = script("echo so >&2; exit 3").wait();
    assert_eq!((ended.code, ended.was_killed), (Some(3), false));
    assert_eq!((&*ended.stderr, ended.has_recovered()), ("so\n", false));

    let mut victim = script("echo recovered 3 epochs >&2; read line; echo $line >&2; read line");
    victim.live_until_recovered();
    let stdin = victim.stdin().expect("it is piped");
    let feeder = Feeder::start(stdin, vec![(b"he".into(), 1), (b"re\n".into(), 60_000)]);
    let ticks = victim.live_until(LIMIT_TICKS, |said| said.contains("here"));
    assert!(ticks < LIMIT_TICKS);
    let killed = victim.kill();
    assert_eq!(feeder.stop(), 5);
    assert_eq!((killed.code, killed.was_killed), (None, true));
    assert!(killed.has_recovered());
}
