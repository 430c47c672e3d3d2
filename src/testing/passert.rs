//! Assertions about collections, written in the pipeline and judged when it has run.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use crate::Error;
use crate::pcollection::{Data, PCollection};
use crate::time::Epoch;
use crate::transforms::multiset::net;
use crate::transforms::write::{Change, Collected};
use crate::windowing::{Timing, Window};

/// What is expected of a collection; see [`PAssert::that`].
#[derive(Debug)]
pub struct PAssert<'a, 'scope, T: Data> {
    name: String,
    collection: &'a PCollection<'scope, T>,
    collected: Collected<T>,
    window: Option<Window>,
    panes: Panes,
}

/// Which panes are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Panes {
    /// What the collection holds in the end: panes that were taken back do not count.
    Standing,
    /// Panes with this timing, whether they were taken back or not.
    Timed(Timing),
    /// Everything that was ever said, taken back or not.
    All,
}

impl<'a, 'scope, T: Data> PAssert<'a, 'scope, T> {
    /// Asserts something of `collection`: of what it holds in the end, where nothing else is said.
    pub fn that(name: &str, collection: &'a PCollection<'scope, T>) -> Self {
        let collected = collection
            .pipeline()
            .plan
            .settings
            .shared
            .get(&format!("PAssert/{name}"), || Ok(Collected::new()));
        let collected = collected.unwrap_or_else(|error| {
            collection.pipeline().fail(error);
            Collected::new()
        });
        collection.collect_into(&format!("PAssert/{name}"), &collected);
        PAssert {
            name: name.to_owned(),
            collection,
            collected,
            window: None,
            panes: Panes::Standing,
        }
    }

    /// Looks at one window only.
    pub fn in_window(self, window: Window) -> Self {
        PAssert {
            window: Some(window),
            ..self
        }
    }

    /// Looks at the early panes of a window.
    pub fn in_early_panes(self, window: Window) -> Self {
        self.in_panes(window, Panes::Timed(Timing::Early))
    }

    /// Looks at the on-time pane of a window.
    pub fn in_on_time_pane(self, window: Window) -> Self {
        self.in_panes(window, Panes::Timed(Timing::OnTime))
    }

    /// Looks at the late panes of a window.
    pub fn in_late_panes(self, window: Window) -> Self {
        self.in_panes(window, Panes::Timed(Timing::Late))
    }

    /// Looks at everything that was said, also at what was taken back later.
    pub fn in_all_panes(self) -> Self {
        PAssert {
            panes: Panes::All,
            ..self
        }
    }

    fn in_panes(self, window: Window, panes: Panes) -> Self {
        PAssert {
            window: Some(window),
            panes,
            ..self
        }
    }

    /// The values are these, in whatever order.
    pub fn contains_in_any_order(self, expected: impl IntoIterator<Item = T>)
    where
        T: Send,
    {
        let mut expected: Vec<T> = expected.into_iter().collect();
        expected.sort();
        self.satisfies(move |values| {
            if values == expected {
                return Ok(());
            }
            Err(format!("expected {expected:?}\n     got {values:?}"))
        });
    }

    /// There are no values.
    pub fn is_empty(self)
    where
        T: Send,
    {
        self.contains_in_any_order([]);
    }

    /// The values, in order, satisfy `check`, which says what is wrong where they do not.
    pub fn satisfies(
        self,
        check: impl FnOnce(&[T]) -> std::result::Result<(), String> + Send + 'static,
    ) where
        T: Send,
    {
        let PAssert {
            name,
            collection,
            collected,
            window,
            panes,
        } = self;
        // The check runs once, whichever worker's copy of the pipeline it comes from.
        let check = Arc::new(Mutex::new(Some(check)));
        collection.pipeline().check_at_end(move || {
            let values = seen(&collected.changes(), window, panes);
            let check = check.lock().ok().and_then(|mut check| check.take());
            let verdict = check.map_or(Ok(()), |check| check(&values));
            verdict.map_err(|what| failed(&name, window, &what))
        });
    }
}

fn failed(name: &str, window: Option<Window>, what: &str) -> Error {
    let place = window.map_or(String::new(), |window| format!(" in {window:?}"));
    Error::usage(format!("assertion \"{name}\" does not hold{place}\n{what}"))
}

/// The values that an assertion looks at, in order.
fn seen<T: Data>(changes: &[(Epoch, Change<T>)], window: Option<Window>, panes: Panes) -> Vec<T> {
    let wanted = changes.iter().filter(|(_, (element, diff))| {
        let in_window = window.is_none_or(|window| element.window == window);
        let in_pane = match panes {
            Panes::Standing => true,
            Panes::Timed(timing) => element.pane.timing == timing && *diff > 0,
            Panes::All => *diff > 0,
        };
        in_window && in_pane
    });
    net(wanted.map(|(_, (element, diff))| (element.value.clone(), *diff)))
}
