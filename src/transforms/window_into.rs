//! Which windows elements fall into, and when the panes of a window are let through.

use std::sync::Arc;

use differential_dataflow::AsCollection;
use timely::dataflow::operators::vec::Map;

use crate::pcollection::{Data, Element, PCollection};
use crate::windowing::WindowFn;

impl<'scope, T: Data> PCollection<'scope, T> {
    /// Puts elements into windows, whatever windows they were in. What groups them later follows
    /// this windowing.
    ///
    /// `windows` are windows alone, or with all that belongs to them: see
    /// [`crate::windowing::Windowing`].
    pub fn window_into<W>(&self, name: &str, windows: W) -> Self
    where
        W: WindowFn<T> + Clone + Send + Sync + 'static,
    {
        let step = self.pipeline.step(name);
        let mut strategy = windows.strategy();
        if let Some(fault) = windows.fault() {
            let hint = "give windows a length, and triggers something to wait for";
            self.pipeline.refuse(&step, &format!("has {fault}"), hint);
            // The pipeline is not run; the steps that follow are only to be named.
            strategy = crate::windowing::Strategy::default();
        }
        strategy.merging = windows.merging();
        strategy.windows = format!("{windows:?}");
        let of_output = windows.clone();
        strategy.output_time = Some(Arc::new(move |window, at| {
            WindowFn::<T>::output_time(&of_output, window, at)
        }));
        let windowed = self
            .inner
            .inner
            .clone()
            .flat_map(move |(element, epoch, diff)| {
                let mut all = smallvec::SmallVec::<[_; 1]>::new();
                windows.assign(&element.value, element.event_time, |window| {
                    all.push(window)
                });
                let last = all.len().saturating_sub(1);
                let mut element = Some(element);
                all.into_iter().enumerate().filter_map(move |(at, window)| {
                    // The last window gets the value itself; the usual element has one.
                    let element = if at == last {
                        element.take()?
                    } else {
                        element.clone()?
                    };
                    Some((Element { window, ..element }, epoch, diff))
                })
            });
        let mut output = self.with(windowed.as_collection());
        output.strategy = strategy.into();
        output
    }
}
