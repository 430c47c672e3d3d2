//! All values that two collections have for a key and window.

use super::dead::keep_refused;
use super::group::group;
use super::group_by_key::InOrder;
use super::par_do::Either;
use crate::pcollection::{Data, Key, PCollection};
use crate::windowing::grouping::Fold;

/// What two collections have for a key.
pub type CoGroup<A, B> = (Vec<A>, Vec<B>);

impl<'scope, K: Key, A: Data> PCollection<'scope, (K, A)> {
    /// The values that this collection and `other` have for every key and window, in order.
    ///
    /// ```
    /// use amend::prelude::*;
    ///
    /// amend::run(&Options::default(), |p| {
    ///     let emails = p.create("emails", [(1, "amy@x"), (2, "bo@x")].map(owned));
    ///     let phones = p.create("phones", [(1, "111"), (1, "112"), (3, "333")].map(owned));
    ///     let contacts = emails.co_group_by_key("contacts", &phones);
    ///     PAssert::that("contacts", &contacts).contains_in_any_order([
    ///         (1, (vec!["amy@x".to_owned()], vec!["111".to_owned(), "112".to_owned()])),
    ///         (2, (vec!["bo@x".to_owned()], vec![])),
    ///         (3, (vec![], vec!["333".to_owned()])),
    ///     ]);
    /// })?;
    ///
    /// fn owned((key, text): (i32, &str)) -> (i32, String) {
    ///     (key, text.to_owned())
    /// }
    /// # Ok::<(), amend::Error>(())
    /// ```
    pub fn co_group_by_key<B: Data>(
        &self,
        name: &str,
        other: &PCollection<'scope, (K, B)>,
    ) -> PCollection<'scope, (K, CoGroup<A, B>)> {
        let step = self.pipeline.step(name);
        self.agree(&step, other);
        let both = self.either(name, other);
        let (groups, refused) = group(&step, &both, Both::default());
        keep_refused(&self.pipeline, &step, refused);
        groups
    }

    /// The elements of two collections, each marked with where it comes from.
    pub(super) fn either<B: Data>(
        &self,
        name: &str,
        other: &PCollection<'scope, (K, B)>,
    ) -> PCollection<'scope, (K, Either<A, B>)> {
        self.pipeline.within(name, || {
            let left = self.map_values("left", Either::Left);
            let mut right = other.map_values("right", Either::Right);
            // What both are, `agree` has said; the trigger is that of the left one.
            let lateness = right.strategy.allowed_lateness_us;
            right.strategy = left.strategy.clone();
            if lateness > right.strategy.allowed_lateness_us {
                let strategy = std::rc::Rc::make_mut(&mut right.strategy);
                strategy.allowed_lateness_us = lateness;
            }
            left.flatten("both", &[&right])
        })
    }
}

/// Holds all values of two sides.
pub(super) struct Both<A, B>(InOrder<A>, InOrder<B>);

impl<A, B> Default for Both<A, B> {
    fn default() -> Self {
        Both(InOrder::default(), InOrder::default())
    }
}

impl<A: Data, B: Data> Fold for Both<A, B> {
    type Value = Either<A, B>;
    type Content = (<InOrder<A> as Fold>::Content, <InOrder<B> as Fold>::Content);
    type Output = (Vec<A>, Vec<B>);

    fn start(&self) -> Self::Content {
        (self.0.start(), self.1.start())
    }

    fn add(&self, content: &mut Self::Content, value: Either<A, B>, diff: isize) {
        match value {
            Either::Left(value) => self.0.add(&mut content.0, value, diff),
            Either::Right(value) => self.1.add(&mut content.1, value, diff),
        }
    }

    fn absorb(&self, content: &mut Self::Content, other: Self::Content) {
        self.0.absorb(&mut content.0, other.0);
        self.1.absorb(&mut content.1, other.1);
    }

    fn output(&self, content: &mut Self::Content) -> Option<Self::Output> {
        let left = self.0.output(&mut content.0)?;
        Some((left, self.1.output(&mut content.1)?))
    }
}
