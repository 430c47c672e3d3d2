//! Dead letters of all steps, in one collection.

use std::rc::Rc;

use differential_dataflow::collection::concatenate;

use super::group::{Refusals, Refused};
use super::read::{global, merge_ticks};
use crate::io::dead_letter::{DeadLetter, Refusal};
use crate::pcollection::{Data, Element, PCollection};
use crate::pipeline::Pipeline;
use crate::time::EventTime;

impl<'scope> Pipeline<'scope> {
    /// Everything that the steps so far have set aside, under the names of the steps. Ask for it
    /// after the steps that are to be in it.
    ///
    /// A letter is taken back when the element it is about is taken back.
    pub fn dead_letters(&self, name: &str) -> PCollection<'scope, DeadLetter> {
        let step = self.step(name);
        self.plan.dead_are_read.set(true);
        let all = self.plan.dead.borrow().clone();
        let letters = concatenate(self.scope, all);
        let elements = letters.map(|letter: DeadLetter| {
            let event_time = letter.event_time.unwrap_or(EventTime::MIN);
            Element::new(letter, event_time)
        });
        let ticks = self.plan.ticks.borrow().clone();
        PCollection {
            inner: elements,
            ticks: merge_ticks(&step, ticks).unwrap_or_else(|| self.no_ticks()),
            strategy: Rc::new(global()),
            append_only: false,
            piles_up: false,
            pipeline: self.clone(),
        }
    }
}

/// Takes note of what a grouping refused.
pub(super) fn keep_refused<'scope, T: Data>(
    pipeline: &Pipeline<'scope>,
    step: &str,
    refused: Refusals<'scope, T>,
) {
    let step = step.to_owned();
    let letters = refused.map(move |Refused { element, reason }| {
        let detail = match reason {
            Refusal::Closed => format!("the trigger of {:?} is finished", element.window),
            _ => format!("{:?} has expired", element.window),
        };
        DeadLetter::about(&step, reason, detail, element.event_time, &element.value)
    });
    pipeline.plan.dead.borrow_mut().push(letters);
}
