//! History run again: the journal of a run, replayed, publishes what the run has published, byte
//! for byte and epoch by epoch, whatever befell the run; and says what other rules would change.

use std::process::Command;

use serde_json::Value;

use crate::journaled::{self, Plan, Site, same_files};
use crate::model::{Config, Fill, Keep, StreamField};
use crate::process;
use crate::published::Published;
use crate::victim::Victim;
use crate::workload::{self, Knobs, Random};

const FILES: [&str; 2] = ["a.jsonl.gz", "b.jsonl"];

fn streams() -> Config {
    Config {
        stream: StreamField::One("stream".into()),
        ..Config::default()
    }
}

/// A site with two random files that nobody has read.
fn site(config: &Config, seed: u64, events: usize) -> Site {
    let knobs = Knobs {
        events,
        streams: 4,
        late: 20,
        ..Knobs::default()
    };
    let site = Site::new(config, &FILES);
    let contents = journaled::contents(&mut Random::new(seed), config, &knobs);
    for (name, content) in FILES.iter().zip(contents) {
        site.write(name, content);
    }
    site
}

/// A replay of the journal that writes to `replayed`.
fn replay(site: &Site) -> Command {
    let mut command = site.command("replay");
    command.arg("--journal").arg(site.path("journal"));
    command.arg("--out").arg(site.path("replayed"));
    command
}

/// The files that a replay has written.
fn replayed(site: &Site) -> Vec<(&'static str, Vec<u8>)> {
    let names = ["clean.jsonl", "changes.jsonl", "dead.jsonl", "gaps.jsonl"];
    let read = |name| (name, site.read(&format!("replayed/{name}")));
    names.map(read).into()
}

/// Replays the journal on several numbers of workers, and compares every file with the run's.
#[track_caller]
fn check(site: &Site, when: &str) {
    let before = site.outputs();
    let segments = |site: &Site| -> Vec<Vec<u8>> {
        let names = site.segments();
        names.iter().map(|name| site.read(name)).collect()
    };
    let journal = segments(site);
    for workers in ["1", "4", "2"] {
        process::run(replay(site).args(["-w", workers])).expect_code(0);
        let when = format!("replayed on {workers} workers: {when}");
        same_files(&before, &replayed(site), &when);
        let published = Published::read(&site.path("replayed"));
        assert_eq!(published.check(&site.published()), Ok(()), "{when}");
    }
    site.expect_outputs(&before, "a replay leaves the run's outputs alone");
    assert!(
        journal == segments(site),
        "a replay leaves the journal alone"
    );
}

#[test]
fn a_replay_publishes_what_the_run_has_published() {
    let rules = |seed: u64| match seed % 4 {
        0 => streams(),
        1 => Config {
            keep: Keep::Last,
            ..streams()
        },
        2 => Config {
            grace_ms: 30_000,
            ..streams()
        },
        _ => Config {
            key: Some(vec!["uuid".into()]),
            fill: Fill::LowerNeighbour,
            ..streams()
        },
    };
    for seed in workload::seeds(8) {
        let mut random = Random::new(seed);
        let site = site(&rules(seed), seed, 300);
        let plan = Plan {
            is_final: true,
            ..Plan::random(&mut random)
        };
        site.run(plan);
        check(&site, &format!("{plan:?}, AMEND_SEED={seed}"));
    }
}

#[test]
fn a_replay_publishes_what_a_run_that_was_killed_has_published() {
    for seed in workload::seeds(3) {
        let mut random = Random::new(seed);
        let site = site(&streams(), seed, 1500);
        for _ in 0..5 {
            let plan = Plan {
                epoch: Some(*random.pick(&[5, 13, 20])),
                ..Plan::random(&mut random)
            };
            let mut victim = Victim::start(&mut site.journaled(plan));
            victim.live(random.below(200));
            victim.kill();
        }
        site.run(Plan::to_the_end(50));
        site.check(&format!("after kills, AMEND_SEED={seed}"));
        check(&site, &format!("after kills, AMEND_SEED={seed}"));
    }
}

#[test]
fn a_replay_knows_no_end_but_the_last() {
    let config = Config {
        grace_ms: 30_000,
        ..streams()
    };
    let site = site(&config, 1, 300);
    for seed in 2..4 {
        site.run(Plan {
            is_final: false,
            ..Plan::to_the_end(13)
        });
        let knobs = Knobs {
            files: 1,
            ..Knobs::default()
        };
        let more = journaled::contents(&mut Random::new(seed), &config, &knobs).remove(0);
        site.append(FILES[1], b"\n");
        site.append(FILES[1], &more);
    }
    site.run(Plan::to_the_end(13));
    check(&site, "after several ends");
}

#[test]
fn files_are_replayed_as_they_are_read() {
    let site = site(&streams(), 4, 300);
    let mut command = site.command("replay");
    for name in FILES {
        command.arg("--input").arg(site.path(name));
    }
    command.arg("--out").arg(site.path("replayed"));
    process::run(command.args(["--speed", "max"])).expect_code(0);
    let replayed = Published::read(&site.path("replayed"));
    assert_eq!(replayed.check(&site.reference()), Ok(()));
}

/// The lines of a changelog whose epochs are within `from` and `to`, both included.
fn within(text: &[u8], from: u64, to: u64) -> Vec<u8> {
    let lines = text.split_inclusive(|&byte| byte == b'\n');
    let is_within = |line: &&[u8]| {
        let json: Value = serde_json::from_slice(line).unwrap();
        (from..=to).contains(&json["epoch"].as_u64().unwrap())
    };
    lines.filter(is_within).flatten().copied().collect()
}

/// A part of history is published as the run has published it: what lies before it is known, and
/// not published again.
#[test]
fn a_part_of_history_is_what_the_run_published_then() {
    let site = site(&streams(), 5, 300);
    site.run(Plan::to_the_end(10));
    let last = site.inspect().next_epoch - 1;
    assert!(last > 20, "{last}");
    let part = |flags: &[&str], from: u64, to: u64| {
        process::run(replay(&site).args(flags)).expect_code(0);
        for name in ["changes.jsonl", "dead.jsonl", "gaps.jsonl"] {
            let expected = within(&site.read(&format!("out/{name}")), from, to);
            let found = site.read(&format!("replayed/{name}"));
            same_files(&[(name, expected)], &[(name, found)], &flags.join(" "));
        }
    };
    part(&["--to", "9"], 0, 9);
    part(&["--from", "9"], 9, u64::MAX);
    part(&["--from", "6", "--to", "15"], 6, 15);
    part(&["--from", "0", "--to", "0"], 0, 0);
    process::run(replay(&site).args(["--from", "9", "--to", "3"])).expect_code(2);
    process::run(replay(&site).args(["--speed", "fast"])).expect_code(2);
}

#[test]
fn what_other_rules_would_change_is_shown() {
    let site = site(&streams(), 6, 300);
    site.run(Plan::to_the_end(20));
    let before = site.outputs();
    let said = || {
        let mut command = replay(&site);
        command.arg("--diff").arg(site.path("out"));
        let ended = process::run(&mut command);
        ended.expect_code(0);
        site.expect_outputs(&before, "what is compared stays as it was");
        String::from_utf8(ended.stdout).unwrap()
    };
    let nothing = "nothing would be published differently";
    let same = said();
    assert!(same.contains(nothing), "{same}");

    let changed = |config: Config, part: &str| {
        site.set_rules(&config, &FILES, "");
        let said = said();
        assert!(!said.contains(nothing), "{said}");
        assert!(said.contains(part), "no {part:?} in {said}");
        // What it would be is what one run under these rules publishes.
        let replayed = Published::read(&site.path("replayed"));
        assert_eq!(replayed.check(&site.reference()), Ok(()));
    };
    let reconstruct = false;
    let without = Config {
        reconstruct,
        ..streams()
    };
    changed(without, "no longer inferred");
    let keep = Keep::Last;
    changed(Config { keep, ..streams() }, "conflict");
    let fill = Fill::Fixed("Unknown".into());
    changed(Config { fill, ..streams() }, "Unknown");
}

/// Nine events, a second apart, and a line that is no event.
fn nine() -> Site {
    let site = Site::new(&streams(), &["a.jsonl"]);
    let event = |second: u32| {
        format!(
            "{{\"event_id\":{second},\"type\":\"Sale\",\"stream\":\"s\",\
             \"timestamp\":\"2026-05-20T12:00:0{second}Z\"}}\n"
        )
    };
    let before: String = (1..=6).map(event).collect();
    let after: String = (7..=9).map(event).collect();
    site.write("a.jsonl", before + "no event\n" + &after);
    site
}

/// What was published and set aside: the ids, and the lines on which the dead letters stand.
fn ids_and_dead_lines(site: &Site) -> (Vec<u64>, Vec<u64>) {
    let numbers = |name: &str, pointer: &str| {
        let text = String::from_utf8(site.read(name)).unwrap();
        let number = |line: &str| {
            let json: Value = serde_json::from_str(line).unwrap();
            json.pointer(pointer).and_then(Value::as_u64).unwrap()
        };
        text.lines().map(number).collect()
    };
    (
        numbers("replayed/clean.jsonl", "/event_id"),
        numbers("replayed/dead.jsonl", "/source/line"),
    )
}

#[test]
fn what_happened_outside_is_left_out() {
    let site = nine();
    site.run(Plan::to_the_end(2));
    let time = |second: u32| format!("2026-05-20T12:00:0{second}Z");
    let check = |flags: &[&str], ids: &[u64], dead: &[u64]| {
        let expected = (ids.to_vec(), dead.to_vec());
        process::run(replay(&site).args(flags)).expect_code(0);
        assert_eq!(ids_and_dead_lines(&site), expected, "journal, {flags:?}");
        let mut files = site.command("replay");
        files.arg("--out").arg(site.path("replayed"));
        process::run(files.args(["--epoch-events", "2"]).args(flags)).expect_code(0);
        assert_eq!(ids_and_dead_lines(&site), expected, "files, {flags:?}");
    };
    check(&["--from", &time(3), "--to", &time(5)], &[3, 4, 5], &[7]);
    check(&["--from", &time(8)], &[8, 9], &[7]);
    check(&["--to", "2026-05-20 14:00:02+02:00"], &[1, 2], &[7]);
    // Epochs of two records each; what is no event belongs to its epoch.
    check(&["--from", &time(2), "--to", "2"], &[2, 3, 4, 5, 6], &[]);
    check(&["--from", "3", "--to", &time(8)], &[7, 8], &[7]);
    // Gaps are those of the records that are left.
    check(&["--from", "2030-01-01T00:00:00Z"], &[], &[7]);
}

#[test]
fn epochs_of_files_are_left_out_as_those_of_a_journal() {
    let site = site(&streams(), 7, 200);
    site.run(Plan::to_the_end(10));
    let text = String::from_utf8(site.read("out/changes.jsonl")).unwrap();
    let epochs = text.lines().map(|line| {
        let json: Value = serde_json::from_str(line).unwrap();
        json["epoch"].as_u64().unwrap()
    });
    let last = epochs.max().unwrap();
    assert!(last > 5, "{last}");
    for (from, to) in [(0, 2), (3, 4), (last - 1, last + 9), (last + 1, last + 9)] {
        let window = [from, to].map(|epoch| epoch.to_string());
        let flags = ["--from", &window[0], "--to", &window[1], "-w", "2"];
        process::run(replay(&site).args(flags)).expect_code(0);
        let from_journal = replayed(&site);
        let mut files = site.command("replay");
        files.arg("--out").arg(site.path("replayed"));
        process::run(files.args(["--epoch-events", "10"]).args(flags)).expect_code(0);
        same_files(&from_journal, &replayed(&site), &flags.join(" "));
        let expected = within(text.as_bytes(), from, to);
        let found = site.read("replayed/changes.jsonl");
        same_files(
            &[("changes.jsonl", expected)],
            &[("changes.jsonl", found)],
            &flags.join(" "),
        );
    }
}

#[test]
fn how_fast_it_goes_changes_nothing() {
    let site = nine();
    site.run(Plan::to_the_end(2));
    let elapsed = |speed: &str| {
        for workers in ["1", "2"] {
            process::run(replay(&site).args(["--speed", speed, "-w", workers])).expect_code(0);
            same_files(&site.outputs(), &replayed(&site), speed);
        }
        let report: Value = serde_json::from_slice(&site.read("replayed/report.json")).unwrap();
        report["elapsed_s"].as_f64().unwrap()
    };
    elapsed("1000000x");
    // From the first epoch, which has the events of two seconds, it is seven seconds to the last.
    let seconds = elapsed("20x");
    assert!(seconds >= 0.35, "{seconds}");
}

#[test]
fn what_makes_no_sense_is_refused() {
    let site = nine();
    site.run(Plan::to_the_end(2));
    let refused = |flags: &[&str], code: i32, said: &str| {
        process::run(replay(&site).args(flags))
            .expect_code(code)
            .expect_said(&[said]);
        assert!(!site.path("replayed").exists(), "{flags:?}");
    };
    let input = site.path("a.jsonl").display().to_string();
    refused(&["--input", &input], 2, "both say what to replay");
    refused(&["--epoch-events", "5"], 2, "in its own epochs");
    refused(&["--epoch-ms", "5"], 2, "in its own epochs");
    refused(&["--from", "noon"], 2, "the number of an epoch, or a time");
    refused(&["--speed", "0x"], 2, "give max");
    refused(
        &[
            "--from",
            "2026-05-20T12:00:03Z",
            "--to",
            "2026-05-20T12:00:02Z",
        ],
        2,
        "--from comes before --to",
    );
    let nowhere = site.path("nowhere").display().to_string();
    refused(&["--diff", &nowhere], 2, "has no clean.jsonl");
    refused(&["--set", "name=other"], 2, "a journal of its own");
    refused(&["--set", "event.id=number"], 2, "fixed for its life");

    let mut same = site.command("replay");
    same.arg("--out").arg(site.path("out"));
    same.arg("--against").arg(site.path("out/../out"));
    let before = site.outputs();
    process::run(&mut same)
        .expect_code(2)
        .expect_said(&["the folder that the replay writes to"]);
    site.expect_outputs(&before, "a refused replay writes nothing");
    let mut missing = site.command("replay");
    missing.arg("--journal").arg(site.path("nowhere"));
    process::run(&mut missing).expect_code(2);
    assert!(!site.path("nowhere").exists());

    let segment = site.segments().remove(0);
    let mut bytes = site.read(&segment);
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    site.write(&segment, &bytes);
    refused(&[], 3, "journal damaged");
}

#[test]
fn a_torn_end_is_not_read_and_stays() {
    let site = nine();
    site.run(Plan::to_the_end(2));
    let segment = site.segments().remove(0);
    let whole = site.read(&segment);
    site.cut(&segment, whole.len() as u64 / 4);
    let torn = site.read(&segment);
    process::run(&mut replay(&site)).expect_code(0);
    assert!(site.read(&segment) == torn, "a replay cuts nothing");
    let text = site.read("out/changes.jsonl");
    assert!(text.starts_with(&site.read("replayed/changes.jsonl")));
}
