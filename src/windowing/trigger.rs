//! Triggers: when a window's content is let through.

use std::fmt;
use std::time::Duration;

/// When a pane of a window is produced. [Beam's triggers], written as they are there.
///
/// A trigger is asked after every bundle that brings the window something, and when the watermark
/// or the clock reaches what it waits for. A trigger that is finished closes its window for good.
///
/// ```
/// use amend::prelude::*;
/// let trigger = Trigger::after_watermark()
///     .early(Trigger::after_processing_time(minutes(1)))
///     .late(Trigger::after_count(1));
/// assert_eq!(
///     trigger.to_string(),
///     "AfterWatermark(early=AfterProcessingTime(1m), late=AfterCount(1))"
/// );
/// ```
///
/// [Beam's triggers]: https://beam.apache.org/documentation/programming-guide/#triggers
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Trigger {
    /// When the watermark passes the end of the window, and then on every late bundle. It never
    /// finishes.
    #[default]
    Default,
    /// Once, when the watermark passes the end of the window. `early` is repeated until then,
    /// `late` from then on; without `late` the trigger is finished at the end of the window.
    AfterWatermark {
        /// What is repeated before the end of the window.
        early: Option<Box<Trigger>>,
        /// What is repeated after it.
        late: Option<Box<Trigger>>,
    },
    /// Once, when the pane holds at least this many elements. A retraction counts as one, too.
    AfterCount(u64),
    /// Once, when the clock stands this long after the first element of the pane arrived.
    AfterProcessingTime {
        /// How long.
        delay: Duration,
        /// Where set, the instant is moved up to a multiple of this.
        align: Option<Duration>,
    },
    /// The trigger again and again; it never finishes.
    Repeatedly(Box<Trigger>),
    /// Once, when the first of them fires (Beam's AfterAny, or AfterFirst).
    AfterAny(Vec<Trigger>),
    /// Once, when all of them are ready.
    AfterAll(Vec<Trigger>),
    /// One after the other: each until it is finished.
    AfterEach(Vec<Trigger>),
    /// The first until it is finished, or until the second fires.
    OrFinally(Box<Trigger>, Box<Trigger>),
    /// After every bundle; it never finishes.
    Always,
    /// Never; the content is let through when the window expires.
    Never,
}

impl Trigger {
    /// See [`Trigger::AfterWatermark`]; add [`Trigger::early`] and [`Trigger::late`].
    pub fn after_watermark() -> Self {
        Trigger::AfterWatermark {
            early: None,
            late: None,
        }
    }

    /// See [`Trigger::AfterCount`].
    pub fn after_count(elements: u64) -> Self {
        Trigger::AfterCount(elements)
    }

    /// See [`Trigger::AfterProcessingTime`].
    pub fn after_processing_time(delay: Duration) -> Self {
        Trigger::AfterProcessingTime { delay, align: None }
    }

    /// Fires at multiples of `period` of the clock, where there is something to let through.
    pub fn at_period(period: Duration) -> Self {
        Trigger::AfterProcessingTime {
            delay: Duration::ZERO,
            align: Some(period),
        }
    }

    /// Repeats `trigger` until the watermark passes the end of the window.
    ///
    /// On any trigger but [`Trigger::AfterWatermark`] this is the same as
    /// `Trigger::after_watermark().early(trigger)`, and what `self` was is lost.
    pub fn early(self, trigger: Trigger) -> Self {
        let late = match self {
            Trigger::AfterWatermark { late, .. } => late,
            _ => None,
        };
        Trigger::AfterWatermark {
            early: Some(Box::new(trigger)),
            late,
        }
    }

    /// Repeats `trigger` after the watermark has passed the end of the window; see
    /// [`Trigger::early`].
    pub fn late(self, trigger: Trigger) -> Self {
        let early = match self {
            Trigger::AfterWatermark { early, .. } => early,
            _ => None,
        };
        Trigger::AfterWatermark {
            early,
            late: Some(Box::new(trigger)),
        }
    }

    /// Repeats the trigger for ever.
    pub fn repeatedly(self) -> Self {
        Trigger::Repeatedly(Box::new(self))
    }

    /// Ends the trigger when `until` fires.
    pub fn or_finally(self, until: Trigger) -> Self {
        Trigger::OrFinally(Box::new(self), Box::new(until))
    }

    /// Whether the trigger may finish, and so close a window that elements may still come for.
    pub fn may_finish(&self) -> bool {
        match self {
            Trigger::Default | Trigger::Always | Trigger::Never | Trigger::Repeatedly(_) => false,
            Trigger::AfterWatermark { late, .. } => late.is_none(),
            Trigger::AfterCount(_) | Trigger::AfterProcessingTime { .. } => true,
            Trigger::AfterAny(_) => true,
            Trigger::AfterAll(parts) => parts.iter().all(Trigger::may_fire),
            Trigger::AfterEach(parts) => parts.iter().all(Trigger::may_finish),
            Trigger::OrFinally(body, until) => body.may_finish() || until.may_fire(),
        }
    }

    /// Whether all that finishes the trigger is the watermark passing the end of the window.
    pub fn finishes_with_the_window(&self) -> bool {
        matches!(self, Trigger::AfterWatermark { late: None, .. })
    }

    fn may_fire(&self) -> bool {
        *self != Trigger::Never
    }

    /// The trigger of a grouping that follows another one in the same windows: what the first
    /// lets through is to go on without waiting again (Beam's continuation trigger). It never
    /// finishes, since the first may take back what it said.
    pub fn continuation(&self) -> Trigger {
        let part = self.continued();
        if part.may_finish() {
            part.repeatedly()
        } else {
            part
        }
    }

    fn continued(&self) -> Trigger {
        let again =
            |part: &Option<Box<Trigger>>| part.as_ref().map(|part| Box::new(part.continued()));
        let all = |parts: &[Trigger]| parts.iter().map(Trigger::continuation).collect();
        match self {
            Trigger::Default | Trigger::Always | Trigger::Never => self.clone(),
            Trigger::AfterWatermark { early, late } => Trigger::AfterWatermark {
                early: again(early),
                late: again(late).or_else(|| Some(Box::new(Trigger::AfterCount(1)))),
            },
            Trigger::AfterCount(_) | Trigger::AfterProcessingTime { .. } => Trigger::AfterCount(1),
            Trigger::Repeatedly(part) => part.continued().repeatedly(),
            Trigger::AfterAny(parts) => Trigger::AfterAny(all(parts)),
            Trigger::AfterAll(parts) => Trigger::AfterAll(all(parts)),
            Trigger::AfterEach(parts) => Trigger::AfterAny(all(parts)).repeatedly(),
            Trigger::OrFinally(body, until) => body.continued().or_finally(until.continued()),
        }
    }

    /// The parts of the trigger, itself included.
    pub(super) fn size(&self) -> usize {
        let parts = match self {
            Trigger::AfterWatermark { early, late } => {
                let size = |part: &Option<Box<Trigger>>| part.as_ref().map_or(1, |p| p.size());
                size(early) + size(late)
            }
            Trigger::Repeatedly(part) => part.size(),
            Trigger::AfterAny(parts) | Trigger::AfterAll(parts) | Trigger::AfterEach(parts) => {
                parts.iter().map(Trigger::size).sum()
            }
            Trigger::OrFinally(body, until) => body.size() + until.size(),
            _ => 0,
        };
        1 + parts
    }

    /// What is wrong with the trigger, if anything is.
    pub fn fault(&self) -> Option<String> {
        if self.size() > 64 || self.continuation().size() > 64 {
            return Some(format!("{self} has more than 64 parts"));
        }
        match self {
            Trigger::AfterCount(0) => Some("AfterCount(0) would fire without end".to_owned()),
            Trigger::AfterProcessingTime {
                align: Some(align), ..
            } if align.as_micros() == 0 => Some("a period of 0 would fire without end".to_owned()),
            Trigger::AfterWatermark { early, late } => {
                let fault = |part: &Option<Box<Trigger>>| part.as_ref().and_then(|p| p.fault());
                fault(early).or_else(|| fault(late))
            }
            Trigger::Repeatedly(part) => part.fault(),
            Trigger::AfterAny(parts) | Trigger::AfterAll(parts) | Trigger::AfterEach(parts) => {
                if parts.is_empty() {
                    return Some(format!("{self} has no parts"));
                }
                parts.iter().find_map(Trigger::fault)
            }
            Trigger::OrFinally(body, until) => body.fault().or_else(|| until.fault()),
            _ => None,
        }
    }
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, name: &str, parts: &[Trigger]| {
            write!(f, "{name}(")?;
            for (at, part) in parts.iter().enumerate() {
                write!(f, "{}{part}", if at > 0 { ", " } else { "" })?;
            }
            f.write_str(")")
        };
        match self {
            Trigger::Default => f.write_str("Default"),
            Trigger::AfterWatermark { early, late } => match (early, late) {
                (None, None) => f.write_str("AfterWatermark"),
                (Some(early), None) => write!(f, "AfterWatermark(early={early})"),
                (None, Some(late)) => write!(f, "AfterWatermark(late={late})"),
                (Some(early), Some(late)) => {
                    write!(f, "AfterWatermark(early={early}, late={late})")
                }
            },
            Trigger::AfterCount(elements) => write!(f, "AfterCount({elements})"),
            Trigger::AfterProcessingTime { delay, align } => {
                let delay = humantime::format_duration(*delay);
                match align {
                    None => write!(f, "AfterProcessingTime({delay})"),
                    Some(align) => {
                        let align = humantime::format_duration(*align);
                        write!(f, "AfterProcessingTime({delay}, align={align})")
                    }
                }
            }
            Trigger::Repeatedly(part) => write!(f, "Repeatedly({part})"),
            Trigger::AfterAny(parts) => list(f, "AfterAny", parts),
            Trigger::AfterAll(parts) => list(f, "AfterAll", parts),
            Trigger::AfterEach(parts) => list(f, "AfterEach", parts),
            Trigger::OrFinally(body, until) => write!(f, "OrFinally({body}, {until})"),
            Trigger::Always => f.write_str("Always"),
            Trigger::Never => f.write_str("Never"),
        }
    }
}
