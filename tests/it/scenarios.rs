//! Scenario files as a user runs them: with one worker and with several, and that a scenario which
//! does not hold is found.
//!
//! That every file below `tests/scenarios` holds with one worker is a matter of `tidy`.

use std::path::{Path, PathBuf};

use crate::process;

fn scenarios() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios")
}

/// Runs a scenario file; returns what was said.
#[track_caller]
fn run(file: &Path, workers: usize, code: i32) -> String {
    let mut command = process::amend();
    command.arg("test").arg(file);
    let ended = process::run(command.args(["-w", &workers.to_string()]));
    ended.expect_code(code);
    String::from_utf8(ended.stdout).unwrap()
}

#[track_caller]
fn holds(file: &str) {
    for workers in [1, 4] {
        let said = run(&scenarios().join(file), workers, 0);
        assert!(said.ends_with(" passed, 0 failed\n"), "{said}");
    }
}

#[test]
fn beams_transcripts_hold() {
    holds("beam/trigger_transcripts.yaml");
}

#[test]
fn the_figures_of_the_paper_hold() {
    holds("paper/figures_6_to_9_global.yaml");
    holds("paper/figures_10_to_13_fixed.yaml");
    holds("paper/figure_14_sessions.yaml");
}

#[test]
fn our_triggers_hold() {
    holds("triggers.yaml");
}

/// Every case of Beam's file is run: without its `error:` each of the wrong ones fails, and with
/// one, each of the others.
#[test]
fn wrong_transcripts_are_found() {
    let text = std::fs::read_to_string(scenarios().join("beam/trigger_transcripts.yaml")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wrong.yaml");
    let known = text.replace("\nerror: ", "\nwas_error: ");
    std::fs::write(&file, known).unwrap();
    let said = run(&file, 2, 1);
    assert!(said.ends_with("13 passed, 5 failed\n"), "{said}");
    let failing = text.replace("\nname: ", "\nerror: output\nname: ");
    std::fs::write(&file, failing.replace("\nerror: Un", "\nwas_error: Un")).unwrap();
    let said = run(&file, 2, 1);
    assert!(said.ends_with("5 passed, 13 failed\n"), "{said}");
}
