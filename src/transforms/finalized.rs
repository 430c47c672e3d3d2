//! Only what is final: elements that nothing can take back any more.

use std::collections::BTreeMap;

use differential_dataflow::Hashable;

use super::dead::keep_refused;
use super::group::Refused;
use super::stepwise::{Intake, Output, Steps, stepwise};
use crate::pcollection::{Data, Element, PCollection};
use crate::time::EventTime;
use crate::windowing::Strategy;
use crate::windowing::grouping::Now;

impl<'scope, T: Data + std::hash::Hash> PCollection<'scope, T> {
    /// Holds elements until the watermark has passed all that could change them: the end of their
    /// window and the allowed lateness. What comes out is never taken back, so that transforms that
    /// cannot take anything back may follow.
    ///
    /// **Late data.** What changes after that is a dead letter of this step.
    ///
    /// **State.** What is not final yet. In the global window that is everything, until the input
    /// ends.
    pub fn finalized(&self, name: &str) -> Self {
        let step = self.pipeline.step(name);
        let holding = Holding {
            strategy: (*self.strategy).clone(),
            held: BTreeMap::new(),
        };
        let route = |element: &Element<T>| element.hashed();
        let (final_elements, refused) = stepwise(&step, Intake::of(self), route, holding);
        keep_refused(&self.pipeline, &step, refused);
        let mut output = self.with(final_elements);
        output.append_only = true;
        output
    }
}

struct Holding<T> {
    strategy: Strategy,
    /// By the watermark that makes them final.
    held: BTreeMap<EventTime, BTreeMap<Element<T>, isize>>,
}

impl<T: Data> Steps<Element<T>, Element<T>, Refused<T>> for Holding<T> {
    fn elements(
        &mut self,
        changes: Vec<(Element<T>, isize)>,
        now: Now,
        output: &mut Output<Element<T>, Refused<T>>,
    ) {
        for (element, diff) in changes {
            let end = self.strategy.release(element.window);
            if now.watermark >= end {
                output.aside.push((Refused::late(element), diff));
            } else {
                let held = self.held.entry(end).or_default();
                super::multiset::add(held, element, diff);
            }
        }
    }

    fn tick(&mut self, now: Now, output: &mut Output<Element<T>, Refused<T>>) {
        while let Some(first) = self.held.first_entry() {
            if *first.key() > now.watermark {
                break;
            }
            for (element, times) in first.remove() {
                if times > 0 {
                    output.main.push((element, times));
                } else {
                    // What is taken back was never here.
                    output.aside.push((Refused::late(element), times));
                }
            }
        }
    }
}
