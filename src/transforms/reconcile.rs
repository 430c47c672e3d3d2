//! Two collections that should say the same: where they do, and where they don't.

use serde::{Deserialize, Serialize};

use crate::pcollection::{Data, Key, PCollection};

/// What two collections say of a key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Reconciled<A, B> {
    /// Both say the same: this.
    Matched(Vec<A>),
    /// Only the right one says something.
    MissingLeft(Vec<B>),
    /// Only the left one says something.
    MissingRight(Vec<A>),
    /// They say different things.
    Different {
        /// What the left one says.
        left: Vec<A>,
        /// What the right one says.
        right: Vec<B>,
    },
}

impl<'scope, K: Key, A: Data> PCollection<'scope, (K, A)> {
    /// Compares what this collection and `other` say of every key and window, whenever the trigger
    /// asks for it: in order, value by value, with `matches`.
    ///
    /// ```
    /// use amend::prelude::*;
    ///
    /// amend::run(&Options::default(), |p| {
    ///     let shop = p.create("shop", [("o1".to_owned(), 10), ("o2".to_owned(), 20)]);
    ///     let bank = p.create("bank", [("o2".to_owned(), 25), ("o3".to_owned(), 30)]);
    ///     let ledger = shop.reconcile("ledger", &bank, |a, b| a == b);
    ///     PAssert::that("ledger", &ledger).contains_in_any_order([
    ///         ("o1".to_owned(), Reconciled::MissingRight(vec![10])),
    ///         ("o2".to_owned(), Reconciled::Different { left: vec![20], right: vec![25] }),
    ///         ("o3".to_owned(), Reconciled::MissingLeft(vec![30])),
    ///     ]);
    /// })?;
    /// # Ok::<(), amend::Error>(())
    /// ```
    pub fn reconcile<B: Data>(
        &self,
        name: &str,
        other: &PCollection<'scope, (K, B)>,
        matches: impl Fn(&A, &B) -> bool + 'static,
    ) -> PCollection<'scope, (K, Reconciled<A, B>)> {
        self.pipeline.within(name, || {
            let both = self.co_group_by_key("group", other);
            both.map_values("compare", move |(left, right)| {
                let same = left.len() == right.len();
                let same = same && left.iter().zip(&right).all(|(a, b)| matches(a, b));
                match (left.is_empty(), right.is_empty()) {
                    _ if same => Reconciled::Matched(left),
                    (true, _) => Reconciled::MissingLeft(right),
                    (_, true) => Reconciled::MissingRight(left),
                    _ => Reconciled::Different { left, right },
                }
            })
        })
    }
}
