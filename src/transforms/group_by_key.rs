//! All values of a key and window at once.

use std::collections::BTreeMap;

use super::dead::keep_refused;
use super::group::{Refused, group};
use super::multiset::{add, copies};
use crate::pcollection::{Data, Element, Key, PCollection};
use crate::windowing::grouping::Fold;

impl<'scope, K: Key, V: Data> PCollection<'scope, (K, V)> {
    /// The values of every key and window, in order, whenever the trigger lets them through. What
    /// comes too late is a dead letter of this step.
    pub fn group_by_key(&self, name: &str) -> PCollection<'scope, (K, Vec<V>)> {
        let step = self.pipeline.step(name);
        let (groups, refused) = group(&step, self, InOrder::default());
        keep_refused(&self.pipeline, &step, refused);
        groups
    }

    /// As [`PCollection::group_by_key`], with what comes too late beside it, as it came.
    pub fn group_by_key_and_late(&self, name: &str) -> (PCollection<'scope, (K, Vec<V>)>, Self) {
        let step = self.pipeline.step(name);
        let (groups, refused) = group(&step, self, InOrder::default());
        let late = refused.map(|Refused { element, .. }| -> Element<(K, V)> { element });
        let mut late = self.with(late);
        late.append_only = self.append_only;
        (groups, late)
    }
}

/// Holds all values, and gives them in order.
#[derive(Clone, Copy, Debug)]
pub(super) struct InOrder<V>(std::marker::PhantomData<V>);

impl<V> Default for InOrder<V> {
    fn default() -> Self {
        InOrder(std::marker::PhantomData)
    }
}

impl<V: Data> Fold for InOrder<V> {
    type Value = V;
    type Content = BTreeMap<V, isize>;
    type Output = Vec<V>;

    fn start(&self) -> Self::Content {
        BTreeMap::new()
    }

    fn add(&self, content: &mut Self::Content, value: V, diff: isize) {
        add(content, value, diff);
    }

    fn absorb(&self, content: &mut Self::Content, other: Self::Content) {
        for (value, times) in other {
            add(content, value, times);
        }
    }

    fn output(&self, content: &mut Self::Content) -> Option<Vec<V>> {
        let all = content
            .iter()
            .flat_map(|(value, times)| copies(value, *times));
        Some(all.cloned().collect())
    }
}
