//! Copies under any key → which one takes the seat.
//!
//! **Semantics.** Input: a collection of (key, copy). Of the copies with one key, one takes the
//! seat: with [`Keep::First`] the first valid one by position, with [`Keep::Last`] the last valid
//! one; if none is valid, the first, or last. The output is the collection of what is said of each
//! copy: `Kept` or `Invalid` of the one in the seat, `Duplicate` or `Conflict` of the others.
//!
//! **State.** Differential's arrangements of the input and of the output: every copy twice. For
//! copies by id and time with [`Keep::First`], [`sightings`](super::sightings) says the same in a
//! tenth of the memory.
//!
//! **Late data.** A copy that comes late may take the seat; what was said before is retracted.

use differential_dataflow::{ExchangeData, Hashable, VecCollection};
use serde::{Deserialize, Serialize};

use super::{Label, Position, Print};
use crate::time::Epoch;

/// Which copy of an event takes the seat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// The first valid one in the input.
    #[default]
    First,
    /// The last valid one in the input.
    Last,
}

/// A copy of an event: where it stands, and what it looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Copied {
    /// Its place in the input.
    pub position: Position,
    /// What it looks like.
    pub print: Print,
}

/// What is said of a copy, and whether a later copy may change it.
pub type Judged = (Position, Label, bool);

/// Judges the copies of each key.
///
/// ```
/// use amend::operators::dedup::{Keep, Copied, dedup};
/// use amend::operators::{Label, Position, Print};
/// use differential_dataflow::input::Input;
///
/// timely::execute_directly(|worker| {
///     let seen = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
///     let out = seen.clone();
///     let mut input = worker.dataflow(|scope| {
///         let (input, copies) = scope.new_collection();
///         dedup(copies, Keep::Last).inspect(move |((position, label, _), _, diff)| {
///             out.borrow_mut().push((position.epoch, *label, *diff))
///         });
///         input
///     });
///     let copy = |epoch, hash| Copied {
///         position: Position { epoch, ..Position::default() },
///         print: Print::new(hash, true),
///     };
///     input.insert(("a".to_owned(), copy(0, 10)));
///     input.advance_to(1);
///     input.insert(("a".to_owned(), copy(1, 20)));
///     input.close();
///     while worker.has_dataflows() {
///         worker.step();
///     }
///     let mut seen = seen.borrow().clone();
///     seen.sort();
///     let expected = [(0, Label::Kept, -1), (0, Label::Kept, 1), (0, Label::Conflict, 1), (1, Label::Kept, 1)];
///     assert_eq!(seen, expected);
/// });
/// ```
pub fn dedup<'scope, K>(
    copies: VecCollection<'scope, Epoch, (K, Copied)>,
    keep: Keep,
) -> VecCollection<'scope, Epoch, Judged>
where
    K: ExchangeData + Hashable,
{
    copies
        .reduce_named("Dedup", move |_key, copies, said| judge(keep, copies, said))
        .map(|(_key, judged)| judged)
}

/// Judges the copies of one key, which are sorted by position.
fn judge(keep: Keep, copies: &[(&Copied, isize)], said: &mut Vec<(Judged, isize)>) {
    let mut present = copies
        .iter()
        .filter(|(_, diff)| *diff > 0)
        .map(|(copy, _)| *copy);
    let is_valid = |copy: &&Copied| copy.print.is_valid();
    let seat = match keep {
        Keep::First => {
            let first = present.clone().next();
            present.find(is_valid).or(first)
        }
        Keep::Last => {
            let last = present.clone().next_back();
            present.rfind(is_valid).or(last)
        }
    };
    let Some(seat) = seat else { return };
    let open = keep == Keep::Last || !seat.print.is_valid();
    for (copy, diff) in copies {
        let label = if copy.position == seat.position {
            if seat.print.is_valid() {
                Label::Kept
            } else {
                Label::Invalid
            }
        } else {
            copy.print.label_beside(seat.print)
        };
        said.push(((copy.position, label, open), *diff));
    }
}
