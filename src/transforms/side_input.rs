//! What every element may look at: the content of another collection.
//!
//! Beam hands an element the view that is there when it comes. Here the element keeps looking: when
//! the view changes, what was made with the old one is taken back and made anew.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::rc::Rc;

use differential_dataflow::AsCollection;
use differential_dataflow::collection::concatenate;
use serde::{Deserialize, Serialize};
use timely::dataflow::operators::vec::Map;

use super::dead::keep_refused;
use super::group::Refused;
use super::multiset::{add, copies};
use super::read::merge_ticks;
use super::stepwise::{Intake, Output, Steps, stepwise};
use crate::pcollection::{Data, Element, Key, PCollection};
use crate::windowing::grouping::Now;
use crate::windowing::{Strategy, Window};

/// A collection as a value that the elements of another one can look at, window by window.
#[derive(Clone)]
pub struct View<'scope, T: Data, S> {
    collection: PCollection<'scope, T>,
    make: Make<T, S>,
}

/// Makes a view.
type Make<T, S> = Rc<dyn Fn(&Contents<T>) -> S>;

/// What a collection holds in a window, in order, and how often.
pub type Contents<T> = BTreeMap<T, isize>;

impl<T: Data, S> fmt::Debug for View<'_, T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("View").field(&self.collection).finish()
    }
}

impl<'scope, T: Data> PCollection<'scope, T> {
    /// The one element of a window; the greatest where there are several, `default` where there is
    /// none.
    pub fn as_singleton(&self, default: T) -> View<'scope, T, T> {
        self.as_view(move |contents| {
            let last = contents.keys().next_back();
            last.cloned().unwrap_or_else(|| default.clone())
        })
    }

    /// The elements of a window, in order.
    pub fn as_list(&self) -> View<'scope, T, Vec<T>> {
        self.as_view(|contents| {
            let each = |(value, times): (&T, &isize)| copies(value.clone(), *times);
            contents.iter().flat_map(each).collect()
        })
    }

    /// What `make` makes of the content of a window.
    pub fn as_view<S>(&self, make: impl Fn(&Contents<T>) -> S + 'static) -> View<'scope, T, S> {
        View {
            collection: self.clone(),
            make: Rc::new(make),
        }
    }
}

impl<'scope, K: Data, V: Data> PCollection<'scope, (K, V)> {
    /// The elements of a window by key; of several with one key the greatest.
    pub fn as_map(&self) -> View<'scope, (K, V), BTreeMap<K, V>> {
        self.as_view(|contents| contents.keys().cloned().collect())
    }

    /// The elements of a window by key, in order.
    pub fn as_multimap(&self) -> View<'scope, (K, V), BTreeMap<K, Vec<V>>> {
        self.as_view(|contents| {
            let mut map = BTreeMap::<K, Vec<V>>::new();
            for ((key, value), times) in contents {
                let values = map.entry(key.clone()).or_default();
                values.extend(copies(value.clone(), *times));
            }
            map
        })
    }
}

impl<'scope, T: Key> PCollection<'scope, T> {
    /// Makes any number of values of every value, with a look at `view`. When the view of a window
    /// changes, what was made with the old one is taken back and made anew.
    ///
    /// The view must be windowed as this collection is, or lie in the global window.
    ///
    /// **Late data.** What comes after its window has expired is a dead letter of this step.
    ///
    /// **State.** The elements of every window and the view, on every worker, until the window
    /// expires: a view that changes after that corrects nothing.
    ///
    /// ```
    /// use amend::prelude::*;
    ///
    /// let at = EventTime::from_seconds;
    /// let prices = [(("eur".to_owned(), 2), at(0)), (("eur".to_owned(), 3), at(9))];
    /// amend::run(&Options::default(), move |p| {
    ///     let orders = p.create("orders", [("eur".to_owned(), 10)]);
    ///     let rates = p.create_timestamped("rates", prices.clone()).as_map();
    ///     let paid = orders.par_do_with("convert", &rates, |(currency, sum), rates, output| {
    ///         output.push(sum * rates.get(&currency).copied().unwrap_or(1));
    ///     });
    ///     PAssert::that("paid", &paid).contains_in_any_order([30]);
    /// })?;
    /// # Ok::<(), amend::Error>(())
    /// ```
    pub fn par_do_with<X: Data, S: PartialEq + 'static, U: Data>(
        &self,
        name: &str,
        view: &View<'scope, X, S>,
        f: impl Fn(T, &S, &mut Vec<U>) + 'static,
    ) -> PCollection<'scope, U> {
        let step = self.pipeline.step(name);
        let side = &view.collection;
        let is_global = side.strategy.windows == super::read::global().windows;
        if !is_global {
            self.agree(&step, side);
        }
        if !is_global {
            self.refuse_unmerged(&step);
        }
        if side.piles_up {
            self.pipeline.refuse(
                &step,
                "looks at panes of which none is ever taken back",
                "use Accumulation::Retracting for the side input",
            );
        }
        let own = self.pipeline.worker() as u64;
        let workers = self.pipeline.workers() as u64;
        let main = self.inner.inner.clone();
        let main = main.map(move |(element, epoch, diff)| (Told::Main(own, element), epoch, diff));
        let told = side
            .inner
            .inner
            .clone()
            .flat_map(move |(element, epoch, diff)| {
                (0..workers).map(move |to| (Told::Side(to, element.clone()), epoch, diff))
            });
        let ticks = vec![self.ticks.clone(), side.ticks.clone()];
        let ticks = merge_ticks(&step, ticks).unwrap_or_else(|| self.ticks.clone());
        let both = [main.as_collection(), told.as_collection()];
        let intake = Intake {
            changes: concatenate(self.pipeline.scope, both),
            ticks: ticks.clone(),
            append_only: self.append_only && side.append_only,
            probe: self.pipeline.plan.probe.clone(),
        };
        let looking = Looking {
            make: Rc::clone(&view.make),
            f: Box::new(f),
            is_global,
            strategy: (*self.strategy).clone(),
            views: BTreeMap::new(),
            mains: BTreeMap::new(),
            made: Vec::new(),
        };
        let route = |told: &Told<T, X>| match told {
            Told::Main(to, _) | Told::Side(to, _) => *to,
        };
        let (made, refused) = stepwise(&step, intake, route, looking);
        keep_refused(&self.pipeline, &step, refused);
        let mut output = self.with(made);
        output.ticks = ticks;
        output.append_only = false;
        output
    }

    /// As [`PCollection::par_do_with`], with one value for every value.
    pub fn map_with<X: Data, S: PartialEq + 'static, U: Data>(
        &self,
        name: &str,
        view: &View<'scope, X, S>,
        f: impl Fn(T, &S) -> U + 'static,
    ) -> PCollection<'scope, U> {
        self.par_do_with(name, view, move |value, side, output| {
            output.push(f(value, side));
        })
    }
}

/// An element of one of the two collections, and the worker that is told of it: the main ones stay
/// where they are, the others go everywhere.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Told<T, X> {
    Main(u64, Element<T>),
    Side(u64, Element<X>),
}

type Making<T, S, U> = Box<dyn Fn(T, &S, &mut Vec<U>)>;

struct Looking<T, X, S, U> {
    make: Make<X, S>,
    f: Making<T, S, U>,
    /// Whether the view lies in the global window.
    is_global: bool,
    strategy: Strategy,
    /// By window of the view.
    views: BTreeMap<Window, Looked<X, S>>,
    /// By window of the elements.
    mains: BTreeMap<Window, HashMap<Element<T>, isize, foldhash::fast::RandomState>>,
    made: Vec<U>,
}

/// The view of a window.
struct Looked<X, S> {
    contents: Contents<X>,
    view: S,
}

impl<T: Key, X: Data, S: PartialEq, U: Data> Looking<T, X, S, U> {
    /// Makes what is made of `element` with `view`, `diff` times.
    fn make(
        f: &Making<T, S, U>,
        made: &mut Vec<U>,
        element: &Element<T>,
        view: &S,
        diff: isize,
        output: &mut Vec<(Element<U>, isize)>,
    ) {
        f(element.value.clone(), view, made);
        let at = |value| (element.with_value(value), diff);
        output.extend(made.drain(..).map(at));
    }

    fn view_window(&self, window: Window) -> Window {
        if self.is_global {
            Window::GLOBAL
        } else {
            window
        }
    }

    fn look(&mut self, window: Window) -> &mut Looked<X, S> {
        let make = &self.make;
        self.views.entry(window).or_insert_with(|| {
            let contents = Contents::new();
            let view = make(&contents);
            Looked { contents, view }
        })
    }

    /// Changes the views, and what was made with them.
    fn change(&mut self, sides: Vec<(Element<X>, isize)>, output: &mut Vec<(Element<U>, isize)>) {
        let mut windows = Vec::new();
        for (element, diff) in sides {
            windows.push(element.window);
            let looked = self.look(element.window);
            add(&mut looked.contents, element.value, diff);
        }
        windows.sort_unstable();
        windows.dedup();
        for window in windows {
            let Some(looked) = self.views.get_mut(&window) else {
                continue;
            };
            let view = (self.make)(&looked.contents);
            if view == looked.view {
                continue;
            }
            let before = std::mem::replace(&mut looked.view, view);
            let mains = self
                .mains
                .iter()
                .filter(|(of, _)| self.is_global || **of == window);
            for (element, times) in mains.flat_map(|(_, elements)| elements) {
                Self::make(&self.f, &mut self.made, element, &before, -times, output);
                Self::make(
                    &self.f,
                    &mut self.made,
                    element,
                    &looked.view,
                    *times,
                    output,
                );
            }
        }
    }
}

impl<T: Key, X: Data, S: PartialEq, U: Data> Steps<Told<T, X>, Element<U>, Refused<T>>
    for Looking<T, X, S, U>
{
    fn elements(
        &mut self,
        changes: Vec<(Told<T, X>, isize)>,
        now: Now,
        output: &mut Output<Element<U>, Refused<T>>,
    ) {
        let (mut mains, mut sides) = (Vec::new(), Vec::new());
        for (told, diff) in changes {
            match told {
                Told::Main(_, element) => mains.push((element, diff)),
                Told::Side(_, element) => sides.push((element, diff)),
            }
        }
        self.change(sides, &mut output.main);
        for (element, diff) in mains {
            let window = element.window;
            if now.watermark >= self.strategy.release(window) {
                output.aside.push((Refused::late(element), diff));
                continue;
            }
            let of_view = self.view_window(window);
            self.look(of_view);
            let Some(looked) = self.views.get(&of_view) else {
                continue;
            };
            let (f, made) = (&self.f, &mut self.made);
            Self::make(f, made, &element, &looked.view, diff, &mut output.main);
            let elements = self.mains.entry(window).or_default();
            let times = elements.entry(element.clone()).or_insert(0);
            *times += diff;
            if *times == 0 {
                elements.remove(&element);
            }
        }
    }

    fn tick(&mut self, now: Now, _: &mut Output<Element<U>, Refused<T>>) {
        let is_over = |window: &Window| now.watermark >= self.strategy.release(*window);
        self.mains.retain(|window, _| !is_over(window));
        if !self.is_global {
            self.views.retain(|window, _| !is_over(window));
        }
    }
}
