//! What is retained of one id: the times at which it was seen, and who sits there.
//!
//! Nearly every id was seen once, so one sighting is held in place and only further ones cost an
//! allocation. The form is a function of the content: [`Held::from_many`] always picks the smallest.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::operators::Print;

/// What is retained of one id. `queued` says whether the id waits among the heads of runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Held {
    /// One event, judged for good.
    Plain {
        time: i64,
        print: Print,
        tag: u32,
        #[serde(skip)]
        queued: bool,
    },
    /// One event, whose copies are in a group.
    Open {
        time: i64,
        group: u32,
        tag: u32,
        #[serde(skip)]
        queued: bool,
    },
    /// One event with a key of its own.
    Keyed {
        time: i64,
        group: u32,
        tag: u32,
        #[serde(skip)]
        queued: bool,
    },
    /// Anything else.
    Many(Box<Many>),
}

/// What is retained of an id that does not fit one of the small forms.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Many {
    /// Every time at which it was seen.
    pub(super) times: BTreeMap<i64, Seat>,
    /// The groups of its events that have keys of their own, ascending.
    pub(super) keyed: Vec<u32>,
    /// The tag at the latest time.
    pub(super) tag: u32,
    /// When the id is ripe: the latest of what its events count as.
    pub(super) ripe: i64,
    #[serde(skip)]
    pub(super) queued: bool,
}

/// Who sits at one id and time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Seat {
    /// Nobody: all events here have keys of their own.
    Empty,
    /// A copy that stays.
    Closed(Print),
    /// One of the copies in a group.
    Group(u32),
}

/// What the gaps beside an id depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) earliest: i64,
    pub(super) latest: i64,
    /// The tag at the latest time.
    pub(super) tag: u32,
}

impl Held {
    pub(super) fn span(&self) -> Span {
        match self {
            Held::Plain { time, tag, .. }
            | Held::Open { time, tag, .. }
            | Held::Keyed { time, tag, .. } => Span {
                earliest: *time,
                latest: *time,
                tag: *tag,
            },
            Held::Many(many) => many.span(),
        }
    }

    /// When the id is ripe.
    pub(super) fn ripe(&self) -> i64 {
        match self {
            Held::Plain { time, .. } | Held::Open { time, .. } | Held::Keyed { time, .. } => *time,
            Held::Many(many) => many.ripe,
        }
    }

    /// The number of times at which it was seen.
    pub(super) fn events(&self) -> usize {
        match self {
            Held::Plain { .. } | Held::Open { .. } | Held::Keyed { .. } => 1,
            Held::Many(many) => many.times.len(),
        }
    }

    pub(super) fn queued_mut(&mut self) -> &mut bool {
        match self {
            Held::Plain { queued, .. } | Held::Open { queued, .. } | Held::Keyed { queued, .. } => {
                queued
            }
            Held::Many(many) => &mut many.queued,
        }
    }

    pub(super) fn tag_mut(&mut self) -> &mut u32 {
        match self {
            Held::Plain { tag, .. } | Held::Open { tag, .. } | Held::Keyed { tag, .. } => tag,
            Held::Many(many) => &mut many.tag,
        }
    }

    /// Visits the groups that the id refers to.
    pub(super) fn for_each_group(&mut self, mut visit: impl FnMut(&mut u32)) {
        match self {
            Held::Plain { .. } => {}
            Held::Open { group, .. } | Held::Keyed { group, .. } => visit(group),
            Held::Many(many) => {
                for seat in many.times.values_mut() {
                    if let Seat::Group(group) = seat {
                        visit(group);
                    }
                }
                many.keyed.iter_mut().for_each(visit);
                many.keyed.sort_unstable();
            }
        }
    }

    /// Lets no event count as later than `limit`.
    pub(super) fn limit_ripe(&mut self, limit: i64) {
        if self.ripe() > limit {
            let mut many = self.take_many();
            many.ripe = limit;
            *self = Held::from_many(many);
        }
    }

    /// The general form, taken out; what stays behind is of no meaning.
    pub(super) fn take_many(&mut self) -> Box<Many> {
        let nothing = Held::Plain {
            time: 0,
            print: Print::default(),
            tag: 0,
            queued: false,
        };
        let (time, seat, keyed, tag, queued) = match std::mem::replace(self, nothing) {
            Held::Many(many) => return many,
            Held::Plain {
                time,
                print,
                tag,
                queued,
            } => (time, Seat::Closed(print), Vec::new(), tag, queued),
            Held::Open {
                time,
                group,
                tag,
                queued,
            } => (time, Seat::Group(group), Vec::new(), tag, queued),
            Held::Keyed {
                time,
                group,
                tag,
                queued,
            } => (time, Seat::Empty, vec![group], tag, queued),
        };
        Box::new(Many {
            times: BTreeMap::from([(time, seat)]),
            keyed,
            tag,
            ripe: time,
            queued,
        })
    }

    /// The smallest form.
    pub(super) fn from_many(many: Box<Many>) -> Self {
        let (tag, queued) = (many.tag, many.queued);
        match (many.times.first_key_value(), &many.keyed[..]) {
            (Some((&time, &seat)), keyed) if many.times.len() == 1 && time == many.ripe => {
                Held::single(time, seat, keyed, tag, queued).unwrap_or(Held::Many(many))
            }
            _ => Held::Many(many),
        }
    }

    /// What is held of an id that was seen once and counts as seen then, if there is a small form.
    pub(super) fn single(
        time: i64,
        seat: Seat,
        keyed: &[u32],
        tag: u32,
        queued: bool,
    ) -> Option<Self> {
        match (seat, keyed) {
            (Seat::Closed(print), []) => Some(Held::Plain {
                time,
                print,
                tag,
                queued,
            }),
            (Seat::Group(group), []) => Some(Held::Open {
                time,
                group,
                tag,
                queued,
            }),
            (Seat::Empty, &[group]) => Some(Held::Keyed {
                time,
                group,
                tag,
                queued,
            }),
            _ => None,
        }
    }
}

impl Many {
    fn span(&self) -> Span {
        let time = |entry: Option<(&i64, &Seat)>| entry.map_or(0, |(time, _)| *time);
        Span {
            earliest: time(self.times.first_key_value()),
            latest: time(self.times.last_key_value()),
            tag: self.tag,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_sighting_is_small() {
        assert_eq!(size_of::<Held>(), 24);
    }
}
