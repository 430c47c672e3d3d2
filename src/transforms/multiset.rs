//! Values with how often each is there, which may be less than never for a while.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use differential_dataflow::consolidation::consolidate;

/// Changes how often a value is there.
pub(super) fn add<V: Ord>(values: &mut BTreeMap<V, isize>, value: V, diff: isize) {
    match values.entry(value) {
        Entry::Vacant(entry) => {
            entry.insert(diff);
        }
        Entry::Occupied(mut entry) => {
            *entry.get_mut() += diff;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

/// What changes come to: the values, in order, each as often as it is there.
pub(crate) fn net<V: Ord + Clone>(changes: impl Iterator<Item = (V, isize)>) -> Vec<V> {
    let mut values: Vec<(V, isize)> = changes.collect();
    consolidate(&mut values);
    let each = |(value, times)| copies(value, times);
    values.into_iter().flat_map(each).collect()
}

/// A value as often as it is there.
pub(super) fn copies<V: Clone>(value: V, times: isize) -> impl Iterator<Item = V> {
    std::iter::repeat_n(value, usize::try_from(times).unwrap_or(0))
}
