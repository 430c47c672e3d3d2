//! A dataflow, its input, its journal and its outputs in a folder of their own: the command lines
//! that run, resume, inspect and replay it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::harness;
use crate::model::{self, Config};
use crate::process::{self, Ended};
use crate::published::Published;
use crate::workload::{self, Knobs, Random};

/// The folder. Its dataflow is `flow.toml`, its journal `journal`.
pub(crate) struct Site(tempfile::TempDir);

/// How to run a dataflow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) workers: usize,
    /// Records in an epoch; none lets the engine choose.
    pub(crate) epoch: Option<usize>,
    /// Whether this is all the input there will be.
    pub(crate) is_final: bool,
}

impl Plan {
    /// Epochs of this many records on two workers, to the end of all input.
    pub(crate) fn to_the_end(epoch: usize) -> Plan {
        Plan {
            workers: 2,
            epoch: Some(epoch),
            is_final: true,
        }
    }

    /// One of several numbers of workers and cuts into epochs.
    pub(crate) fn random(random: &mut Random) -> Plan {
        Plan {
            workers: *random.pick(&[1, 2, 4]),
            epoch: *random.pick(&[Some(5), Some(13), Some(50), None]),
            is_final: false,
        }
    }

    /// Adds the flags that say so, but for `--final`.
    pub(crate) fn add_to(&self, command: &mut Command) {
        command.args(["-w", &self.workers.to_string()]);
        if let Some(epoch) = self.epoch {
            // The clock is turned off: epochs are to be as long as they are said to be.
            command.args(["--epoch-events", &epoch.to_string(), "--epoch-ms", "0"]);
        }
    }
}

impl Site {
    /// A folder with a dataflow of these rules over these files, which are not there yet.
    pub(crate) fn new(config: &Config, inputs: &[&str]) -> Site {
        let site = Site(tempfile::tempdir().unwrap());
        site.set_rules(config, inputs, "");
        site
    }

    /// Writes the dataflow file anew; `more` follows at its end.
    pub(crate) fn set_rules(&self, config: &Config, inputs: &[&str], more: &str) {
        let inputs: Vec<String> = inputs.iter().map(|name| name.to_string()).collect();
        self.write("flow.toml", config.toml(&inputs) + more);
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file, compressed where its name says so.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        harness::write(&self.path(name), content.as_ref());
    }

    /// Writes at the end of a file, which need not be there yet.
    pub(crate) fn append(&self, name: &str, content: &[u8]) {
        let mut options = std::fs::OpenOptions::new();
        let file = options.append(true).create(true).open(self.path(name));
        file.and_then(|mut file| file.write_all(content)).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        let path = self.path(name);
        std::fs::read(&path).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Shortens a file by this many bytes.
    pub(crate) fn cut(&self, name: &str, bytes: u64) {
        let file = std::fs::OpenOptions::new()
            .write(true)
            .open(self.path(name));
        let file = file.unwrap_or_else(|error| panic!("{name}: {error}"));
        let length = file.metadata().unwrap().len();
        file.set_len(length.saturating_sub(bytes)).unwrap();
    }

    /// A command of the binary on the dataflow file.
    pub(crate) fn command(&self, name: &str) -> Command {
        let mut command = process::amend();
        command.arg(name).arg(self.path("flow.toml"));
        command
    }

    /// A run without a journal that writes to `out`.
    pub(crate) fn plain(&self, out: &str) -> Command {
        let mut command = self.command("run");
        command.arg("--out").arg(self.path(out));
        command
    }

    /// A run under the journal that writes to `out`.
    pub(crate) fn journaled(&self, plan: Plan) -> Command {
        let mut command = self.plain("out");
        command.arg("--journal").arg(self.path("journal"));
        plan.add_to(&mut command);
        if plan.is_final {
            command.arg("--final");
        }
        command
    }

    /// Runs under the journal to the end of the input.
    #[track_caller]
    pub(crate) fn run(&self, plan: Plan) -> Ended {
        let ended = process::run(&mut self.journaled(plan));
        ended.expect_code(0);
        ended
    }

    /// What has been published under the journal.
    #[track_caller]
    pub(crate) fn published(&self) -> Published {
        Published::read(&self.path("out"))
    }

    /// What one uninterrupted run without a journal publishes for the input as it is now.
    #[track_caller]
    pub(crate) fn reference(&self) -> Published {
        let mut command = self.plain("reference");
        command.arg("--quiet");
        process::run(&mut command).expect_code(0);
        Published::read(&self.path("reference"))
    }

    /// Fails unless what has been published is what one uninterrupted run publishes.
    #[track_caller]
    pub(crate) fn check(&self, when: &str) {
        if let Err(error) = self.published().check(&self.reference()) {
            panic!("{when}: {error}");
        }
    }

    /// A command about the journal, such as `inspect`.
    pub(crate) fn journal(&self, name: &str, flags: &[&str]) -> Ended {
        let mut command = process::amend();
        command.args(["journal", name]).arg(self.path("journal"));
        process::run(command.args(flags))
    }

    /// What `amend journal inspect` says.
    #[track_caller]
    pub(crate) fn inspect(&self) -> Inspected {
        let ended = self.journal("inspect", &["--json"]);
        ended.expect_code(0);
        Inspected::read(&ended.stdout)
    }

    /// The journal's segments, oldest first.
    pub(crate) fn segments(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.path("journal")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
        let mut names: Vec<String> = names.filter(|name| name.ends_with(".seg")).collect();
        names.sort();
        names.iter().map(|name| format!("journal/{name}")).collect()
    }

    /// The bytes of every file in the folder `out`, but for the report, which has timings.
    pub(crate) fn outputs(&self) -> Vec<(&'static str, Vec<u8>)> {
        let names = ["clean.jsonl", "changes.jsonl", "dead.jsonl", "gaps.jsonl"];
        let read = |name| (name, self.read(&format!("out/{name}")));
        names.map(read).into()
    }

    /// Fails unless the files of the folder `out` are those that `outputs` gave `before`.
    #[track_caller]
    pub(crate) fn expect_outputs(&self, before: &[(&'static str, Vec<u8>)], when: &str) {
        same_files(before, &self.outputs(), when);
    }
}

/// Fails, with the first line that differs, unless files have the same bytes.
#[track_caller]
pub(crate) fn same_files(
    expected: &[(&'static str, Vec<u8>)],
    found: &[(&'static str, Vec<u8>)],
    when: &str,
) {
    for ((name, expected), (_, found)) in expected.iter().zip(found) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let same = crate::published::same_lines(name, &text(expected), &text(found));
        if let Err(error) = same {
            panic!("{when}: {error}");
        }
        assert!(expected == found, "{when}: {name} has other bytes");
    }
}

/// What is known of a journal.
#[derive(Debug)]
pub(crate) struct Inspected {
    pub(crate) records: u64,
    pub(crate) next_epoch: u64,
    /// Where reading goes on, by the partition's label.
    pub(crate) offsets: Vec<(String, u64)>,
}

impl Inspected {
    #[track_caller]
    fn read(text: &[u8]) -> Inspected {
        let shown = String::from_utf8_lossy(text);
        let json: Value = serde_json::from_slice(text)
            .unwrap_or_else(|error| panic!("amend journal inspect --json: {error}: {shown}"));
        let number = |value: &Value, name: &str| {
            let number = value[name].as_u64();
            number.unwrap_or_else(|| panic!("no number {name:?} in {shown}"))
        };
        let partitions = json["partitions"].as_array();
        let partitions = partitions.unwrap_or_else(|| panic!("no partitions in {shown}"));
        let offset = |partition: &Value| {
            let label = partition["label"].as_str().unwrap_or_default().to_owned();
            (label, number(partition, "offset"))
        };
        Inspected {
            records: number(&json, "records"),
            next_epoch: number(&json, "next_epoch"),
            offsets: partitions.iter().map(offset).collect(),
        }
    }

    /// Where stdin goes on.
    pub(crate) fn stdin_offset(&self) -> usize {
        let stdin = self.offsets.iter().find(|(label, _)| label == "stdin");
        stdin.map_or(0, |(_, offset)| *offset as usize)
    }
}

/// The contents of random files; each but the last ends with its last line, because a last line
/// without its newline waits, and what follows it in the order of the input does not.
pub(crate) fn contents(random: &mut Random, config: &Config, knobs: &Knobs) -> Vec<Vec<u8>> {
    let mut contents = workload::files(random, config, knobs);
    let last = contents.len() - 1;
    for content in &mut contents[..last] {
        if !content.ends_with(b"\n") && !content.is_empty() {
            content.push(b'\n');
        }
    }
    contents
}

/// How many records a file has.
pub(crate) fn record_count(content: &[u8]) -> u64 {
    model::records(0, content).len() as u64
}

/// Whether this process may write where permissions forbid it.
pub(crate) fn is_above_permissions(folder: &Path) -> bool {
    std::fs::File::create(folder.join("probe")).is_ok()
}
