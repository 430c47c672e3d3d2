//! Pairs what was expected with what came, one to one, and shows where that cannot be done.

use std::fmt::Display;

use comfy_table::{ContentArrangement, Table, presets};

/// Something expected, which may say little of what is to come.
pub(super) trait Expectation: Display {
    /// What comes.
    type Written: Display;

    /// Whether `written` is as expected.
    fn matches(&self, written: &Self::Written) -> bool;
}

/// Compares what was expected with what came: `None` where they match one to one, else both beside
/// each other, what has no partner marked.
pub(super) fn compare<E: Expectation>(expected: &[E], written: &[&E::Written]) -> Option<String> {
    let partners = partners(expected, written);
    let is_matched = partners.iter().all(Option::is_some) && written.len() == expected.len();
    if is_matched {
        None
    } else {
        Some(beside(expected, written, &partners))
    }
}

/// For each expected entry its partner among the written ones, so that as many as possible have
/// one: an entry that names little must not take the only partner of one that names more.
fn partners<E: Expectation>(expected: &[E], written: &[&E::Written]) -> Vec<Option<usize>> {
    let mut taken_by: Vec<Option<usize>> = vec![None; written.len()];
    for at in 0..expected.len() {
        let mut seen = vec![false; written.len()];
        find_partner(at, expected, written, &mut taken_by, &mut seen);
    }
    let mut partners = vec![None; expected.len()];
    for (at, taker) in taken_by.iter().enumerate() {
        if let Some(taker) = taker {
            partners[*taker] = Some(at);
        }
    }
    partners
}

/// Gives the expected entry `at` a partner, sending others to new ones where that makes room.
/// The way from entry to entry is kept on a list: steps may write very many.
fn find_partner<E: Expectation>(
    at: usize,
    expected: &[E],
    written: &[&E::Written],
    taken_by: &mut [Option<usize>],
    seen: &mut [bool],
) {
    // Each element: an expected entry, and the written one through which it was reached.
    let mut reached: Vec<(usize, Option<(usize, usize)>)> = vec![(at, None)];
    let mut next = 0;
    while next < reached.len() {
        let (entry, _) = reached[next];
        for candidate in 0..written.len() {
            if seen[candidate] || !expected[entry].matches(written[candidate]) {
                continue;
            }
            seen[candidate] = true;
            match taken_by[candidate] {
                Some(taker) => reached.push((taker, Some((next, candidate)))),
                None => {
                    let mut free = candidate;
                    let mut from = next;
                    loop {
                        let (entry, way) = reached[from];
                        taken_by[free] = Some(entry);
                        let Some((earlier, given_up)) = way else {
                            return;
                        };
                        from = earlier;
                        free = given_up;
                    }
                }
            }
        }
        next += 1;
    }
}

/// Both sides as a table: pairs first, then what has no partner, marked.
fn beside<E: Expectation>(
    expected: &[E],
    written: &[&E::Written],
    partners: &[Option<usize>],
) -> String {
    const WIDTH: u16 = 100;
    let mut pairs: Vec<(String, String)> = Vec::new();
    let mut missing: Vec<String> = Vec::new();
    for (entry, partner) in expected.iter().zip(partners) {
        match partner {
            Some(at) => pairs.push((format!("  {entry}"), format!("  {}", written[*at]))),
            None => missing.push(format!("! {entry}")),
        }
    }
    let mut surplus: Vec<String> = (0..written.len())
        .filter(|at| !partners.contains(&Some(*at)))
        .map(|at| format!("! {}", written[at]))
        .collect();
    pairs.sort();
    missing.sort();
    surplus.sort();
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_HORIZONTAL_ONLY)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(WIDTH)
        .set_header(["expected", "what came"]);
    for (expected, written) in pairs {
        table.add_row([expected, written]);
    }
    for at in 0..missing.len().max(surplus.len()) {
        let text = |side: &[String]| side.get(at).cloned().unwrap_or_default();
        table.add_row([text(&missing), text(&surplus)]);
    }
    table.to_string()
}
