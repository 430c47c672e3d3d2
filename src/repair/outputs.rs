//! The files of a run: made anew, and never over an input.

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use super::RunOptions;
use super::lines::Sink;
use super::spec::{Dataflow, InputSpec, SinkKind};
use crate::io::output::Output;
use crate::{Error, Result};

/// Creates the output folder and opens the outputs in it, by number of sink; of each, the first
/// `lengths` bytes stay.
///
/// # Errors
/// `Usage` where the folder or a file in it cannot serve, `Unavailable` where writing fails.
pub fn open_outputs(
    dataflow: &Dataflow,
    options: &RunOptions,
    inputs: &[InputSpec],
    lengths: [u64; 4],
) -> Result<[Vec<Output>; 4]> {
    let out = &options.out;
    let fresh = options
        .cluster
        .as_ref()
        .is_none_or(|cluster| cluster.process == 0);
    std::fs::create_dir_all(out).map_err(|error| {
        Error::usage(format!(
            "could not create the output folder \"{}\"",
            out.display()
        ))
        .with_source(error)
    })?;
    let sinks = &dataflow.sinks;
    let kind = |sink: Sink| match sink {
        Sink::Clean => Some(sinks.clean.kind),
        Sink::Changes => sinks.changes.map(|spec| spec.kind),
        Sink::Dead => Some(sinks.dead.kind),
        Sink::Gaps => sinks.gaps.map(|spec| spec.kind),
    };
    for name in Sink::ALL
        .map(Sink::file_name)
        .into_iter()
        .chain(["report.json"])
    {
        check_output(&out.join(name), inputs)?;
    }
    let mut outputs: [Vec<Output>; 4] = Default::default();
    for sink in Sink::ALL {
        let path = out.join(sink.file_name());
        let to_file = sinks.in_files()[sink as usize];
        let outputs = &mut outputs[sink as usize];
        if to_file {
            let output = Output::file(&path, fresh.then_some(lengths[sink as usize]))?;
            if options.cluster.is_some() {
                if !output.is_regular_file() {
                    let message =
                        format!("several processes cannot write to \"{}\"", path.display());
                    return Err(Error::usage(message).with_hint("it is not a regular file"));
                }
                output.share();
            }
            outputs.push(output);
        } else if fresh {
            remove(&path)?;
        }
        if kind(sink) == Some(SinkKind::Stdout) {
            outputs.push(Output::stdout(lengths[sink as usize]));
        }
    }
    if fresh {
        remove(&out.join("report.json"))?;
    }
    Ok(outputs)
}

/// Stands for the last of the first `length` bytes of the file at `path`; 0 where there are none.
pub fn tail_of(path: &Path, length: u64) -> u64 {
    const BYTES: u64 = 4096;
    // What is no file could make a reader wait.
    if length == 0 || !path.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return 0;
    }
    let from = length.saturating_sub(BYTES);
    let mut bytes = vec![0; (length - from) as usize];
    let read = File::open(path).and_then(|file| file.read_exact_at(&mut bytes, from));
    read.map_or(0, |()| xxhash_rust::xxh3::xxh3_64(&bytes))
}

/// [`tail_of`] each output in `folder`, by number of sink.
pub fn tails_of(folder: &Path, lengths: [u64; 4]) -> [u64; 4] {
    Sink::ALL.map(|sink| tail_of(&folder.join(sink.file_name()), lengths[sink as usize]))
}

/// Refuses to write over an input, and what is no place to write to.
fn check_output(output: &Path, inputs: &[InputSpec]) -> Result<()> {
    let Ok(there) = output.metadata() else {
        return Ok(());
    };
    if there.is_dir() {
        let message = format!("the output \"{}\" is a directory", output.display());
        return Err(Error::usage(message).with_hint("choose another output folder with --out DIR"));
    }
    // The same file may have many names, or none where it is standard input.
    let is_input = there.is_file()
        && inputs.iter().any(|input| {
            let path = match input {
                InputSpec::Path(path) => path.as_path(),
                InputSpec::Stdin => Path::new("/dev/stdin"),
            };
            path.metadata()
                .is_ok_and(|its| (its.dev(), its.ino()) == (there.dev(), there.ino()))
        });
    if !is_input {
        return Ok(());
    }
    let message = format!(
        "the run would write over its own input \"{}\"",
        output.display()
    );
    Err(Error::usage(message).with_hint("choose another output folder with --out DIR"))
}

/// Removes what an earlier run left.
fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            let message = format!("could not remove \"{}\" of an earlier run", path.display());
            Err(Error::unavailable(message).with_source(error))
        }
        _ => Ok(()),
    }
}
