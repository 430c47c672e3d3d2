//! Several collections as one.

use differential_dataflow::collection::concatenate;

use super::read::merge_ticks;
use crate::pcollection::{Data, PCollection};

impl<'scope, T: Data> PCollection<'scope, T> {
    /// The elements of this collection and of `others`. All must be windowed alike; the trigger is
    /// that of this one, and the allowed lateness is the greatest.
    pub fn flatten(&self, name: &str, others: &[&PCollection<'scope, T>]) -> Self {
        let step = self.pipeline.step(name);
        let all = || std::iter::once(self).chain(others.iter().copied());
        for other in others {
            self.agree(&step, other);
        }
        let inner = concatenate(self.pipeline.scope, all().map(|one| one.inner.clone()));
        let ticks = all().map(|one| one.ticks.clone()).collect();
        let mut output = self.with(inner);
        output.ticks = merge_ticks(&step, ticks).unwrap_or_else(|| self.ticks.clone());
        output.append_only = all().all(|one| one.append_only);
        output.piles_up = all().any(|one| one.piles_up);
        let lateness = all().map(|one| one.strategy.allowed_lateness_us).max();
        if lateness > Some(self.strategy.allowed_lateness_us) {
            let mut strategy = (*self.strategy).clone();
            strategy.allowed_lateness_us = lateness.unwrap_or_default();
            output.strategy = strategy.into();
        }
        output
    }

    /// Refuses to work window by window where windows are still to be merged.
    pub(super) fn refuse_unmerged(&self, step: &str) {
        if self.strategy.merging.merges() {
            self.pipeline.refuse(
                step,
                "works window by window, and these windows are yet to be merged",
                "group before it, or use windows that do not merge",
            );
        }
    }

    /// Refuses to put together what is windowed differently.
    pub(super) fn agree<U: Data>(&self, step: &str, other: &PCollection<'scope, U>) {
        if !self.strategy.is_compatible(&other.strategy) {
            let what = format!(
                "puts together {} and {}",
                self.strategy.windows, other.strategy.windows
            );
            let hint = "give both the same windows with .window_into(..)";
            self.pipeline.refuse(step, &what, hint);
        }
    }
}
