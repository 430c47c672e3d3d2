//! Every value once.

use crate::pcollection::{Key, PCollection};

impl<'scope, T: Key> PCollection<'scope, T> {
    /// Every value once in every window, when the trigger lets it through.
    pub fn distinct(&self, name: &str) -> Self {
        self.pipeline.within(name, || {
            self.map("key", |value| (value, ()))
                .count_per_key("once")
                .keys("value")
        })
    }
}
