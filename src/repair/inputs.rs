//! The inputs of a source, found before anything runs.
//!
//! What a run reads is decided here once: globs are expanded in byte order of their paths, and
//! every path must be something that can be opened and read, or nothing runs at all.

use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::spec::{InputSpec, SourceSpec};
use crate::{Error, Result};

/// The inputs of `source` in reading order, every glob replaced by the paths it matches.
///
/// A path with the characters of a glob that exists is taken as it is written.
///
/// # Errors
/// `Usage` for a path that is missing, cannot be read or is a directory, a glob that matches
/// nothing, and standard input named twice.
pub fn resolve_inputs(source: &SourceSpec) -> Result<Vec<InputSpec>> {
    let mut resolved = Vec::new();
    for input in &source.inputs {
        match input {
            InputSpec::Stdin if resolved.contains(&InputSpec::Stdin) => {
                return Err(Error::usage("standard input is named twice")
                    .with_hint("it can be read once: name it once"));
            }
            InputSpec::Stdin => resolved.push(InputSpec::Stdin),
            InputSpec::Path(path) => {
                for path in expand(path)? {
                    check_readable(&path)?;
                    resolved.push(InputSpec::Path(path));
                }
            }
        }
    }
    if resolved.is_empty() {
        return Err(Error::usage("there is no input").with_hint("name a file with --input"));
    }
    Ok(resolved)
}

/// What dead letters call an input.
pub fn label_of(input: &InputSpec) -> String {
    match input {
        InputSpec::Path(path) => path.display().to_string(),
        InputSpec::Stdin => "stdin".to_owned(),
    }
}

/// The path itself, or the paths that it matches as a glob.
fn expand(path: &Path) -> Result<Vec<PathBuf>> {
    let Some(pattern) = path.to_str().filter(|text| text.contains(['*', '?', '['])) else {
        return Ok(vec![path.to_owned()]);
    };
    if path.symlink_metadata().is_ok() {
        return Ok(vec![path.to_owned()]);
    }
    let paths = glob::glob(pattern).map_err(|err| {
        Error::usage(format!("input {path:?} is not a glob: {}", err.msg))
            .with_hint("* ? [ and ] have a meaning in globs; [*] stands for a star itself")
    })?;
    let mut matches = Vec::new();
    for path in paths {
        matches.push(path.map_err(|err| {
            Error::usage(format!("could not look for the input {pattern:?}")).with_source(err)
        })?);
    }
    if matches.is_empty() {
        return Err(Error::usage(format!("input {path:?} matches no file")).with_hint(where_from()));
    }
    matches.sort_by(|a, b| a.as_os_str().as_bytes().cmp(b.as_os_str().as_bytes()));
    Ok(matches)
}

fn check_readable(path: &Path) -> Result<()> {
    let metadata = path.metadata().map_err(|err| {
        let missing = err.kind() == std::io::ErrorKind::NotFound;
        let error = Error::usage(format!("could not find the input {path:?}")).with_source(err);
        if missing {
            error.with_hint(where_from())
        } else {
            error
        }
    })?;
    if metadata.is_dir() {
        return Err(Error::usage(format!("the input {path:?} is a directory"))
            .with_hint(format!("name its files: {:?}", path.join("*.jsonl"))));
    }
    // Opening a pipe would wait for its writer.
    if metadata.is_file() {
        File::open(path).map_err(|err| {
            Error::usage(format!("could not open the input {path:?}"))
                .with_source(err)
                .with_hint("check who may read it")
        })?;
    }
    Ok(())
}

fn where_from() -> String {
    let here = match std::env::current_dir() {
        Ok(folder) => format!(" ({})", folder.display()),
        Err(_) => String::new(),
    };
    format!("a path in a dataflow file starts at that file's folder, a path of --input here{here}")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Resolves `paths` in a folder that holds `files` and a folder `sub`; paths in the answer
    /// are relative to it again.
    #[track_caller]
    fn check(files: &[&str], paths: &[&str], expected: &[&str]) {
        let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        fs::create_dir(folder.path().join("sub")).unwrap();
        for file in files {
            fs::write(folder.path().join(file), "").unwrap();
        }
        let inputs = paths
            .iter()
            .map(|path| match *path {
                "-" => InputSpec::Stdin,
                path => InputSpec::Path(folder.path().join(path)),
            })
            .collect();
        let source = SourceSpec {
            name: "test".to_owned(),
            inputs,
        };
        let found: Vec<String> = match resolve_inputs(&source) {
            Ok(inputs) => inputs
                .iter()
                .map(|input| match input {
                    InputSpec::Stdin => "-".to_owned(),
                    InputSpec::Path(path) => path
                        .strip_prefix(folder.path())
                        .unwrap()
                        .display()
                        .to_string(),
                })
                .collect(),
            Err(err) => {
                let folder = format!("{}/", folder.path().display());
                vec![err.to_string().replace(&folder, "")]
            }
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn globs_are_expanded_in_byte_order_of_their_paths() {
        check(
            &["b.jsonl", "a-1.jsonl", "a.jsonl", "B.jsonl", "sub/z.jsonl"],
            &["*.jsonl", "**/z.jsonl"],
            &["B.jsonl", "a-1.jsonl", "a.jsonl", "b.jsonl", "sub/z.jsonl"],
        );
    }

    #[test]
    fn a_path_that_exists_is_no_glob() {
        check(
            &["a[1].jsonl", "a1.jsonl"],
            &["a[1].jsonl"],
            &["a[1].jsonl"],
        );
        check(&["a1.jsonl"], &["a[1].jsonl"], &["a1.jsonl"]);
    }

    #[test]
    fn the_order_given_and_repeats_stay() {
        check(&["a", "b"], &["b", "-", "a", "b"], &["b", "-", "a", "b"]);
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        check(
            &[],
            &["a.jsonl"],
            &["could not find the input \"a.jsonl\": No such file or directory (os error 2)"],
        );
        check(
            &["a.txt"],
            &["*.jsonl"],
            &["input \"*.jsonl\" matches no file"],
        );
        check(&[], &["sub"], &["the input \"sub\" is a directory"]);
        check(&[], &["s*"], &["the input \"sub\" is a directory"]);
        check(&[], &["-", "-"], &["standard input is named twice"]);
        check(&[], &[], &["there is no input"]);
        check(
            &[],
            &["a***"],
            &["input \"a***\" is not a glob: \
                wildcards are either regular `*` or recursive `**`"],
        );
    }
}
