//! Whole runs on a disk that fails: `crash_*` cuts the power at every operation of the journal's
//! storage, `full_*` lets it run full.
//!
//! The rule: whatever a crash leaves of the journal, the next run ends with the outputs, byte for
//! byte, of one run that nothing happened to and that kept no journal; and no output ever speaks of
//! an epoch that the journal does not have.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use amend::journal::{Faulty, Survivor, inspect};
use amend::repair::{Dataflow, JournalOptions, Report, RunOptions, run};
use amend::{ErrorKind, Result};
use serde_json::Value;

use crate::journaled::same_files;

/// The files that are compared, by number of sink.
const FILES: [&str; 4] = ["clean.jsonl", "changes.jsonl", "dead.jsonl", "gaps.jsonl"];

/// Records in an epoch.
const EPOCH: u64 = 5;

/// After a crash at one of so many operations the restart crashes as well.
const EVERY: u64 = 9;

/// A minute behind the watermark streams are forgotten, so bases are laid.
const HORIZON: &str = "[dedup]\nhorizon = \"60s\"\n";

/// The bytes of [`FILES`]; none where there is no file.
type Outputs = Vec<Option<Vec<u8>>>;

/// What happens to what was written to the outputs and was not synced.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Unsynced {
    Kept,
    Cut,
    Zeroed,
}

/// A dataflow, its input, and what is published for it.
struct Trial {
    folder: tempfile::TempDir,
    dataflow: Dataflow,
    workers: usize,
    expected: Vec<(&'static str, Vec<u8>)>,
}

/// A run: how it ended, and what it left.
struct Ended {
    result: Result<Report>,
    outputs: Outputs,
}

impl Trial {
    fn new(rules: &str, workers: usize) -> Trial {
        let folder = tempfile::tempdir().unwrap();
        let input = folder.path().join("a.jsonl");
        fs::write(&input, content()).unwrap();
        let text = format!(
            "name = \"case\"\n[source]\nkind = \"jsonl\"\npath = [{input:?}]\n\
             [event]\nstream = \"stream\"\n[gaps]\nmax_width = 2\n\
             [sink.changes]\nkind = \"jsonl\"\n[sink.gaps]\nkind = \"jsonl\"\n\
             [journal]\nsegment = \"4KiB\"\n{rules}"
        );
        let mut trial = Trial {
            dataflow: Dataflow::from_text(&text, &folder.path().join("flow.toml"), &[]).unwrap(),
            folder,
            workers,
            expected: Vec::new(),
        };
        let plain = trial.run(None, &vec![None; 4]);
        plain.result.unwrap();
        trial.expected = named(plain.outputs);
        trial
    }

    /// Runs to the end of the input, into a folder that holds `outputs`.
    fn run(&self, storage: Option<&Arc<Faulty>>, outputs: &Outputs) -> Ended {
        let out = self.out();
        let _ = fs::remove_dir_all(&out);
        fs::create_dir(&out).unwrap();
        for (name, bytes) in FILES.iter().zip(outputs) {
            if let Some(bytes) = bytes {
                fs::write(out.join(name), bytes).unwrap();
            }
        }
        let options = RunOptions {
            out: out.clone(),
            workers: self.workers,
            cluster: None,
            epoch_events: Some(EPOCH),
            epoch_ms: Some(0),
            progress: false,
            journal: storage.map(|storage| JournalOptions {
                storage: storage.clone(),
                name: "memory".into(),
                is_final: true,
                stdin_from_start: false,
            }),
            notice: None,
        };
        Ended {
            result: run(&self.dataflow, &options),
            outputs: read(&out),
        }
    }

    fn out(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    /// Runs on an empty storage that fails as `fault` tells it to.
    fn first(&self, fault: impl FnOnce(&Faulty)) -> (Arc<Faulty>, Ended) {
        let storage = Arc::new(Faulty::new());
        fault(&storage);
        let ended = self.run(Some(&storage), &vec![None; 4]);
        (storage, ended)
    }

    /// Fails unless a run on `storage` and `outputs` ends well, with the expected outputs.
    #[track_caller]
    fn goes_on(&self, storage: Faulty, outputs: &Outputs, when: &str) {
        let held = inspect(&storage).map(|held| {
            let checkpoint = held.checkpoint.map(|checkpoint| checkpoint.epoch);
            (held.next_epoch, checkpoint, held.base, held.end)
        });
        let when = format!("{when}; next epoch, checkpoint, base, end: {held:?}");
        let ended = self.run(Some(&Arc::new(storage)), outputs);
        if let Err(error) = ended.result {
            panic!("{when}: {}", error.to_text());
        }
        same_files(&self.expected, &named(ended.outputs), &when);
    }

    /// Crashes at every operation.
    fn crash_everywhere(&self) {
        let (clean, ended) = self.first(|_| {});
        ended.result.unwrap();
        same_files(&self.expected, &named(ended.outputs), "no crash");
        let total = clean.operations();
        assert!(inspect(&*clean).unwrap().segments.len() > 2);
        let mut crashes = 0;
        for at in 1..=total {
            let (storage, ended) = self.first(|storage| storage.crash_at(at));
            match &ended.result {
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
                    crashes += 1;
                }
                // How entries are grouped, and so how many operations there are, is up to chance.
                Ok(_) => assert!(storage.operations() < at, "operation {at} failed unnoticed"),
            }
            for survivor in survivors(at) {
                let when = format!("{} workers, operation {at}, {survivor:?}", self.workers);
                self.restart(&storage, survivor, &ended.outputs, at % EVERY == 0, &when);
            }
        }
        assert!(
            crashes * 2 > total,
            "{crashes} of {total} operations failed"
        );
    }

    /// Restarts on what is left of `storage`, with `outputs` as they were, and as a power cut may
    /// leave them; with `again`, after crashes of the restart too.
    #[track_caller]
    fn restart(
        &self,
        storage: &Faulty,
        survivor: Survivor,
        outputs: &Outputs,
        again: bool,
        when: &str,
    ) {
        let left = || storage.survivor(survivor);
        expect_known(&left(), outputs, when);
        for unsynced in [Unsynced::Kept, Unsynced::Cut, Unsynced::Zeroed] {
            if survivor != Survivor::Nothing && unsynced != Unsynced::Kept {
                continue;
            }
            let when = format!("{when}, outputs {unsynced:?}");
            self.goes_on(left(), &lose(&left(), outputs, unsynced), &when);
        }
        if !again {
            return;
        }
        for second in [1, 3, 6] {
            let storage = Arc::new(left());
            storage.crash_at(second);
            let ended = self.run(Some(&storage), outputs);
            let when = format!("{when}, then operation {second}");
            for survivor in [Survivor::Nothing, Survivor::Prefix(second)] {
                let left = storage.survivor(survivor);
                let when = format!("{when}, {survivor:?}");
                expect_known(&left, &ended.outputs, &when);
                self.goes_on(left, &ended.outputs, &when);
            }
        }
    }
}

#[test]
fn crash_at_every_operation_of_a_run() {
    for workers in [1, 2] {
        Trial::new("", workers).crash_everywhere();
    }
}

#[test]
fn crash_at_every_operation_of_a_run_that_forgets() {
    for workers in [1, 2] {
        Trial::new(HORIZON, workers).crash_everywhere();
    }
}

#[test]
fn full_disks_are_named_and_runs_go_on_when_there_is_room() {
    for (rules, workers) in [("", 2), (HORIZON, 1)] {
        let trial = Trial::new(rules, workers);
        let (clean, _) = trial.first(|_| {});
        let total: u64 = inspect(&*clean)
            .unwrap()
            .segments
            .iter()
            .map(|it| it.bytes)
            .sum();
        for room in (0..total * 4 / 5).step_by(769) {
            let (storage, ended) = trial.first(|storage| storage.full_after(room));
            let error = ended.result.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
            assert_eq!(error.kind().exit_code(), 1);
            let text = error.to_text();
            assert!(text.contains("journal \"memory\""), "{text}");
            assert!(text.contains("make room on the disk"), "{text}");
            // Nothing was lost: what follows is another process, with more room.
            let when = format!("{workers} workers, room for {room} bytes");
            let left = || storage.survivor(Survivor::All);
            expect_known(&left(), &ended.outputs, &when);
            trial.goes_on(left(), &ended.outputs, &when);
        }
    }
}

/// What a power cut may leave, another sample for each `seed`.
fn survivors(seed: u64) -> [Survivor; 4] {
    [
        Survivor::Nothing,
        Survivor::All,
        Survivor::Prefix(seed),
        Survivor::Zeroed(seed),
    ]
}

/// Fails if `outputs` speak of an epoch that `storage` does not have.
#[track_caller]
fn expect_known(storage: &Faulty, outputs: &Outputs, when: &str) {
    // Without the beginning of its first segment there is no journal.
    let next_epoch = inspect(storage).map_or(0, |report| report.next_epoch);
    for (name, bytes) in FILES.iter().zip(outputs).skip(1) {
        let text = String::from_utf8(bytes.clone().unwrap_or_default()).unwrap();
        // A worker may have written its lines while those before them were still to come.
        for line in text.split(['\0', '\n']).filter(|line| !line.is_empty()) {
            let line: Value = serde_json::from_str(line).unwrap();
            let epoch = line["epoch"].as_u64().unwrap();
            assert!(
                epoch < next_epoch,
                "{when}: {name} speaks of epoch {epoch}, the journal has {next_epoch}: {line}"
            );
        }
    }
}

/// What is left of `outputs`: what the journal says is durable stays.
fn lose(storage: &Faulty, outputs: &Outputs, unsynced: Unsynced) -> Outputs {
    let checkpoint = inspect(storage).ok().and_then(|report| report.checkpoint);
    let lengths = checkpoint.map_or([0; 4], |checkpoint| checkpoint.lengths);
    let mut outputs = outputs.clone();
    for (bytes, length) in outputs.iter_mut().zip(lengths) {
        let Some(bytes) = bytes else { continue };
        let length = (length as usize).min(bytes.len());
        match unsynced {
            Unsynced::Kept => {}
            Unsynced::Cut => bytes.truncate(length),
            Unsynced::Zeroed => bytes[length..].fill(0),
        }
    }
    outputs
}

fn read(out: &Path) -> Outputs {
    FILES
        .iter()
        .map(|name| fs::read(out.join(name)).ok())
        .collect()
}

#[track_caller]
fn named(outputs: Outputs) -> Vec<(&'static str, Vec<u8>)> {
    let bytes = outputs
        .into_iter()
        .map(|bytes| bytes.expect("all files are written"));
    FILES.into_iter().zip(bytes).collect()
}

/// Two streams with copies, conflicts, invalid events and a broken record, gaps that close, that
/// are too wide, that stay; one event comes when its stream has forgotten it.
fn content() -> String {
    let mut content = String::new();
    let mut line = |stream: &str, id: u32, valid: bool, note: &str| {
        let second = (id - 100) * 10;
        writeln!(
            content,
            "{{\"event_id\":{id},\"type\":\"Paid\",\"timestamp\":\"2025-01-01T00:{:02}:{:02}Z\",\
             \"stream\":\"{stream}\",\"valid\":{valid},\"note\":\"{note:=<340}\"}}",
            second / 60,
            second % 60,
        )
        .unwrap();
    };
    for id in 100..118 {
        match id {
            103 | 105 | 114 => {}
            107 => line("a", id, false, "invalid"),
            _ => line("a", id, true, "a"),
        }
        match id {
            104..=106 | 112 => {}
            _ => line("b", id, true, "b"),
        }
        match id {
            102 => line("a", id, true, "a"),
            106 => line("a", 103, true, "late"),
            108 => line("a", 107, true, "valid after all"),
            109 => line("b", 109, true, "conflict"),
            110 => line("b", 105, true, "splits the wide gap"),
            113 => line("b", 112, true, "late"),
            116 => line("a", 105, true, "behind the horizon"),
            117 => line("a", 117, true, "a"),
            _ => {}
        }
    }
    content + "{\"event_id\":118,\n"
}
