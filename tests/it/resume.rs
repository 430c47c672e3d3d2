//! Runs that go on from a journal: with more input, with nothing new, under other rules, and with
//! a journal, an input or an output that is not as it was left.
//!
//! What stands in the end is compared with one run over all input without a journal.

use std::ffi::OsString;
use std::path::Path;
use std::process::Stdio;

use crate::journaled::{self, Plan, Site};
use crate::model::{Config, Fill, Keep, StreamField};
use crate::process::{self, Ended};
use crate::published::Published;
use crate::victim::Victim;
use crate::workload::{self, Knobs, Random};

const FILE: &str = "a.jsonl";

fn streams() -> Config {
    Config {
        stream: StreamField::One("stream".into()),
        ..Config::default()
    }
}

fn grace() -> Config {
    Config {
        grace_ms: 30_000,
        ..streams()
    }
}

fn keep_last() -> Config {
    Config {
        keep: Keep::Last,
        ..streams()
    }
}

/// The content of a random file whose last line is whole.
fn content(seed: u64, events: usize) -> Vec<u8> {
    let knobs = Knobs {
        events,
        streams: 4,
        files: 1,
        lost: 15,
        late: 20,
        ..Knobs::default()
    };
    let mut content = journaled::contents(&mut Random::new(seed), &streams(), &knobs).remove(0);
    content.push(b'\n');
    content
}

/// A site with one file.
fn site(config: &Config, content: impl AsRef<[u8]>) -> Site {
    let site = Site::new(config, &[FILE]);
    site.write(FILE, content);
    site
}

/// A site with one file that has been read to its end, in epochs of seven records.
#[track_caller]
fn site_after_a_run(config: &Config, content: impl AsRef<[u8]>) -> Site {
    let site = site(config, content);
    site.run(Plan::to_the_end(7));
    site.check("the first run");
    site
}

/// Where lines of `content` end: random places in ascending order, and the end.
fn cuts(random: &mut Random, content: &[u8], count: usize) -> Vec<usize> {
    let ends = content.iter().enumerate();
    let ends = ends.filter(|(_, byte)| **byte == b'\n');
    let ends: Vec<usize> = ends.map(|(at, _)| at + 1).collect();
    let mut cuts: Vec<usize> = (0..count).map(|_| *random.pick(&ends)).collect();
    cuts.push(content.len());
    cuts.sort_unstable();
    cuts
}

fn event(id: i64, second: u32) -> String {
    format!(
        "{{\"event_id\":{id},\"type\":\"A\",\"timestamp\":\"2025-01-01T00:00:{second:02}Z\",\"valid\":true}}\n"
    )
}

/// Runs, and fails unless that ends with `code`, says each of `parts` and changes no output.
#[track_caller]
fn refused(site: &Site, code: i32, parts: &[&str]) -> Ended {
    let before = site.outputs();
    let ended = process::run(&mut site.journaled(Plan::to_the_end(7)));
    ended.expect_code(code).expect_said(parts);
    site.expect_outputs(&before, "a run that is refused");
    ended
}

/// Every resume ends as one run over the input so far, under the same or another number of workers
/// and cut into epochs.
#[test]
fn more_input_after_an_end_is_as_if_there_had_been_no_end() {
    for seed in workload::seeds(3) {
        for config in [streams(), grace(), keep_last()] {
            let mut random = Random::new(seed);
            let content = content(seed, 400);
            let site = Site::new(&config, &[FILE]);
            let mut from = 0;
            for to in cuts(&mut random, &content, 4) {
                site.append(FILE, &content[from..to]);
                from = to;
                let plan = Plan {
                    is_final: random.percent(30),
                    ..Plan::random(&mut random)
                };
                site.run(plan);
                site.check(&format!("{config:?}, {plan:?}, AMEND_SEED={seed}"));
            }
        }
    }
}

#[test]
fn what_was_written_only_because_the_input_ended_is_cut_off() {
    let config = Config {
        grace_ms: 3_600_000,
        ..Config::default()
    };
    let site = site(&config, event(1, 1) + &event(3, 3));
    site.run(Plan::to_the_end(1));
    let first = site.published();
    assert_eq!(first.clean.lines().count(), 3, "{}", first.clean);
    assert!(first.clean.contains("reconstructed"), "{}", first.clean);
    // The gap was never due, so nobody is told that it closed.
    let late = event(2, 2);
    site.append(FILE, late.as_bytes());
    site.run(Plan::to_the_end(1));
    let second = site.published();
    assert_eq!(second.clean, event(1, 1) + &event(3, 3) + &late);
    for (name, text) in site.outputs() {
        let text = String::from_utf8_lossy(&text).into_owned();
        let is_silent = !text.contains("reconstructed") && !text.contains("retract");
        assert!(is_silent, "{name}: {text}");
        assert!(name != "gaps.jsonl" || text.is_empty(), "{text}");
    }
}

#[test]
fn nothing_new_changes_nothing() {
    for config in [streams(), grace(), keep_last()] {
        let site = site_after_a_run(&config, content(1, 300));
        let (before, published) = (site.outputs(), site.published());
        for workers in [1, 4, 2] {
            let plan = Plan {
                workers,
                ..Plan::to_the_end(50)
            };
            site.run(plan).expect_said(&["recovered "]);
            site.expect_outputs(&before, &format!("{plan:?}"));
            assert_eq!(site.published().check(&published), Ok(()));
        }
    }
}

#[test]
fn a_journal_of_another_dataflow_is_refused() {
    let site = site_after_a_run(&streams(), content(2, 60));
    let flow = String::from_utf8(site.read("flow.toml")).unwrap();
    let other = flow.replace("name = \"case\"", "name = \"another\"");
    assert_ne!(flow, other);
    site.write("flow.toml", other);
    refused(&site, 2, &["case", "another"]);
}

#[test]
fn changed_fields_and_keys_are_refused() {
    let site = site_after_a_run(&streams(), content(3, 60));
    let changed = |config: Config, parts: &[&str]| {
        site.set_rules(&config, &[FILE], "");
        refused(&site, 2, parts);
    };
    let kind = "species".into();
    changed(Config { kind, ..streams() }, &["species"]);
    let id_text = true;
    changed(
        Config {
            id_text,
            ..streams()
        },
        &["id_text"],
    );
    let key = Some(vec!["event_id".into(), "uuid".into()]);
    changed(Config { key, ..streams() }, &["key", "uuid"]);
    // As it was it is taken.
    site.set_rules(&streams(), &[FILE], "");
    site.run(Plan::to_the_end(7));
    site.check("the rules that it had");
}

#[test]
fn a_second_writer_is_refused_and_the_first_goes_on() {
    let config = Config::default();
    let site = site(&config, "");
    let piped = || {
        let mut command = site.journaled(Plan::to_the_end(1));
        command.args(["--input", "-"]).stdin(Stdio::piped());
        command
    };
    let mut first = Victim::start(&mut piped());
    let mut stdin = first.stdin().unwrap();
    let mut write = |text: &str| {
        use std::io::Write;
        stdin.write_all(text.as_bytes()).unwrap();
        stdin.flush().unwrap();
    };
    for id in 1..20 {
        write(&event(id, id as u32));
    }
    // It has the journal once it has journaled something.
    for _ in 0..1000 {
        let is_there = site.path("journal").exists() && !site.segments().is_empty();
        if is_there && site.inspect().next_epoch > 0 {
            break;
        }
        first.live(10);
    }
    let second = process::run(piped().stdin(Stdio::null()));
    second.expect_code(1);
    let pid = first.id().to_string();
    second.expect_said(&["lock", &pid]);
    for id in 21..40 {
        write(&event(id, id as u32));
    }
    drop(stdin);
    let ended = first.wait();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let read: String = (1..20)
        .chain(21..40)
        .map(|id| event(id, id as u32))
        .collect();
    site.write(FILE, read);
    // The published events alone: the letters would name another partition.
    assert_eq!(site.published().clean, site.reference().clean);
}

#[test]
fn an_input_that_is_not_what_it_was_is_refused() {
    let content = content(4, 100);
    let site = site_after_a_run(&streams(), &content);
    site.write(FILE, &content[..content.len() / 2]);
    refused(&site, 2, &[FILE]);
    let other: String = (0..1000).map(|id| event(id, 1)).collect();
    assert!(other.len() > content.len());
    site.write(FILE, other);
    refused(&site, 2, &[FILE]);
    site.write(FILE, &content);
    site.run(Plan::to_the_end(7));
    site.check("the input that it had");
}

#[test]
fn what_was_read_to_the_end_of_an_epoch_is_still_looked_at() {
    // With a blank line behind each.
    let event = |id: i64| event(id, id as u32 % 60) + "\n";
    let lines = |ids: std::ops::Range<i64>| ids.map(event).collect::<String>();
    for (name, shorter) in [
        ("a.jsonl", false),
        ("a.jsonl.gz", false),
        ("a.jsonl.gz", true),
    ] {
        let site = Site::new(&Config::default(), &[name, "b.jsonl"]);
        site.write(name, lines(10..20));
        site.write("b.jsonl", lines(20..25));
        // The first epoch ends where the first file does.
        let journaled = |inputs: &[&str]| {
            site.set_rules(&Config::default(), inputs, "");
            let plan = Plan {
                is_final: false,
                ..Plan::to_the_end(10)
            };
            process::run(&mut site.journaled(plan))
        };
        let inputs: &[&str] = match name {
            // The end of the last input is not the end of its file.
            "a.jsonl.gz" => &["a.jsonl.gz"],
            _ => &["a.jsonl", "b.jsonl"],
        };
        journaled(inputs).expect_code(0);
        let other = if shorter { 50..55 } else { 50..60 };
        site.write(name, lines(other));
        site.append("b.jsonl", lines(25..26).as_bytes());
        let ended = journaled(inputs);
        ended.expect_code(2);
        ended.expect_said(&[name, "replaced"]);
    }
}

#[test]
fn outputs_that_are_gone_or_cut_are_rebuilt() {
    for config in [streams(), grace(), keep_last()] {
        let site = site_after_a_run(&config, content(5, 200));
        let before = site.outputs();
        let resume = |when: &str| {
            site.run(Plan::to_the_end(50));
            site.expect_outputs(&before, when);
        };
        for (name, bytes) in &before {
            let path = format!("out/{name}");
            std::fs::remove_file(site.path(&path)).unwrap();
            resume(&format!("without {name}"));
            site.cut(&path, bytes.len() as u64 / 2 + 1);
            resume(&format!("with half of {name}"));
            site.append(&path, b"{\"epoch\":999999,\"half\":");
            resume(&format!("with more than was committed in {name}"));
        }
        std::fs::remove_dir_all(site.path("out")).unwrap();
        resume("without its folder");
    }
}

/// The lines of `changes.jsonl` that `after` has beyond what it shares with `before`.
fn beyond<'a>(before: &[u8], after: &'a [u8]) -> Vec<&'a [u8]> {
    let old: Vec<&[u8]> = before.split_inclusive(|&byte| byte == b'\n').collect();
    let new: Vec<&[u8]> = after.split_inclusive(|&byte| byte == b'\n').collect();
    let same = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    new[same..].to_vec()
}

/// The epochs that lines of a changelog name.
fn epochs(lines: &[&[u8]]) -> std::collections::BTreeSet<u64> {
    let epoch = |line: &&[u8]| {
        let json: serde_json::Value = serde_json::from_slice(line).unwrap();
        json["epoch"].as_u64().unwrap()
    };
    lines.iter().map(epoch).collect()
}

#[test]
fn changed_rules_are_taken_up_in_one_epoch() {
    let content = content(6, 400);
    let half = cuts(&mut Random::new(6), &content, 1)[0];
    let to = |fill: Fill| Config { fill, ..streams() };
    let cases = [
        (
            "the type of inferred events",
            streams(),
            to(Fill::LowerNeighbour),
        ),
        ("a fixed type", streams(), to(Fill::Fixed("Unknown".into()))),
        ("the copy that is kept", streams(), keep_last()),
        ("the copy that was kept", keep_last(), streams()),
        (
            "the width of gaps",
            streams(),
            Config {
                max_width: 1,
                ..streams()
            },
        ),
        (
            "no reconstruction",
            streams(),
            Config {
                reconstruct: false,
                ..streams()
            },
        ),
        (
            "reconstruction",
            Config {
                reconstruct: false,
                ..streams()
            },
            streams(),
        ),
        ("a grace", streams(), grace()),
        ("no grace", grace(), streams()),
    ];
    for (what, old, new) in cases {
        let site = site_after_a_run(&old, &content[..half]);
        let before = site.read("out/changes.jsonl");
        site.set_rules(&new, &[FILE], "");
        site.run(Plan::to_the_end(7));
        site.check(what);
        let after = site.read("out/changes.jsonl");
        let amended = epochs(&beyond(&before, &after));
        // Under a grace, what the end of the input makes due is decided after the amendments.
        let most = if new.grace_ms + old.grace_ms > 0 {
            2
        } else {
            1
        };
        assert!(amended.len() <= most, "{what}: epochs {amended:?}");
        if most == 1 {
            assert!(after.starts_with(&before), "{what}: history was rewritten");
            assert_eq!(amended.len(), 1, "{what} changes nothing here");
        }
        // The new rules hold for what comes then, and a change is taken up only once.
        site.append(FILE, &content[half..]);
        site.run(Plan::to_the_end(13));
        site.check(&format!("{what}, and more input"));
        let done = site.outputs();
        site.run(Plan::to_the_end(13));
        site.expect_outputs(&done, &format!("{what}, and nothing new"));
    }
}

/// The files of a folder.
fn files(folder: &Path) -> Vec<(OsString, Vec<u8>)> {
    let entries = std::fs::read_dir(folder).unwrap();
    let files = entries.map(|entry| entry.unwrap());
    let files = files.filter(|entry| entry.file_type().unwrap().is_file());
    let read = |entry: std::fs::DirEntry| (entry.file_name(), std::fs::read(entry.path()).unwrap());
    files.map(read).collect()
}

/// Makes `files` all that a folder holds.
fn put_back(folder: &Path, files: &[(OsString, Vec<u8>)]) {
    std::fs::remove_dir_all(folder).unwrap();
    std::fs::create_dir(folder).unwrap();
    for (name, content) in files {
        std::fs::write(folder.join(name), content).unwrap();
    }
}

#[test]
fn a_crash_while_rules_change_leaves_the_old_or_the_new() {
    let new = Config {
        fill: Fill::LowerNeighbour,
        ..streams()
    };
    let site = site_after_a_run(&streams(), content(16, 300));
    let [journal, out] = ["journal", "out"].map(|name| site.path(name));
    let (old_journal, old_out, old_outputs) = (files(&journal), files(&out), site.outputs());
    let staged = format!(".clean.jsonl.epoch-{}", site.inspect().next_epoch);
    site.set_rules(&new, &[FILE], "");
    site.run(Plan::to_the_end(7));
    let (new_journal, new_outputs) = (files(&journal), site.outputs());
    assert!(!site.path("out").join(&staged).exists());
    // The changelogs have the amendments, and what is final was staged but is not in its place.
    let content_of = |outputs: &[(&str, Vec<u8>)], name: &str| {
        let found = outputs.iter().find(|(its, _)| *its == name);
        found.unwrap().1.clone()
    };
    let mut half = old_out.clone();
    for (name, content) in &mut half {
        if name != "clean.jsonl" && name != "report.json" {
            *content = content_of(&new_outputs, name.to_str().unwrap());
        }
    }
    half.push((
        staged.clone().into(),
        content_of(&new_outputs, "clean.jsonl"),
    ));

    for (in_journal, rules, expected, when) in [
        (
            &old_journal,
            streams(),
            &old_outputs,
            "back to the old rules",
        ),
        (
            &old_journal,
            new.clone(),
            &new_outputs,
            "the new rules once more",
        ),
        (
            &new_journal,
            new,
            &new_outputs,
            "the new rules were in force",
        ),
    ] {
        put_back(&journal, in_journal);
        put_back(&out, &half);
        site.set_rules(&rules, &[FILE], "");
        site.run(Plan::to_the_end(7));
        site.expect_outputs(expected, when);
        assert!(!site.path("out").join(&staged).exists(), "{when}");
    }
}

#[test]
fn rules_change_under_a_horizon_and_what_was_known_before_is_not_used() {
    let horizon = |horizon_ms| Config {
        horizon_ms: Some(horizon_ms),
        ..streams()
    };
    let small = "[journal]\nsegment = \"64KiB\"\n";
    let content = content(18, 2500);
    let last = *cuts(&mut Random::new(18), &content, 1).first().unwrap();
    for (what, old, new) in [
        ("a longer horizon", horizon(60_000), horizon(600_000)),
        ("a shorter horizon", horizon(600_000), horizon(60_000)),
        ("no horizon", horizon(60_000), streams()),
        ("a horizon", streams(), horizon(60_000)),
        (
            "the copy that is kept",
            horizon(60_000),
            Config {
                keep: Keep::Last,
                ..horizon(60_000)
            },
        ),
    ] {
        let site = site(&old, &content[..last]);
        site.set_rules(&old, &[FILE], small);
        site.run(Plan::to_the_end(20));
        // Something must have been laid down for this to be worth anything.
        assert!(old.horizon_ms.is_none() || site.segments().len() > 1);
        site.set_rules(&new, &[FILE], small);
        site.run(Plan::to_the_end(20));
        let done = site.outputs();
        site.run(Plan::to_the_end(20));
        site.expect_outputs(&done, what);
        site.journal("compact", &[]).expect_code(0);
        site.append(FILE, &content[last..]);
        site.run(Plan::to_the_end(20));
    }
}

#[test]
fn outputs_that_other_rules_or_other_runs_have_written_do_not_fit() {
    let content = content(19, 120);
    let half = cuts(&mut Random::new(19), &content, 1)[0];
    let site = site_after_a_run(&keep_last(), &content[..half]);
    site.set_rules(&streams(), &[FILE], "");
    site.run(Plan::to_the_end(7));
    std::fs::remove_dir_all(site.path("out")).unwrap();
    site.run(Plan::to_the_end(7));
    site.check("the outputs are gone");
    // Somebody else's lines, and more of them.
    site.write("other.jsonl", [&content[half..], &content[..]].concat());
    let mut other = site.plain("out");
    other.arg("--input").arg(site.path("other.jsonl"));
    process::run(&mut other).expect_code(0);
    site.append(FILE, &content[half..]);
    site.run(Plan::to_the_end(7));
    site.check("another run has used the folder");
}

#[test]
fn standard_output_goes_on_where_it_was() {
    let content = content(17, 200);
    let half = cuts(&mut Random::new(17), &content, 1)[0];
    let site = site(&streams(), &content[..half]);
    let run = |is_final| {
        let plan = Plan {
            is_final,
            ..Plan::to_the_end(7)
        };
        let mut command = site.journaled(plan);
        command.args(["--set", "sink.clean.kind=stdout", "--quiet"]);
        let ended = process::run(&mut command);
        ended.expect_code(0);
        ended.stdout
    };
    let first = run(false);
    site.append(FILE, &content[half..]);
    let second = run(true);
    // All but what the first run printed because its input ended, which nobody can take back.
    let all = site.reference().clean.into_bytes();
    assert!(!second.is_empty() && all.ends_with(&second));
    let before = &all[..all.len() - second.len()];
    assert!(!before.is_empty() && first.starts_with(before));
    assert!(run(true).len() < second.len());
    // What was printed cannot be amended.
    let mut changed = site.journaled(Plan::to_the_end(7));
    changed.args([
        "--set",
        "sink.clean.kind=stdout",
        "--set",
        "gaps.max_width=1",
    ]);
    process::run(&mut changed).expect_code(2).expect_said(&[
        "rules",
        "standard output",
        "new journal",
    ]);
}

#[test]
fn several_processes_have_no_journal_yet() {
    let site = site(&streams(), content(7, 20));
    let mut command = site.journaled(Plan::to_the_end(7));
    process::run(command.args(["--processes", "2"]))
        .expect_code(2)
        .expect_said(&["--processes", "journal"]);
    assert!(!site.path("journal").join("lock").exists());
}

#[test]
fn a_torn_end_is_cut_and_read_again() {
    let content = content(8, 200);
    for bytes in [1, 7, 100, 3000] {
        let site = site_after_a_run(&streams(), &content);
        let newest = site.segments().pop().unwrap();
        site.cut(&newest, bytes);
        site.run(Plan::to_the_end(13)).expect_said(&["cut"]);
        site.check(&format!("{bytes} bytes are cut off"));
        // What was cut once is gone.
        let ended = site.run(Plan::to_the_end(13));
        assert!(!ended.stderr.contains("cut"), "{}", ended.stderr);
        site.check(&format!("{bytes} bytes were cut off"));
    }
}

#[test]
fn a_flipped_bit_is_found_and_can_be_cut_off() {
    for seed in workload::seeds(6) {
        let content = content(9, 200);
        let site = site_after_a_run(&streams(), &content);
        let newest = site.segments().pop().unwrap();
        let mut segment = site.read(&newest);
        let at = match seed {
            0 => segment.len() / 2,
            seed => Random::new(seed).below(segment.len() * 3 / 4),
        };
        segment[at] ^= 1 << (seed % 8);
        site.write(&newest, &segment);

        let name = Path::new(&newest).file_name().unwrap().to_str().unwrap();
        refused(&site, 3, &[name, "at byte"]);
        assert_eq!(site.read(&newest), segment, "a refused run changes nothing");
        let verified = site.journal("verify", &[]);
        verified.expect_code(3);
        let said = String::from_utf8_lossy(&verified.stdout) + &*verified.stderr;
        assert!(said.contains(name) && said.contains("byte"), "{said}");
        assert_eq!(site.read(&newest), segment, "verify changes nothing");
        if at < 1000 {
            // What opens the only segment cannot be cut off: there would be no journal.
            continue;
        }
        site.journal("verify", &["--repair"]).expect_code(0);
        site.journal("verify", &[]).expect_code(0);
        site.run(Plan::to_the_end(13));
        site.check(&format!("byte {at}, AMEND_SEED={seed}"));
    }
}

#[test]
fn a_missing_segment_is_named() {
    let site = Site::new(&streams(), &[FILE]);
    let more = "\n[journal]\nsegment = \"64KiB\"\n";
    site.set_rules(&streams(), &[FILE], more);
    site.write(FILE, content(10, 3000));
    site.run(Plan::to_the_end(50));
    site.check("several segments");
    let segments = site.segments();
    assert!(segments.len() > 3, "{segments:?}");
    let missing = &segments[segments.len() / 2];
    let bytes = site.read(missing);
    std::fs::remove_file(site.path(missing)).unwrap();
    let number = Path::new(missing).file_stem().unwrap().to_str().unwrap();
    let number = number.trim_start_matches('0');
    refused(&site, 3, &["segment", number]);
    site.journal("verify", &[]).expect_code(3);
    site.write(missing, bytes);
    site.run(Plan::to_the_end(50));
    site.check("all segments again");
}

#[cfg(unix)]
#[test]
fn a_folder_that_must_not_be_written_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let site = site(&streams(), content(11, 20));
    let folder = site.path("journal");
    std::fs::create_dir(&folder).unwrap();
    let allow = |mode| {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(&folder, permissions).unwrap();
    };
    allow(0o555);
    if journaled::is_above_permissions(&folder) {
        #[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
        {
            eprintln!("skipped: permissions do not hold for this user");
        }
    } else {
        let ended = process::run(&mut site.journaled(Plan::to_the_end(7)));
        ended.expect_said(&["journal"]);
        assert!(matches!(ended.code, Some(1 | 2)), "{ended:?}");
    }
    allow(0o755);
}

#[test]
fn a_file_is_no_journal() {
    let site = site(&streams(), content(12, 20));
    site.write("journal", "this is a file");
    process::run(&mut site.journaled(Plan::to_the_end(7)))
        .expect_code(2)
        .expect_said(&["journal"]);
    assert_eq!(site.read("journal"), b"this is a file");
}

#[test]
fn a_last_line_waits_for_its_newline() {
    let config = Config::default();
    let (one, two, three) = (event(1, 1), event(2, 2), event(3, 3));
    let site = site(&config, format!("{one}{}", &two[..20]));
    let go_on = |is_final: bool| {
        site.run(Plan {
            is_final,
            ..Plan::to_the_end(1)
        });
        site.published()
    };
    let check = |published: Published, clean: &str, read: u64| {
        assert_eq!(published.clean, clean);
        assert_eq!(published.letters, Default::default());
        assert_eq!(published.figures["/read"], read);
    };
    check(go_on(false), &one, 1);
    check(go_on(false), &one, 1);
    // The rest of the line comes, and a whole line that lacks only its newline.
    site.append(
        FILE,
        format!("{}{}", &two[20..], three.trim_end()).as_bytes(),
    );
    check(go_on(false), &format!("{one}{two}"), 2);
    check(go_on(true), &format!("{one}{two}{three}"), 3);
    check(go_on(false), &format!("{one}{two}{three}"), 3);
}
