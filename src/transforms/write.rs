//! Collections to the outside: every change of every epoch, once the epoch is complete.

use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use differential_dataflow::consolidation::consolidate;
use serde::Serialize;
use timely::dataflow::channels::pact;
use timely::dataflow::operators::Probe;
use timely::dataflow::operators::generic::Operator;

use super::multiset::net;
use crate::operators::per_epoch::PerEpoch;
use crate::pcollection::{Data, Element, PCollection};
use crate::time::Epoch;
use crate::windowing::{Timing, Window};
use crate::{Error, Result};

/// An element and by how much its multiplicity changes.
pub type Change<T> = (Element<T>, isize);

/// Takes the changes of a collection, epoch by epoch.
pub trait Sink<T> {
    /// Opens it. This is done once, on the first worker.
    ///
    /// # Errors
    /// Where it cannot be opened.
    fn open(&self) -> Result<Box<dyn Writer<T>>>;
}

/// An open sink.
pub trait Writer<T> {
    /// Takes the net changes of an epoch: what is taken back first, then what is added, each in the
    /// order of window, event time, value and pane.
    ///
    /// # Errors
    /// Where they cannot be written.
    fn write(&mut self, epoch: Epoch, changes: &[Change<T>]) -> Result<()>;
}

/// A function is a sink: it is called with every change.
impl<T: 'static, F: Fn(Epoch, &Element<T>, isize) + Clone + 'static> Sink<T> for F {
    fn open(&self) -> Result<Box<dyn Writer<T>>> {
        struct Calling<F>(F);
        impl<T, F: Fn(Epoch, &Element<T>, isize)> Writer<T> for Calling<F> {
            fn write(&mut self, epoch: Epoch, changes: &[Change<T>]) -> Result<()> {
                for (element, diff) in changes {
                    (self.0)(epoch, element, *diff);
                }
                Ok(())
            }
        }
        Ok(Box::new(Calling(self.clone())))
    }
}

/// A changelog of JSON lines in a file, or on standard output.
///
/// A line is `{"epoch":0,"op":"insert","event_time":..,"window":[..,..],"pane":"on-time","value":..}`;
/// times are ISO 8601, the window is left out where it is the global one, the pane where nothing
/// was grouped. An element that is there several times has as many lines.
#[derive(Clone, Debug)]
pub struct JsonChanges(Option<PathBuf>);

impl JsonChanges {
    /// Into the file at `path`, which is replaced.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        JsonChanges(Some(path.into()))
    }

    /// To standard output.
    pub fn stdout() -> Self {
        JsonChanges(None)
    }
}

impl<T: Serialize> Sink<T> for JsonChanges {
    fn open(&self) -> Result<Box<dyn Writer<T>>> {
        let (label, writer): (String, Box<dyn Write>) = match &self.0 {
            None => ("standard output".to_owned(), Box::new(std::io::stdout())),
            Some(path) => {
                let label = format!("\"{}\"", path.display());
                let file = std::fs::File::create(path).map_err(|error| {
                    Error::unavailable(format!("could not write {label}")).with_source(error)
                })?;
                (label, Box::new(std::io::BufWriter::new(file)))
            }
        };
        Ok(Box::new(Lines { label, writer }))
    }
}

struct Lines {
    label: String,
    writer: Box<dyn Write>,
}

impl<T: Serialize> Writer<T> for Lines {
    fn write(&mut self, epoch: Epoch, changes: &[Change<T>]) -> Result<()> {
        let mut text = Vec::new();
        for (element, diff) in changes {
            let start = text.len();
            write_line(&mut text, epoch, element, *diff > 0).map_err(|error| {
                Error::usage(format!(
                    "a value cannot be written as JSON to {}",
                    self.label
                ))
                .with_source(error)
            })?;
            let line = text[start..].to_vec();
            for _ in 1..diff.unsigned_abs() {
                text.extend_from_slice(&line);
            }
        }
        let written = self
            .writer
            .write_all(&text)
            .and_then(|()| self.writer.flush());
        written.map_err(|error| {
            Error::unavailable(format!("could not write to {}", self.label)).with_source(error)
        })
    }
}

fn write_line<T: Serialize>(
    to: &mut Vec<u8>,
    epoch: Epoch,
    element: &Element<T>,
    insert: bool,
) -> serde_json::Result<()> {
    #[derive(Serialize)]
    struct Line<'a, T> {
        epoch: Epoch,
        op: &'static str,
        event_time: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        window: Option<[String; 2]>,
        #[serde(skip_serializing_if = "Option::is_none")]
        pane: Option<&'static str>,
        value: &'a T,
    }
    let window = element.window;
    let line = Line {
        epoch,
        op: if insert { "insert" } else { "retract" },
        event_time: element.event_time.to_string(),
        window: (window != Window::GLOBAL)
            .then(|| [window.start.to_string(), window.end.to_string()]),
        pane: match element.pane.timing {
            Timing::Unknown => None,
            Timing::Early => Some("early"),
            Timing::OnTime => Some("on-time"),
            Timing::Late => Some("late"),
        },
        value: &element.value,
    };
    serde_json::to_writer(&mut *to, &line)?;
    to.push(b'\n');
    Ok(())
}

/// What a collection was, change by change; filled while a pipeline runs, and read afterwards.
///
/// ```
/// use amend::prelude::*;
///
/// let sums = Collected::new();
/// let into = sums.clone();
/// amend::run(&Options::default(), move |p| {
///     let numbers = p.create("numbers", [("a".to_owned(), 1), ("a".to_owned(), 2)]);
///     numbers.sum_per_key("sums").collect_into("collect", &into);
/// })?;
/// assert_eq!(sums.values(), [("a".to_owned(), 3)]);
/// # Ok::<(), amend::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Collected<T>(Arc<Mutex<Log<T>>>);

type Log<T> = Vec<(Epoch, Change<T>)>;

impl<T> Default for Collected<T> {
    fn default() -> Self {
        Collected(Arc::default())
    }
}

impl<T: Data> Collected<T> {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// All changes, by epoch; within an epoch as [`Writer::write`] says, but nothing is netted.
    pub fn changes(&self) -> Vec<(Epoch, Change<T>)> {
        let mut changes = self.lock().clone();
        changes.sort_by(|(epoch_a, a), (epoch_b, b)| {
            epoch_a.cmp(epoch_b).then_with(|| order(a).cmp(&order(b)))
        });
        changes
    }

    /// What the collection holds in the end, each element with how often it is there.
    pub fn elements(&self) -> Vec<Change<T>> {
        let changes = self.lock();
        let mut elements = changes.iter().map(|(_, change)| change.clone()).collect();
        consolidate(&mut elements);
        elements
    }

    /// The values that the collection holds in the end, in order.
    pub fn values(&self) -> Vec<T> {
        let changes = self.lock();
        let values = changes.iter();
        net(values.map(|(_, (element, diff))| (element.value.clone(), *diff)))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Log<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn order<T>((element, diff): &Change<T>) -> impl Ord + '_
where
    T: Ord,
{
    (
        *diff > 0,
        element.window,
        element.event_time,
        &element.value,
        element.pane,
    )
}

impl<'scope, T: Data> PCollection<'scope, T> {
    /// Writes every change to `sink`, epoch by epoch.
    pub fn write(&self, name: &str, sink: impl Sink<T> + 'static) {
        let step = self.pipeline.step(name);
        let settings = &self.pipeline.plan.settings;
        let fail = settings.fail.clone();
        let writer = (self.pipeline.worker() == 0).then(|| sink.open());
        let mut writer = match writer.transpose() {
            Ok(writer) => writer,
            Err(error) => {
                self.pipeline.fail(error);
                None
            }
        };
        let mut waiting = PerEpoch::<Vec<Change<T>>>::new(1);
        let to_first = pact::Exchange::new(|_: &(Element<T>, Epoch, isize)| 0);
        let stream = self.inner.inner.clone();
        let written = stream
            .unary_frontier::<timely::container::CapacityContainerBuilder<Vec<()>>, _, _, _>(
                to_first,
                &step,
                move |_, _| {
                    move |(input, frontier), _output| {
                        input.for_each(|capability, data| {
                            for (element, epoch, diff) in data.drain(..) {
                                waiting.at(epoch, &capability).push((element, diff));
                            }
                        });
                        while let Some((epoch, mut due)) =
                            waiting.pop_passed(std::slice::from_ref(frontier))
                        {
                            consolidate(&mut due.data);
                            due.data.sort_by(|a, b| order(a).cmp(&order(b)));
                            if let Some(open) = &mut writer
                                && !due.data.is_empty()
                                && let Err(error) = open.write(epoch, &due.data)
                            {
                                writer = None;
                                fail(error);
                            }
                        }
                    }
                },
            );
        written.probe_with(&self.pipeline.plan.probe);
    }

    /// Collects every change into `into`.
    pub fn collect_into(&self, name: &str, into: &Collected<T>) {
        self.pipeline.step(name);
        let into = into.clone();
        self.inner
            .clone()
            .inspect(move |(element, epoch, diff)| {
                into.lock().push((*epoch, (element.clone(), *diff)));
            })
            .inner
            .probe_with(&self.pipeline.plan.probe);
    }
}
