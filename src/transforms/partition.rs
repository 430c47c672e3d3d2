//! One collection as several.

use crate::pcollection::{Data, PCollection};

impl<'scope, T: Data> PCollection<'scope, T> {
    /// The elements that `f` gives the numbers 0, 1 and so on to `parts`. A number that is too
    /// high means the last part.
    pub fn partition(
        &self,
        name: &str,
        parts: usize,
        f: impl Fn(&T) -> usize + Clone + 'static,
    ) -> Vec<Self> {
        let step = self.pipeline.step(name);
        if parts == 0 {
            self.pipeline
                .refuse(&step, "makes no parts", "ask for at least one");
        }
        self.pipeline.within(name, || {
            let part = |number: usize| {
                let f = f.clone();
                self.filter(&number.to_string(), move |value| {
                    f(value).min(parts - 1) == number
                })
            };
            (0..parts).map(part).collect()
        })
    }
}
