//! Several processes share the records and give the answer of one.

use std::net::TcpListener;

use crate::harness::{self, Case, Expected, Output};
use crate::model::{Config, StreamField};
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

#[track_caller]
fn check(processes: usize, workers: usize, seed: u64) {
    let config = Config {
        stream: StreamField::One("stream".into()),
        ..Config::default()
    };
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
    check(2, 1, 1);
    check(2, 2, 2);
}

#[test]
fn three_processes_give_the_answer_of_one() {
    check(3, 1, 3);
}
