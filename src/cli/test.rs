//! `amend test`: runs scenario files against the engine.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::testing::scenario::Scenario;
use crate::{Error, Result};

/// Run scenario files against the engine
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Scenario files (YAML transcripts)
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Worker threads
    #[arg(short, long, value_name = "N", default_value = "1", value_parser = super::parse_workers)]
    workers: usize,
}

pub(super) fn test(args: &Args) -> Result<ExitCode> {
    // Every file is read before the first is run: one that cannot be is no failed scenario.
    let files: Vec<Vec<Scenario>> = args
        .files
        .iter()
        .map(|path| read(path))
        .collect::<Result<_>>()?;
    let (mut passed, mut failed) = (0, 0);
    for scenario in files.iter().flatten() {
        let mut text = String::new();
        match scenario.check(args.workers) {
            Ok(()) => {
                passed += 1;
                // Writing to a string cannot fail.
                let _ = writeln!(text, "ok      {}  {}", scenario.place, scenario.name);
            }
            Err(message) => {
                failed += 1;
                let _ = writeln!(text, "FAILED  {}  {}", scenario.place, scenario.name);
                for line in message.lines() {
                    let _ = writeln!(text, "  {line}");
                }
            }
        }
        super::print(&text)?;
    }
    super::print(&format!("{passed} passed, {failed} failed\n"))?;
    Ok(ExitCode::from(if failed > 0 { 1 } else { 0 }))
}

fn read(path: &Path) -> Result<Vec<Scenario>> {
    let text = fs::read_to_string(path).map_err(|err| {
        Error::usage(format!("could not read the scenario file {path:?}"))
            .with_source(err)
            .with_hint("a scenario file is YAML text in UTF-8")
    })?;
    Scenario::from_text(&text, &path.display().to_string())
}
