//! Bad input is data, bad places to read or write are errors that name them, and neither costs
//! memory or a panic.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::harness::{self, Case, Plan};
use crate::json::Json;
use crate::model::{Config, Format, StreamField};
use crate::process::{self, Ended};
use crate::workload::{self, Knobs, Random};

/// More memory than a run over one long record may hold.
const MEMORY_BYTES: u64 = 200 << 20;

/// A folder with a dataflow file and its input.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    /// A folder whose dataflow reads `input`.
    fn reading(input: &str) -> Folder {
        let folder = Folder::new();
        let text = format!("name = \"bad\"\n[source]\nkind = \"jsonl\"\npath = \"{input}\"\n");
        folder.write("flow.toml", text);
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), content).unwrap();
    }

    fn append(&self, name: &str, content: &str) {
        let before = std::fs::read_to_string(self.path(name)).unwrap();
        self.write(name, before + content);
    }

    fn read(&self, name: &str) -> String {
        let path = self.path(name);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn command(&self) -> Command {
        let mut command = process::amend();
        command
            .arg("run")
            .arg(self.path("flow.toml"))
            .arg("--out")
            .arg(self.path("out"));
        command.arg("--quiet");
        command
    }

    fn run(&self) -> Ended {
        process::run(&mut self.command())
    }

    #[track_caller]
    fn reported(&self, path: &str) -> String {
        let report = Json::read(self.read("out/report.json").as_bytes()).unwrap();
        report.find(path).map(Json::canonical).unwrap_or_default()
    }
}

fn event(id: i64) -> String {
    format!(
        "{{\"event_id\":{id},\"type\":\"A\",\"timestamp\":\"2025-01-01T00:00:00Z\",\"valid\":true}}\n"
    )
}

/// Compares the binary with the model on one file, for several cuts and numbers of workers.
#[track_caller]
fn check(content: impl Into<Vec<u8>>) {
    check_case(&Case::new(Config::default(), content));
}

#[track_caller]
fn check_case(case: &Case) {
    let plan = |workers, epoch| Plan { workers, epoch };
    let plans = [
        plan(1, Some(1)),
        plan(2, Some(2)),
        plan(4, Some(1000)),
        plan(2, None),
    ];
    if let Err(error) = case.check(&plans) {
        panic!("{error}");
    }
}

#[test]
fn a_line_of_100_mb_is_a_dead_letter_and_costs_no_memory() {
    let folder = Folder::reading("long.jsonl");
    let mut file = File::create(folder.path("long.jsonl")).unwrap();
    file.write_all(event(1).as_bytes()).unwrap();
    file.write_all(b"{\"event_id\":2,\"x\":\"").unwrap();
    let piece = vec![b'y'; 1 << 20];
    for _ in 0..100 {
        file.write_all(&piece).unwrap();
    }
    file.write_all(b"\"}\n").unwrap();
    file.write_all(event(3).as_bytes()).unwrap();
    drop(file);
    let ended = folder.run();
    ended.expect_code(0);
    assert!(
        ended.peak_bytes < MEMORY_BYTES,
        "{} bytes",
        ended.peak_bytes
    );
    assert_eq!(folder.reported("/kept"), "2");
    assert_eq!(folder.reported("/reconstructed"), "1");
    assert_eq!(folder.reported("/dead"), r#"{"oversize":1}"#);
    let dead = folder.read("out/dead.jsonl");
    let letter = Json::read(dead.trim_end().as_bytes()).unwrap();
    let raw = letter.get("raw").and_then(Json::text).unwrap();
    assert_eq!(raw.len(), 64 * 1024);
    assert!(raw.starts_with("{\"event_id\":2,"));
    let length = (100 << 20) + 21;
    assert!(
        dead.contains(&length.to_string()),
        "{}",
        &dead[dead.len() - 300..]
    );
    assert_eq!(
        letter.find("/source/line").map(Json::canonical).as_deref(),
        Some("2")
    );
}

#[test]
fn records_around_the_limit() {
    // Exactly 1 MiB is a record, a byte more is not; whichever way the lines end.
    let sized = |id: i64, length: usize| {
        let start = event(id).replace("}\n", ",\"x\":\"");
        let filler = "y".repeat(length - start.len() - 2);
        format!("{start}{filler}\"}}")
    };
    let limit = 1 << 20;
    let lines = [
        sized(1, limit),
        sized(2, limit + 1),
        sized(3, limit - 1),
        "[".repeat(limit + 1),
    ];
    check(lines.join("\n"));
    check(lines.join("\r\n") + "\r\n");
}

#[test]
fn an_endless_line_on_stdin_costs_no_memory() {
    let folder = Folder::reading("unused.jsonl");
    let mut command = folder.command();
    let mut child = command
        .args(["--input", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let piece = vec![b'x'; 1 << 20];
    for _ in 0..300 {
        stdin.write_all(&piece).unwrap();
    }
    let peak = process::peak_bytes(&child);
    drop(stdin);
    process::wait(child).expect_code(0);
    assert!(0 < peak && peak < MEMORY_BYTES, "{peak} bytes");
    assert_eq!(folder.reported("/read"), "1");
    assert_eq!(folder.reported("/dead"), r#"{"oversize":1}"#);
}

#[test]
fn stdin_is_read_like_a_file() {
    let folder = Folder::reading("unused.jsonl");
    let files = workload::files(&mut Random::new(1), &Config::default(), &Knobs::default());
    let content = [b"no event\n", &files[0][..]].concat();
    folder.write("in.jsonl", &content);
    let stdin = File::open(folder.path("in.jsonl")).unwrap();
    let mut command = folder.command();
    process::run(command.args(["--input", "-"]).stdin(stdin)).expect_code(0);
    let model = Case::new(Config::default(), content).model();
    assert_eq!(folder.read("out/clean.jsonl"), model.last_answer().clean());
    let dead = folder.read("out/dead.jsonl");
    let letter = dead
        .lines()
        .find(|line| line.contains("\"source\""))
        .unwrap();
    let letter = Json::read(letter.as_bytes()).unwrap();
    assert!(
        letter
            .find("/source/offset")
            .and_then(Json::integer)
            .is_some()
    );
}

#[test]
fn what_is_not_text_is_a_dead_letter() {
    let good = event(1).into_bytes();
    let lines: [&[u8]; 9] = [
        b"\0",
        b"\0\0\0\0",
        b"{\"event_id\":5\0}",
        b"{\"event_id\":6,\"x\":\"\0\"}",
        b"{\"x\":\"\xf0\x9f\x98\"}",
        b"\xf0\x9f\x98",
        b"{\"x\":\"\\ud83d\"}",
        b"{\"x\":\"\\ude00\"}",
        b"\xff\xfe{\0}\0",
    ];
    let mut content = good.clone();
    for line in lines {
        content.extend_from_slice(line);
        content.push(b'\n');
    }
    check([content, event(2).into()].concat());
}

#[test]
fn files_that_end_or_begin_badly() {
    check("");
    check("\n\n \r\n\t");
    check("\u{feff}");
    check(format!("\u{feff}{}", event(1)));
    check(format!("{}\u{feff}{}", event(1), event(2)));
    check(event(1).replace('\n', "\r\n") + "\r\n" + &event(3).replace('\n', "\r\n"));
    check(event(1).trim_end());
    check(event(1) + &event(2)[..30]);
    check(event(1) + "\u{feff}");
}

#[test]
fn nesting_up_to_128_levels() {
    let nested = |id: i64, levels: usize| {
        let inner = "[".repeat(levels - 1) + &"]".repeat(levels - 1);
        event(id).replace("}\n", &format!(",\"x\":{inner}}}\n"))
    };
    check(
        [
            nested(1, 127),
            nested(2, 128),
            nested(3, 129),
            nested(4, 100_000),
            event(6),
        ]
        .concat(),
    );
}

#[test]
fn ids_at_the_ends_of_their_range() {
    let far = 1_000_000_000_000;
    check([event(i64::MAX), event(i64::MIN), event(0)].concat());
    check(
        [
            event(i64::MIN),
            event(i64::MIN + 2),
            event(i64::MAX - 2),
            event(i64::MAX),
        ]
        .concat(),
    );
    check(
        [
            event(-1),
            event(far),
            event(far + 2),
            event(far / 2),
            event(1),
        ]
        .concat(),
    );
    let lines = ["a", "b", "c"].map(|stream| {
        let ends = [event(i64::MIN), event(i64::MAX)].concat();
        ends.replace("\"type\"", &format!("\"stream\":\"{stream}\",\"type\""))
    });
    let stream = StreamField::One("stream".into());
    check_case(&Case::new(
        Config {
            stream,
            ..Config::default()
        },
        lines.concat(),
    ));
}

#[test]
fn a_gap_of_10_to_the_12_costs_nothing() {
    let folder = Folder::reading("wide.jsonl");
    folder.write("wide.jsonl", event(1) + &event(1_000_000_000_002));
    let ended = folder.run();
    ended.expect_code(0);
    assert!(
        ended.peak_bytes < MEMORY_BYTES,
        "{} bytes",
        ended.peak_bytes
    );
    assert_eq!(folder.reported("/dead"), r#"{"gap-too-wide":1}"#);
    assert_eq!(folder.reported("/gaps/missing_ids"), "1000000000000");
}

#[test]
fn years_at_the_ends_of_the_calendar() {
    let at = |id: i64, time: &str| event(id).replace("2025-01-01T00:00:00Z", time);
    let times = [
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59.999999Z",
        "1969-12-31T23:59:59.9Z",
    ];
    check(
        times
            .iter()
            .zip([1, 3, 5])
            .map(|(time, id)| at(id, time))
            .collect::<String>(),
    );
    let config = Config {
        format: Format::UnixMicros,
        ..Config::default()
    };
    let at = |id: i64, time: i64| event(id).replace("\"2025-01-01T00:00:00Z\"", &time.to_string());
    let lines = [at(1, i64::MIN), at(3, i64::MAX), at(5, i64::MIN), at(7, -1)].concat();
    check_case(&Case::new(config, lines));
}

#[test]
fn numbers_of_keys_compare_as_json_values() {
    let config = Config {
        key: Some(vec!["k".into()]),
        ..Config::default()
    };
    let with = |value: &str| event(1).replace("}\n", &format!(",\"k\":{value}}}\n"));
    let values = [
        "1",
        "1.0",
        "1",
        "\"1\"",
        "[1]",
        "[1.0]",
        "{\"a\":1,\"b\":2}",
        "{\"b\":2, \"a\":1}",
    ];
    let more = [
        "true",
        "null",
        "\"\\u0041\"",
        "\"A\"",
        "{\"a\":0,\"a\":1,\"b\":2}",
        "-0",
        "0",
    ];
    check_case(&Case::new(
        config,
        values
            .iter()
            .chain(&more)
            .map(|v| with(v))
            .collect::<String>(),
    ));
}

#[test]
fn places_that_cannot_be_read() {
    let folder = Folder::reading("missing.jsonl");
    let ended = folder.run();
    assert!(matches!(ended.code, Some(1 | 2)), "{ended:?}");
    ended.expect_said(&["missing.jsonl"]);

    let folder = Folder::reading("a-folder");
    std::fs::create_dir(folder.path("a-folder")).unwrap();
    let ended = folder.run();
    assert!(matches!(ended.code, Some(1 | 2)), "{ended:?}");
    ended.expect_said(&["a-folder"]);

    let folder = Folder::new();
    folder.run().expect_code(2).expect_said(&["flow.toml"]);
    std::fs::create_dir(folder.path("flow.toml")).unwrap();
    folder.run().expect_code(2).expect_said(&["flow.toml"]);

    let folder = Folder::new();
    folder.write("flow.toml", b"name = \"\xff\"\n");
    folder.run().expect_code(2).expect_said(&["flow.toml"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_stops_the_run_and_names_the_file() {
    for name in ["clean.jsonl", "dead.jsonl"] {
        let folder = Folder::reading("in.jsonl");
        folder.write("in.jsonl", event(1).repeat(2));
        std::fs::create_dir(folder.path("out")).unwrap();
        let full = Path::new("/dev/full");
        std::os::unix::fs::symlink(full, folder.path("out").join(name)).unwrap();
        folder.run().expect_code(1).expect_said(&[name]);
    }

    let folder = Folder::reading("in.jsonl");
    folder.append("flow.toml", "[sink.clean]\nkind = \"stdout\"\n");
    folder.write("in.jsonl", event(1));
    let full = File::options().write(true).open("/dev/full").unwrap();
    let ended = process::run(folder.command().stdout(full));
    ended.expect_code(1);
    assert!(!ended.stderr.is_empty(), "nothing was said");
}

#[test]
fn a_reader_that_leaves_ends_the_run_quietly() {
    let folder = Folder::reading("unused.jsonl");
    folder.append("flow.toml", "[sink.changes]\nkind = \"stdout\"\n");
    let mut command = folder.command();
    let command = command
        .args(["--input", "-", "--epoch-events", "100"])
        .stdin(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let mut stdin = child.stdin.take().unwrap();
    // The input goes on until nobody reads it any more.
    let writer = std::thread::spawn(move || {
        for id in 0.. {
            if stdin.write_all(event(id).as_bytes()).is_err() {
                return;
            }
        }
    });
    let ended = process::wait(child);
    ended.expect_code(1);
    assert_eq!(ended.stderr, "");
    writer.join().unwrap();
}

/// Asks a run to stop when its first line has come, and takes the other lines only then: so it is
/// certainly in the midst of its input.
#[test]
fn a_run_that_is_asked_to_stop_writes_what_it_has_read() {
    const EVENTS: i64 = 100_000;
    let folder = Folder::reading("in.jsonl");
    folder.append("flow.toml", "[sink.clean]\nkind = \"stdout\"\n");
    // Every second id is missing; nothing may be inferred before the input has ended.
    let content: String = (0..EVENTS).map(|id| event(2 * id)).collect();
    folder.write("in.jsonl", &content);
    let mut child = folder
        .command()
        .args(["--epoch-events", "100"])
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut lines = String::new();
    stdout.read_line(&mut lines).unwrap();
    let pid = child.id().to_string();
    let asked = Command::new("kill").args(["-TERM", &pid]).status().unwrap();
    assert!(asked.success());
    stdout.read_to_string(&mut lines).unwrap();
    let ended = process::wait(child);
    ended
        .expect_code(1)
        .expect_said(&["stopped", "before its input ended"]);
    let kept = lines.lines().count();
    assert!((1..EVENTS as usize).contains(&kept), "{kept} lines");
    assert!(
        content.starts_with(&lines),
        "not the beginning of the input"
    );
    assert_eq!(folder.reported("/read"), kept.to_string());
}

#[test]
fn a_sink_on_stdout_writes_the_same_lines() {
    let folder = Folder::reading("in.jsonl");
    folder.append("flow.toml", "[sink.clean]\nkind = \"stdout\"\n");
    let content = [event(1), event(1), event(3)].concat();
    folder.write("in.jsonl", &content);
    let ended = folder.run();
    ended.expect_code(0);
    let clean = Case::new(Config::default(), content)
        .model()
        .last_answer()
        .clean();
    assert_eq!(String::from_utf8(ended.stdout).unwrap(), clean);
}

#[test]
fn compressed_files_are_read_as_they_are() {
    let config = Config::default();
    let contents = workload::files(&mut Random::new(2), &config, &Knobs::default());
    let names = ["a.jsonl.gz", "b.jsonl.zst"].map(String::from);
    check_case(&Case {
        config,
        files: names.into_iter().zip(contents).collect(),
    });
}

#[test]
fn compressed_files_of_several_parts_are_read_to_their_end() {
    for name in ["a.jsonl.gz", "a.jsonl.zst"] {
        let folder = Folder::reading(name);
        harness::write(&folder.path(name), event(1).as_bytes());
        let first = std::fs::read(folder.path(name)).unwrap();
        harness::write(&folder.path(name), event(2).as_bytes());
        let second = std::fs::read(folder.path(name)).unwrap();
        folder.write(name, [first, second].concat());
        folder.run().expect_code(0);
        assert_eq!(
            folder.read("out/clean.jsonl"),
            event(1) + &event(2),
            "{name}"
        );
    }
}

#[test]
fn a_damaged_archive_stops_the_run_and_names_the_file() {
    for name in ["cut.jsonl.gz", "cut.jsonl.zst"] {
        let folder = Folder::reading(name);
        let content: String = (0..2000).map(event).collect();
        harness::write(&folder.path(name), content.as_bytes());
        let whole = std::fs::read(folder.path(name)).unwrap();
        folder.write(name, &whole[..whole.len() / 2]);
        folder.run().expect_code(1).expect_said(&[name]);
    }
    let folder = Folder::reading("plain.jsonl.gz");
    folder.write("plain.jsonl.gz", event(1));
    folder.run().expect_code(1).expect_said(&["plain.jsonl.gz"]);
}

#[test]
fn wrong_dataflow_files_are_refused_with_the_place() {
    let check = |text: &str, place: &str, hint: &str| {
        let folder = Folder::new();
        folder.write("flow.toml", text);
        folder.write("in.jsonl", event(1));
        let ended = folder.run();
        let place = format!("flow.toml:{place}");
        assert_eq!(ended.code, Some(2), "{text}\n{}", ended.stderr);
        ended.expect_said(&[&place, hint]);
        let column = ended.stderr.split(&place).nth(1).unwrap_or_default();
        assert!(
            column.starts_with(|c: char| c.is_ascii_digit()),
            "{text}\n{}",
            ended.stderr
        );
        assert!(!folder.path("out").exists(), "something was run: {text}");
    };
    let source = "name = \"x\"\n[source]\nkind = \"jsonl\"\npath = \"in.jsonl\"\n";
    let with = |rest: &str| format!("{source}{rest}");
    check("name = \n", "1:", "");
    check(&with("[gap]\n"), "5:", "gaps");
    check(&with("[event]\nidd = \"n\"\n"), "6:", "id");
    check(&with("[event]\ntime_stamp = \"n\"\n"), "6:", "timestamp");
    check(&with("[gaps]\n\nmax_width = \"many\"\n"), "7:", "");
    check(&with("[gaps]\nmax_width = -1\n"), "6:", "");
    check(&with("[gaps]\ngrace = \"soon\"\n"), "6:", "soon");
    check(
        &with("[gaps]\ntype = \"most-common\"\n"),
        "6:",
        "most-frequent",
    );
    check(&with("[dedup]\nkeep = \"newest\"\n"), "6:", "last");
    check(&with("[dedup]\nkey = []\n"), "6:", "");
    check(
        &with("[event]\ntimestamp_format = \"iso\"\n"),
        "6:",
        "iso8601",
    );
    check(&with("[sink.clean]\nkind = \"json\"\n"), "6:", "jsonl");
    check(&with("[limits]\ndead_share = 1.5\n"), "6:", "");
    check(&with("[event]\nid = \"a\"\nid = \"b\"\n"), "7:", "");
    check(
        "name = \"x\"\n[source]\nkind = \"jsonlines\"\npath = \"in.jsonl\"\n",
        "3:",
        "jsonl",
    );
}

#[test]
fn wrong_usage_is_refused() {
    for arguments in [
        &["frobnicate"][..],
        &["run"],
        &["run", "flow.toml", "--wokers", "2"],
    ] {
        process::run(process::amend().args(arguments)).expect_code(2);
    }
}

#[test]
fn too_many_dead_letters_fail_the_run_at_its_end() {
    let folder = Folder::reading("in.jsonl");
    folder.append("flow.toml", "[limits]\ndead_share = 0.3\n");
    folder.write("in.jsonl", [event(1), event(2), "{}\n".into()].concat());
    folder.run().expect_code(4);
    assert_eq!(
        folder.read("out/clean.jsonl"),
        [event(1), event(2)].concat()
    );
    folder.write(
        "in.jsonl",
        [event(1), event(2), event(3), "{}\n".into()].concat(),
    );
    folder.run().expect_code(0);
}

#[test]
fn what_an_earlier_run_left_is_replaced() {
    let folder = Folder::reading("in.jsonl");
    folder.write("in.jsonl", [event(1), event(2), "{}\n".into()].concat());
    folder.run().expect_code(0);
    folder.write("in.jsonl", event(7));
    folder.run().expect_code(0);
    assert_eq!(folder.read("out/clean.jsonl"), event(7));
    assert_eq!(folder.read("out/dead.jsonl"), "");
    assert_eq!(folder.reported("/read"), "1");
}

/// The same file under another name, or as standard input, is still the input.
#[test]
fn an_input_is_never_written_over() {
    let content = [event(1), event(2)].concat();
    let folder = Folder::reading("in.jsonl");
    folder.write("in.jsonl", &content);
    std::fs::create_dir(folder.path("out")).unwrap();
    std::fs::hard_link(folder.path("in.jsonl"), folder.path("out/clean.jsonl")).unwrap();
    folder
        .run()
        .expect_code(2)
        .expect_said(&["its own input", "clean.jsonl"]);
    let stdin = File::open(folder.path("in.jsonl")).unwrap();
    process::run(folder.command().args(["--input", "-"]).stdin(stdin)).expect_code(2);
    assert_eq!(folder.read("in.jsonl"), content);
}

/// An epoch that is complete is written, whatever is wrong behind it.
#[test]
fn a_damaged_input_is_named_though_it_follows_a_whole_epoch() {
    let folder = Folder::reading("in.jsonl");
    folder.write("in.jsonl", [event(1), event(2)].concat());
    folder.write("bad.jsonl.zst", "no archive");
    let inputs = ["in.jsonl", "bad.jsonl.zst"].map(|name| folder.path(name));
    let mut command = folder.command();
    command.arg("--input").arg(&inputs[0]);
    command.arg("--input").arg(&inputs[1]);
    process::run(command.args(["--epoch-events", "2"]))
        .expect_code(1)
        .expect_said(&["bad.jsonl.zst"]);
}

#[test]
fn blank_lines_cost_no_memory() {
    let folder = Folder::reading("in.jsonl");
    let blank = format!("{}\n", " ".repeat(4095)).repeat(100 << 8);
    folder.write("in.jsonl", [event(1), blank, event(3)].concat());
    let ended = folder.run();
    ended.expect_code(0);
    assert!(ended.peak_bytes < 80 << 20, "{} bytes", ended.peak_bytes);
    assert_eq!(folder.reported("/read"), "2");
    assert_eq!(folder.read("out/clean.jsonl").lines().count(), 3);
}

/// A pipe that nobody writes to holds back neither what came before it nor the wish to stop.
#[test]
fn a_pipe_without_a_writer_holds_nothing_back() {
    let folder = Folder::reading("in.jsonl");
    folder.append("flow.toml", "[sink.clean]\nkind = \"stdout\"\n");
    folder.write("in.jsonl", [event(1), event(2)].concat());
    let pipe = folder.path("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let mut command = folder.command();
    command.arg("--input").arg(folder.path("in.jsonl"));
    let mut child = command.arg("--input").arg(&pipe).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert_eq!(line, event(1));
    let pid = child.id().to_string();
    let asked = Command::new("kill").args(["-TERM", &pid]).status().unwrap();
    assert!(asked.success());
    process::wait(child)
        .expect_code(1)
        .expect_said(&["stopped"]);
}

/// A grace makes the watermark matter to an epoch that never comes.
#[test]
fn a_run_that_stops_ends_with_its_last_epoch() {
    for workers in ["1", "4"] {
        let folder = Folder::reading("unused.jsonl");
        folder.append(
            "flow.toml",
            "[gaps]\ngrace = \"1s\"\n[sink.changes]\nkind = \"stdout\"\n",
        );
        let at = |id: i64| event(id).replace("00:00:00", &format!("00:00:{:02}", 10 * id));
        let mut command = folder.command();
        let command = command.args(["-w", workers, "--input", "-"]);
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin
            .write_all([at(1), at(3), at(5)].concat().as_bytes())
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut changes = String::new();
        stdout.read_line(&mut changes).unwrap();
        let pid = child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .unwrap()
                .success()
        );
        stdout.read_to_string(&mut changes).unwrap();
        process::wait(child)
            .expect_code(1)
            .expect_said(&["stopped"]);
        drop(stdin);
        assert!(!changes.contains("reconstructed"), "{changes}");
        assert_eq!(folder.reported("/reconstructed"), "0");
    }
}
