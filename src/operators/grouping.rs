//! The sightings of an epoch, in order.

use std::collections::HashMap;

use super::SequenceKey;
use super::sightings::{Sighting, group_of};

/// Brings the sightings of an epoch into the order of (stream, id, time, position).
///
/// Sightings of many sequences arrive interleaved, but those of a group nearly in order: so they
/// are dealt to their groups, and only a group that is out of order is sorted.
#[derive(Debug)]
pub(super) struct Grouping<S> {
    /// The groups of the epoch at hand, by (stream, group).
    numbers: HashMap<(S, i64), u32, foldhash::fast::RandomState>,
    /// Each group's key, number and size; then the place of its next sighting.
    groups: Vec<((S, i64), u32, usize)>,
    places: Vec<usize>,
    /// The group of each sighting.
    of_row: Vec<u32>,
    pub(super) rows: Vec<Sighting<S>>,
}

impl<S> Default for Grouping<S> {
    fn default() -> Self {
        Grouping {
            numbers: HashMap::default(),
            groups: Vec::new(),
            places: Vec::new(),
            of_row: Vec::new(),
            rows: Vec::new(),
        }
    }
}

/// Rows out of place that are each put where they belong; if there are more, all rows are sorted.
const STRAY_ROWS_MAX: usize = 16;

/// Sorts rows of which few, if any, are out of place: those that came late.
fn sort_nearly<T, K: Ord>(rows: &mut [T], order: impl Fn(&T) -> K) {
    let is_stray = |pair: &&[T]| order(&pair[1]) < order(&pair[0]);
    let strays = rows.windows(2).filter(is_stray).take(STRAY_ROWS_MAX + 1);
    match strays.count() {
        0 => {}
        1..=STRAY_ROWS_MAX => {
            for at in 1..rows.len() {
                let key = order(&rows[at]);
                if key < order(&rows[at - 1]) {
                    let place = rows[..at].partition_point(|row| order(row) <= key);
                    rows[place..=at].rotate_right(1);
                }
            }
        }
        _ => rows.sort_unstable_by_key(order),
    }
}

impl<S: SequenceKey> Grouping<S> {
    /// All sightings in order. The vector is to be given back to `rows`.
    pub(super) fn sort(&mut self, containers: &[Vec<Sighting<S>>]) -> Vec<Sighting<S>> {
        self.numbers.clear();
        self.groups.clear();
        self.of_row.clear();
        for row in containers.iter().flatten() {
            let key = (row.stream, group_of(row.id));
            let next = self.groups.len() as u32;
            let number = *self.numbers.entry(key).or_insert(next);
            if number == next {
                self.groups.push((key, number, 0));
            }
            self.groups[number as usize].2 += 1;
            self.of_row.push(number);
        }
        self.groups.sort_unstable();
        self.places.clear();
        self.places.resize(self.groups.len(), 0);
        let mut place = 0;
        for (_, number, size) in &self.groups {
            self.places[*number as usize] = place;
            place += size;
        }
        let mut rows = std::mem::take(&mut self.rows);
        rows.clear();
        if let Some(any) = containers.iter().flatten().next() {
            rows.resize(place, *any);
        }
        for (row, number) in containers.iter().flatten().zip(&self.of_row) {
            let place = &mut self.places[*number as usize];
            rows[*place] = *row;
            *place += 1;
        }
        let order = |row: &Sighting<S>| (row.id, row.time, row.reader, row.index);
        let mut rest = &mut rows[..];
        for (_, _, size) in &self.groups {
            let (group, others) = rest.split_at_mut(*size);
            sort_nearly(group, order);
            rest = others;
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::workload::Random;

    #[test]
    fn rows_are_sorted_however_many_are_out_of_place() {
        let mut random = Random::new(5);
        for round in 0..600 {
            let mut rows: Vec<u64> = (0..random.below(200)).map(|at| at / 3).collect();
            for _ in 0..round % 40 {
                if !rows.is_empty() {
                    let from = random.below(rows.len() as u64) as usize;
                    let to = random.below(rows.len() as u64) as usize;
                    let row = rows.remove(from);
                    rows.insert(to, row);
                }
            }
            let mut expected = rows.clone();
            expected.sort();
            sort_nearly(&mut rows, |row| *row);
            assert_eq!(rows, expected);
        }
    }
}
