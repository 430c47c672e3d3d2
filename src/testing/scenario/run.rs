//! Runs a document about windows: as GroupByKey and as CombinePerKey, in all forms at once.

use std::fmt;

use super::forms::{Key, Row};
use super::pane::{Content, Pane};
use super::scalar::Scalar;
use super::setup::{Combine, Setup};
use crate::Result;
use crate::pcollection::PCollection;
use crate::runtime::job::{Options, run};
use crate::testing::test_stream::TestStream;
use crate::time::Epoch;
use crate::transforms::combine::CombineFn;
use crate::transforms::combiners::{Count, Max, Mean, Min, Sum};
use crate::transforms::write::Collected;
use crate::windowing::Accumulation;

/// How elements are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    GroupByKey,
    CombinePerKey,
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What one shape lets through: the epoch, the number of the form, and the pane.
pub(super) type Panes = Vec<(Epoch, u8, Pane)>;

/// What comes of a document in one shape.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) shape: Shape,
    pub(super) panes: Panes,
    /// The panes of the batch, where there is one.
    pub(super) batch: Panes,
}

/// Runs `stream`, and `batch` beside it.
pub(super) fn outcomes(
    setup: &Setup,
    stream: TestStream<Row>,
    batch: Option<TestStream<Row>>,
    workers: usize,
) -> Result<Vec<Outcome>> {
    let shapes = shapes(setup);
    let collected: Vec<_> = shapes
        .iter()
        .map(|shape| (*shape, Collected::new(), Collected::new()))
        .collect();
    let (setup, into) = (setup.clone(), collected.clone());
    run(&Options::default().workers(workers), move |p| {
        let windowed = |name: &str, stream: &TestStream<Row>| {
            p.within(name, || {
                p.read("elements", stream.clone())
                    .window_into("windows", setup.windowing())
            })
        };
        let steps = windowed("steps", &stream);
        let batch = batch.as_ref().map(|stream| windowed("batch", stream));
        for (shape, of_steps, of_batch) in &into {
            let collect = |name: &str, windowed, into| {
                p.within(name, || {
                    contents(windowed, *shape, setup.combine).collect_into("collect", into);
                });
            };
            collect(&format!("{shape}"), &steps, of_steps);
            if let Some(batch) = &batch {
                collect(&format!("{shape} of the batch"), batch, of_batch);
            }
        }
        // What is refused has no pane, which is all that a document can say of it.
        p.dead_letters("refused");
    })?;
    let outcome = |(shape, of_steps, of_batch)| Outcome {
        shape,
        panes: panes(&of_steps),
        batch: panes(&of_batch),
    };
    Ok(collected.into_iter().map(outcome).collect())
}

fn panes(collected: &Collected<(Key, Content)>) -> Panes {
    let changes = collected.changes().into_iter();
    changes
        .flat_map(|(epoch, (element, diff))| {
            let (form, key) = element.value.0.clone();
            let pane = Pane::new(key, element.map(|(_, content)| content), diff);
            std::iter::repeat_n((epoch, form, pane), diff.unsigned_abs())
        })
        .collect()
}

/// The shapes in which a document is run.
fn shapes(setup: &Setup) -> Vec<Shape> {
    // There is no extreme of nothing, so that an empty pane is one only where all values are kept.
    let is_extreme = matches!(setup.combine, Some(Combine::Min | Combine::Max));
    if is_extreme && setup.accumulation == Accumulation::Discarding {
        return vec![Shape::CombinePerKey];
    }
    vec![Shape::GroupByKey, Shape::CombinePerKey]
}

fn contents<'scope>(
    windowed: &PCollection<'scope, Row>,
    shape: Shape,
    combine: Option<Combine>,
) -> PCollection<'scope, (Key, Content)> {
    use Content::{Value, Values};
    let int = |count| Value(Scalar::Int(i64::try_from(count).unwrap_or(i64::MAX)));
    match combine {
        None => combined(windowed, shape, Concatenation, Values),
        Some(Combine::Sum) => combined(windowed, shape, Sum::<Scalar>::default(), Value),
        Some(Combine::Count) => combined(windowed, shape, Count::<Scalar>::default(), int),
        Some(Combine::Min) => combined(windowed, shape, Min::<Scalar>::default(), Value),
        Some(Combine::Max) => combined(windowed, shape, Max::<Scalar>::default(), Value),
        Some(Combine::Mean) => combined(windowed, shape, Mean::<Scalar>::default(), |mean| {
            Value(Scalar::Float(mean))
        }),
    }
}

/// What `combine` makes of the values of every key and window, in either shape.
fn combined<'scope, C: CombineFn<Input = Scalar>>(
    windowed: &PCollection<'scope, Row>,
    shape: Shape,
    combine: C,
    content: impl Fn(C::Output) -> Content + 'static,
) -> PCollection<'scope, (Key, Content)> {
    match shape {
        Shape::GroupByKey => {
            let groups = windowed.group_by_key("group");
            groups.map("combine", move |(key, values)| {
                let mut accumulator = combine.create();
                for value in &values {
                    combine.add(&mut accumulator, value);
                }
                (key, content(combine.extract(&accumulator)))
            })
        }
        Shape::CombinePerKey => windowed
            .combine_per_key("combine", combine)
            .map("content", move |(key, output)| (key, content(output))),
    }
}

/// Keeps all values, in order. It cannot take one out again.
struct Concatenation;

impl CombineFn for Concatenation {
    type Input = Scalar;
    type Accumulator = Vec<Scalar>;
    type Output = Vec<Scalar>;

    fn create(&self) -> Vec<Scalar> {
        Vec::new()
    }

    fn add(&self, values: &mut Vec<Scalar>, value: &Scalar) {
        let at = values.partition_point(|held| held <= value);
        values.insert(at, value.clone());
    }

    fn merge(&self, values: &mut Vec<Scalar>, other: Vec<Scalar>) {
        values.extend(other);
        values.sort();
    }

    fn extract(&self, values: &Vec<Scalar>) -> Vec<Scalar> {
        values.clone()
    }
}
