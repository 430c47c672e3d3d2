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
            if !group.is_sorted_by_key(order) {
                group.sort_unstable_by_key(order);
            }
            rest = others;
        }
        rows
    }
}
