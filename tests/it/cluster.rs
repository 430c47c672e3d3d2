//! Several processes share the records and give the answer of one.

use std::net::TcpListener;
use std::process::{Command, Stdio};

use crate::harness::{self, Case, Expected, Output};
use crate::model::{Config, Fill, Keep, StreamField};
use crate::process;
use crate::workload::{self, Knobs, Random};

/// A hostfile of this many free ports of this machine.
fn hosts(count: usize) -> String {
    // All are held until all are known, so that no port is named twice.
    let held: Vec<TcpListener> = (0..count)
        .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
        .collect();
    held.iter()
        .map(|listener| format!("{}\n", listener.local_addr().unwrap()))
        .collect()
}

fn streams() -> Config {
    Config {
        stream: StreamField::One("stream".into()),
        ..Config::default()
    }
}

#[track_caller]
fn check(processes: usize, workers: usize, seed: u64, config: Config) {
    let knobs = Knobs {
        events: 400,
        streams: 6,
        files: 3,
        ..Knobs::default()
    };
    let contents = workload::files(&mut Random::new(seed), &config, &knobs);
    let names = ["a.jsonl", "b.jsonl", "c.jsonl"].map(String::from);
    let case = Case {
        config,
        files: names.clone().into_iter().zip(contents).collect(),
    };

    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for (name, content) in &case.files {
        harness::write(&at(name), content);
    }
    harness::write(&at("flow.toml"), case.config.toml(&names).as_bytes());
    harness::write(&at("hosts"), hosts(processes).as_bytes());

    let epoch = 50;
    let children: Vec<_> = (0..processes)
        .map(|process| {
            let mut command = process::amend();
            command
                .arg("run")
                .arg(at("flow.toml"))
                .arg("--out")
                .arg(at("out"));
            command.args(["--quiet", "-w", &workers.to_string()]);
            command.args(["--epoch-events", &epoch.to_string()]);
            command.args(["--processes", &processes.to_string()]);
            command.args(["--process", &process.to_string()]);
            command.arg("--hostfile").arg(at("hosts")).spawn().unwrap()
        })
        .collect();
    // All are waited for before one is judged: a failure must leave none behind.
    let ended: Vec<_> = children.into_iter().map(process::wait).collect();
    for ended in ended {
        ended.expect_code(0);
    }
    let model = case.model();
    let expected = Expected::new(&case, &model, Some(epoch));
    let output = Output::read(&at("out"));
    let checked = output.and_then(|output| expected.check(&output, processes * workers));
    if let Err(error) = checked {
        panic!("{processes} processes of {workers} workers: {error}\nAMEND_SEED={seed}");
    }
}

#[test]
fn two_processes_give_the_answer_of_one() {
    check(2, 1, 1, streams());
    check(2, 2, 2, streams());
}

#[test]
fn three_processes_give_the_answer_of_one() {
    check(3, 1, 3, streams());
}

/// Rules that send other things between processes: copies under keys of their own, tags, times.
#[test]
fn two_processes_give_the_answer_of_one_under_other_rules() {
    let keep = Keep::Last;
    check(2, 1, 4, Config { keep, ..streams() });
    let key = Some(vec!["event_id".into(), "timestamp".into(), "type".into()]);
    check(2, 1, 5, Config { key, ..streams() });
    let fill = Fill::LowerNeighbour;
    check(2, 1, 6, Config { fill, ..streams() });
    check(
        2,
        1,
        7,
        Config {
            grace_ms: 30_000,
            ..streams()
        },
    );
}

/// A process that cannot write leaves; the other cannot go on and must not wait for ever.
#[test]
fn a_process_that_fails_ends_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let event = |id: i64| {
        format!("{{\"event_id\":{id},\"type\":\"A\",\"timestamp\":\"2025-01-01T00:00:00Z\"}}\n")
    };
    let content: String = (0..1000).map(event).collect();
    harness::write(&at("in.jsonl"), content.as_bytes());
    let flow = b"[source]\nkind = \"jsonl\"\npath = \"in.jsonl\"\n";
    harness::write(&at("flow.toml"), flow);
    harness::write(&at("hosts"), hosts(2).as_bytes());
    let run = |process: usize, command: &mut Command| {
        command.arg("run").arg(at("flow.toml"));
        command.arg("--out").arg(at(&format!("out-{process}")));
        command.args(["--quiet", "-w", "1", "--epoch-events", "10"]);
        command.args(["--processes", "2", "--process", &process.to_string()]);
        command.arg("--hostfile").arg(at("hosts")).spawn().unwrap()
    };
    // The second one's files may not grow beyond a few blocks.
    let mut limited = Command::new("sh");
    limited
        .args(["-c", "trap '' XFSZ; ulimit -f 8; exec \"$@\"", "sh"])
        .arg(process::amend().get_program())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let children = [run(0, &mut process::amend()), run(1, &mut limited)];
    let ended: Vec<_> = children.into_iter().map(process::wait).collect();
    ended[0]
        .expect_code(1)
        .expect_said(&["lost the connection"]);
    ended[1].expect_code(1).expect_said(&["clean.jsonl"]);
}
