//! Pairs of values that two collections have for a key and window.

use crate::pcollection::{Data, Element, Key, PCollection};
use crate::windowing::{PaneInfo, Window};

use super::read::merge_ticks;

impl<'scope, K: Key, A: Data> PCollection<'scope, (K, A)> {
    /// Every value here with every value that `other` has for the same key and window.
    ///
    /// No trigger is asked: a pair is there as soon as both values are, and is taken back when one
    /// of them is. Its event time is the later of the two.
    ///
    /// State: both collections, as differential arrangements, for ever.
    pub fn join<B: Data>(
        &self,
        name: &str,
        other: &PCollection<'scope, (K, B)>,
    ) -> PCollection<'scope, (K, (A, B))> {
        let step = self.pipeline.step(name);
        self.agree(&step, other);
        self.refuse_unmerged(&step);
        let left = self.inner.clone().map(by_key_and_window);
        let right = other.inner.clone().map(by_key_and_window);
        let pairs = left.join_map(right, |(key, window), (a, at_a), (b, at_b)| Element {
            value: (key.clone(), (a.clone(), b.clone())),
            event_time: *at_a.max(at_b),
            window: *window,
            pane: PaneInfo::NO_FIRING,
        });
        let mut output = self.with(pairs);
        let ticks = vec![self.ticks.clone(), other.ticks.clone()];
        output.ticks = merge_ticks(&step, ticks).unwrap_or_else(|| self.ticks.clone());
        output.append_only = self.append_only && other.append_only;
        output
    }
}

type Located<K, V> = ((K, Window), (V, crate::time::EventTime));

fn by_key_and_window<K, V>(element: Element<(K, V)>) -> Located<K, V> {
    let (key, value) = element.value;
    ((key, element.window), (value, element.event_time))
}
