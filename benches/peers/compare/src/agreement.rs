//! Whether two outputs say the same.
//!
//! `dead.jsonl` and `gaps.jsonl` of an incremental program are changelogs, so what stands in the
//! end is compared; `clean.jsonl` is compared byte for byte.

use std::collections::HashSet;
use std::fmt::Debug;
use std::fs::File;
use std::hash::Hash;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// What stands at the end.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Standing {
    letters: HashSet<Letter>,
    gaps: HashSet<(String, i64, i64)>,
}

#[derive(Debug, PartialEq, Eq, Hash)]
enum Letter {
    /// Reason and offset.
    Record(String, u64),
    /// Reason, stream and, where it is about one gap, ids.
    Gaps(String, String, Option<(i64, i64)>),
}

impl Standing {
    /// Reads the files of an output folder.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let mut standing = Standing::default();
        for_each_line(&folder.join("dead.jsonl"), |line| {
            let letter = letter(&line).with_context(|| format!("no letter: {line}"))?;
            apply(&mut standing.letters, letter, line["op"] == "retract")
        })?;
        for_each_line(&folder.join("gaps.jsonl"), |line| {
            let gap = gap(&line).with_context(|| format!("no gap: {line}"))?;
            apply(&mut standing.gaps, gap, line["op"] == "close")
        })?;
        Ok(standing)
    }

    /// Fails with what only one of both says.
    pub(crate) fn expect_same(&self, other: &Standing) -> Result<()> {
        expect_same("letters", &self.letters, &other.letters)?;
        expect_same("gaps", &self.gaps, &other.gaps)
    }
}

fn letter(line: &Value) -> Option<Letter> {
    let reason = line["reason"].as_str()?.to_owned();
    if let Some(offset) = line["source"]["offset"].as_u64() {
        return Some(Letter::Record(reason, offset));
    }
    let ids = line["from"].as_i64().zip(line["to"].as_i64());
    Some(Letter::Gaps(
        reason,
        line["stream"].as_str()?.to_owned(),
        ids,
    ))
}

fn gap(line: &Value) -> Option<(String, i64, i64)> {
    Some((
        line["stream"].as_str()?.to_owned(),
        line["from"].as_i64()?,
        line["to"].as_i64()?,
    ))
}

fn apply<T: Eq + Hash + Debug>(all: &mut HashSet<T>, one: T, is_withdrawn: bool) -> Result<()> {
    let text = format!("{one:?}");
    let is_news = if is_withdrawn {
        all.remove(&one)
    } else {
        all.insert(one)
    };
    ensure!(is_news, "{text} is said or withdrawn twice");
    Ok(())
}

fn for_each_line(path: &Path, mut job: impl FnMut(Value) -> Result<()>) -> Result<()> {
    let file = File::open(path).with_context(|| format!("could not open {}", path.display()))?;
    for line in BufReader::new(file).split(b'\n') {
        job(serde_json::from_slice(&line?)?)?;
    }
    Ok(())
}

fn expect_same<T: Eq + Hash + Debug>(
    what: &str,
    one: &HashSet<T>,
    other: &HashSet<T>,
) -> Result<()> {
    let first = one.difference(other).next();
    let second = other.difference(one).next();
    if first.is_some() || second.is_some() {
        bail!(
            "{} and {} {what}: only the first has {first:?}, only the second {second:?}",
            one.len(),
            other.len(),
        );
    }
    Ok(())
}

/// Fails where two files differ in a byte.
pub(crate) fn expect_same_files(one: &Path, other: &Path) -> Result<()> {
    let open = |path: &Path| {
        let file = File::open(path).with_context(|| format!("could not open {}", path.display()));
        file.map(|file| BufReader::with_capacity(1 << 20, file))
    };
    let (mut one, mut other) = (open(one)?, open(other)?);
    let mut offset = 0_u64;
    loop {
        let (left, right) = (one.fill_buf()?, other.fill_buf()?);
        let length = left.len().min(right.len());
        if length == 0 {
            ensure!(
                left.len() == right.len(),
                "one ends at byte {offset}, the other goes on"
            );
            return Ok(());
        }
        if let Some(at) = left
            .iter()
            .zip(right)
            .position(|(left, right)| left != right)
        {
            bail!("they differ at byte {}", offset + at as u64);
        }
        one.consume(length);
        other.consume(length);
        offset += length as u64;
    }
}
