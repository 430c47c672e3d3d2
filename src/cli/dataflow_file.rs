//! The flags that commands on a dataflow share: the dataflow file, and what replaces parts of it.

use std::path::PathBuf;

use clap::Args;

use crate::Result;
use crate::repair::Dataflow;
use crate::repair::inputs::resolve_inputs;
use crate::repair::spec::InputSpec;

/// A dataflow file and what the command line says instead.
#[derive(Debug, Args)]
pub(super) struct DataflowFile {
    /// The dataflow file (TOML)
    #[arg(value_name = "DATAFLOW.TOML")]
    pub(super) path: PathBuf,

    /// Read this file or glob instead of the source's (repeatable; - is stdin)
    #[arg(long = "input", value_name = "PATH")]
    inputs: Vec<PathBuf>,

    /// Replace a value of the dataflow file, as in gaps.max_width=100 (repeatable)
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = parse_override)]
    overrides: Vec<(String, String)>,
}

impl DataflowFile {
    /// The dataflow with the inputs that are there.
    pub(super) fn read(&self) -> Result<Dataflow> {
        let mut dataflow = self.read_without_inputs()?;
        if !self.inputs.is_empty() {
            dataflow.source.inputs = self
                .inputs
                .iter()
                .map(|path| match path.to_str() {
                    Some("-") => InputSpec::Stdin,
                    _ => InputSpec::Path(path.clone()),
                })
                .collect();
        }
        dataflow.source.inputs = resolve_inputs(&dataflow.source)?;
        Ok(dataflow)
    }

    /// The dataflow as the file has it, without a look at its inputs.
    pub(super) fn read_without_inputs(&self) -> Result<Dataflow> {
        Dataflow::from_file(&self.path, &self.overrides)
    }

    /// Whether the command line says what to read.
    pub(super) fn names_inputs(&self) -> bool {
        !self.inputs.is_empty()
    }
}

fn parse_override(text: &str) -> std::result::Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            Ok((key.trim().to_owned(), value.to_owned()))
        }
        _ => Err("write it as key=value, for example gaps.max_width=100".to_owned()),
    }
}
