//! A comparison as a page for a person.
//!
//! One rule: what it quotes is a user's data, so characters that a terminal would obey are shown
//! escaped.

use std::collections::BTreeSet;
use std::fmt;

use super::{Comparison, Counts};
use crate::repair::report::{group_digits, printable_within};

/// The characters of an example: an inferred event of usual size shows whole.
const EXAMPLE_CHARS: usize = 160;

/// What is counted under one label in both folders.
struct Row {
    label: String,
    old: u64,
    new: u64,
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_table(f)?;
        if self.is_equal() {
            return writeln!(f, "\nnothing would be published differently");
        }
        for (change, differences) in &self.differences {
            writeln!(f, "\n{change}: {}", group_digits(differences.count.into()))?;
            for example in &differences.examples {
                for (side, text) in [("old", &example.old), ("new", &example.new)] {
                    if let Some(text) = text {
                        writeln!(f, "  {side}  {}", printable_within(EXAMPLE_CHARS, text))?;
                    }
                }
            }
            let more = differences.count - differences.examples.len() as u64;
            if more > 0 {
                writeln!(f, "  and {} more", group_digits(more.into()))?;
            }
        }
        Ok(())
    }
}

impl Comparison {
    fn write_table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cells: Vec<[String; 4]> =
            std::iter::once(["", "old", "new", "difference"].map(str::to_owned))
                .chain(self.rows().into_iter().map(|row| {
                    let numbers = [row.old, row.new].map(|number| group_digits(number.into()));
                    let [old, new] = numbers;
                    [row.label, old, new, difference(row.old, row.new)]
                }))
                .collect();
        let width = |column: usize| {
            let widths = cells.iter().map(|row| row[column].chars().count());
            widths.max().unwrap_or(0)
        };
        let [label_width, old_width, new_width, width] = [0, 1, 2, 3].map(width);
        for [label, old, new, difference] in &cells {
            let line = format!(
                "{label:<label_width$}  {old:>old_width$}  {new:>new_width$}  {difference:>width$}"
            );
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }

    fn rows(&self) -> Vec<Row> {
        let row = |label: String, count: &dyn Fn(&Counts) -> u64| Row {
            label,
            old: count(&self.old),
            new: count(&self.new),
        };
        let dead = |counts: &Counts, is_about_record: bool| -> u64 {
            let of_kind = counts.dead.iter();
            of_kind
                .filter(|(reason, _)| reason.is_about_record() == is_about_record)
                .map(|(_, count)| count)
                .sum()
        };
        let mut rows = vec![
            row("published".into(), &|c| c.observed + c.reconstructed),
            row("  observed".into(), &|c| c.observed),
            row("  reconstructed".into(), &|c| c.reconstructed),
            row("records set aside".into(), &|c| dead(c, true)),
        ];
        let reasons: BTreeSet<_> = self.old.dead.keys().chain(self.new.dead.keys()).collect();
        let (about_records, about_gaps): (Vec<_>, Vec<_>) = reasons
            .into_iter()
            .partition(|reason| reason.is_about_record());
        let of_reason = |reason| {
            let count = move |c: &Counts| c.dead.get(reason).copied().unwrap_or(0);
            row(format!("  {reason}"), &count)
        };
        rows.extend(about_records.into_iter().map(of_reason));
        if !about_gaps.is_empty() {
            rows.push(row("letters about gaps".into(), &|c| dead(c, false)));
            rows.extend(about_gaps.into_iter().map(of_reason));
        }
        rows
    }
}

/// The way from `old` to `new` with its sign; empty where there is none.
fn difference(old: u64, new: u64) -> String {
    let digits = group_digits(new.abs_diff(old).into());
    match new.cmp(&old) {
        std::cmp::Ordering::Greater => format!("+{digits}"),
        std::cmp::Ordering::Less => format!("-{digits}"),
        std::cmp::Ordering::Equal => String::new(),
    }
}
