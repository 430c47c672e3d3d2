//! The command line: `amend run`, `amend replay`, `amend check`, `amend test`, `amend bench` and
//! `amend journal`, a file each; flags that several commands share have files of their own.
//!
//! A command turns its flags into the library's plain types, calls it, and prints what comes
//! back. Errors go to standard error with their hint; the exit code is that of their kind.

mod bench;
mod check;
mod dataflow_file;
mod engine_flags;
mod journal;
mod replay;
mod run;
mod test;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{Error, Result};

/// Keeps event streams true: duplicates set aside, holes filled, every late fact an amendment.
#[derive(Debug, Parser)]
#[command(name = "amend", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Args),
    Replay(replay::Args),
    Check(check::Args),
    Test(test::Args),
    Bench(bench::Args),
    Journal(journal::Args),
}

/// Runs the command line of this process and returns its exit code.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(err) => {
            // Nothing is lost when nobody reads the help.
            let _ = err.print();
            return ExitCode::from(if err.use_stderr() { 2 } else { 0 });
        }
    };
    let result = match &cli.command {
        Command::Run(args) => run::run(args),
        Command::Replay(args) => replay::replay(args),
        Command::Check(args) => check::check(args),
        Command::Test(args) => test::test(args),
        Command::Bench(args) => bench::bench(args),
        Command::Journal(args) => journal::journal(args),
    };
    match result {
        Ok(code) => code,
        Err(err) => {
            // Whoever closed the pipe knows why the run ended.
            if !err.is_broken_pipe() {
                print_error(&err);
            }
            ExitCode::from(err.kind().exit_code())
        }
    }
}

fn print_error(err: &Error) {
    let text = format!("error: {}\n", err.to_text());
    // Standard error is the last place to say anything.
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// Tells a person what goes on, on standard error.
fn notice(text: &str) {
    // Nothing depends on somebody reading it.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Prints to standard output; a reader who has left is no failure.
fn print(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(err) if err.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::unavailable("could not write to standard output").with_source(err))
        }
        _ => Ok(()),
    }
}

/// The worker threads to start where no flag says how many.
fn default_workers() -> usize {
    std::thread::available_parallelism()
        .map_or(1, |cores| cores.get())
        .min(MAX_WORKERS as usize)
}

/// More threads than any machine has cores; a typing error beyond it would only exhaust them.
const MAX_WORKERS: u64 = 256;

fn parse_workers(text: &str) -> std::result::Result<usize, String> {
    match text.parse::<u64>() {
        Ok(workers @ 1..=MAX_WORKERS) => Ok(workers as usize),
        _ => Err(format!("give a number of threads from 1 to {MAX_WORKERS}")),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_flags_are_consistent() {
        Cli::command().debug_assert();
    }
}
