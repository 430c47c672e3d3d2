//! The forms in which a document about windows is run: how its elements are shared out to bundles.
//!
//! Where the order of elements does not matter, the panes must be the same in every form; Beam runs
//! its transcripts so. All forms of a document are run at once: each has a key of its own, and an
//! action has as many epochs as the form with the most bundles needs. A bundle with an element at
//! or behind the watermark is never split: each part of it would make a late pane.

use std::time::Duration;

use super::scalar::Scalar;
use crate::testing::test_stream::TestStream;
use crate::testing::workload::Random;
use crate::time::EventTime;

/// How the elements of an `input` are shared out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form {
    /// How messages name it.
    pub(super) name: &'static str,
    order: Order,
    /// Elements of a bundle, at most.
    bundle: usize,
}

#[derive(Clone, Copy, Debug)]
enum Order {
    Written,
    Reversed,
    Shuffled,
}

/// The forms of a document in which the order does not matter.
pub(super) const ALL: [Form; 6] = [
    form("as written", Order::Written, usize::MAX),
    form("reversed", Order::Reversed, usize::MAX),
    form("shuffled", Order::Shuffled, usize::MAX),
    form("one element a bundle", Order::Written, 1),
    form("one element a bundle, reversed", Order::Reversed, 1),
    form("two elements a bundle", Order::Shuffled, 2),
];

/// The forms of another document: nothing but its keys may tell two runs from each other.
pub(super) const AS_WRITTEN: [Form; 2] = [
    form("under one of two keys", Order::Written, usize::MAX),
    form("under the other of two keys", Order::Written, usize::MAX),
];

const fn form(name: &'static str, order: Order, bundle: usize) -> Form {
    Form {
        name,
        order,
        bundle,
    }
}

/// What a step of a transcript does.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Input(Vec<Input>),
    Watermark(EventTime),
    Clock(Duration),
}

/// An element of a transcript.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Input {
    pub(super) key: Option<Scalar>,
    pub(super) value: Scalar,
    pub(super) time: EventTime,
}

/// The number of a form, and the key of an element in it.
pub(super) type Key = (u8, Option<Scalar>);

/// An element as it is run.
pub(super) type Row = (Key, Scalar);

/// The steps of a transcript in all forms.
#[derive(Clone, Debug)]
pub(super) struct Play {
    pub(super) stream: TestStream<Row>,
    /// For every epoch the step that it is a part of.
    pub(super) epochs: Vec<usize>,
}

impl Form {
    /// The bundles of `elements`.
    fn bundles(&self, elements: &[Input], may_split: bool) -> Vec<Vec<Input>> {
        let mut elements = elements.to_vec();
        match self.order {
            Order::Written => {}
            Order::Reversed => elements.reverse(),
            Order::Shuffled => {
                let mut random = Random::new(elements.len() as u64);
                for at in (1..elements.len()).rev() {
                    elements.swap(at, random.below(at as u64 + 1) as usize);
                }
            }
        }
        let size = if may_split { self.bundle } else { usize::MAX };
        elements.chunks(size).map(<[Input]>::to_vec).collect()
    }
}

/// The steps in all of `forms`.
pub(super) fn play<'a>(steps: impl IntoIterator<Item = &'a Step>, forms: &[Form]) -> Play {
    let mut stream = TestStream::new();
    let mut epochs = Vec::new();
    let mut watermark = EventTime::MIN;
    for (at, step) in steps.into_iter().enumerate() {
        match step {
            Step::Input(elements) => {
                let may_split = !has_late(elements, watermark);
                let bundles = forms.iter().enumerate().map(|(number, form)| {
                    let bundles = form.bundles(elements, may_split).into_iter();
                    bundles
                        .map(|bundle| rows(number, bundle))
                        .collect::<Vec<_>>()
                });
                for bundle in side_by_side(bundles.collect()) {
                    stream = stream.add_elements(bundle);
                    epochs.push(at);
                }
            }
            Step::Watermark(to) => {
                watermark = watermark.max(*to);
                stream = stream.advance_watermark_to(*to);
                epochs.push(at);
            }
            Step::Clock(by) => {
                stream = stream.advance_processing_time(*by);
                epochs.push(at);
            }
        }
    }
    Play { stream, epochs }
}

/// Everything in one bundle, and then the end of the input, as a batch is run; `None` where an
/// element is late in the transcript, as it is not in a batch.
pub(super) fn batch<'a>(steps: impl IntoIterator<Item = &'a Step>) -> Option<TestStream<Row>> {
    let mut all = Vec::new();
    let mut watermark = EventTime::MIN;
    for step in steps {
        match step {
            Step::Input(elements) if has_late(elements, watermark) => return None,
            Step::Input(elements) => all.extend(rows(0, elements.clone())),
            Step::Watermark(to) => watermark = watermark.max(*to),
            Step::Clock(_) => {}
        }
    }
    let stream = TestStream::new().add_elements(all);
    Some(stream.advance_watermark_to_infinity())
}

/// Whether an element is at or behind the watermark.
fn has_late(elements: &[Input], watermark: EventTime) -> bool {
    elements.iter().any(|element| element.time <= watermark)
}

fn rows(form: usize, elements: Vec<Input>) -> Vec<(Row, EventTime)> {
    // There are few forms.
    let form = form as u8;
    let row = |input: Input| (((form, input.key), input.value), input.time);
    elements.into_iter().map(row).collect()
}

/// The first bundles of all forms together, then the second ones, and so on; at least one.
fn side_by_side(forms: Vec<Vec<Vec<(Row, EventTime)>>>) -> Vec<Vec<(Row, EventTime)>> {
    let bundles = forms.iter().map(Vec::len).max().unwrap_or(0).max(1);
    let mut together = vec![Vec::new(); bundles];
    for form in forms {
        for (at, bundle) in form.into_iter().enumerate() {
            together[at].extend(bundle);
        }
    }
    together
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(times: &[i64]) -> Vec<Input> {
        let input = |time: &i64| Input {
            key: None,
            value: Scalar::Int(*time),
            time: EventTime(*time),
        };
        times.iter().map(input).collect()
    }

    #[test]
    fn bundles_hold_every_element_once() {
        let elements = inputs(&[1, 2, 3, 4, 5]);
        let sizes = ALL.map(|form| form.bundles(&elements, true).len());
        assert_eq!(sizes, [1, 1, 1, 5, 5, 3]);
        for form in ALL {
            let mut all = form.bundles(&elements, true).concat();
            all.sort_by_key(|input| input.time);
            assert_eq!(all, elements, "{}", form.name);
            assert_eq!(form.bundles(&elements, false).len(), 1, "{}", form.name);
            assert!(form.bundles(&[], true).is_empty(), "{}", form.name);
        }
        assert_ne!(ALL[2].bundles(&elements, true)[0], elements);
        assert_eq!(ALL[4].bundles(&elements, true)[0], inputs(&[5]));
    }

    #[test]
    fn late_bundles_are_not_split() {
        let input = |times| Step::Input(inputs(times));
        let to = |time| Step::Watermark(EventTime(time));
        let epochs = |steps: &[Step]| play(steps, &ALL).epochs;
        assert_eq!(epochs(&[input(&[1, 2]), to(9), input(&[])]), [0, 0, 1, 2]);
        assert_eq!(
            epochs(&[to(5), input(&[6, 7]), input(&[5, 8])]),
            [0, 1, 1, 2]
        );
        assert_eq!(epochs(&[to(5), to(3), input(&[4, 9])]), [0, 1, 2]);
        assert!(batch(&[input(&[1]), to(5), input(&[6])]).is_some());
        assert!(batch(&[input(&[1]), to(5), input(&[5])]).is_none());
    }
}
