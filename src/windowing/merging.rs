//! Which windows of a key become one.

use std::fmt;
use std::sync::Arc;

use super::window::Window;

/// What a user's own rule says: for every window, in order, the window that it becomes a part of.
pub type MergeRule = Arc<dyn Fn(&[Window]) -> Vec<Window> + Send + Sync>;

/// Which windows of a key become one.
#[derive(Clone, Default)]
pub enum Merging {
    /// None.
    #[default]
    Never,
    /// Those that have an instant in common, Beam's rule for sessions. No window of an element is
    /// longer than `reach_us`.
    Overlapping {
        /// The length of an element's own window, in microseconds.
        reach_us: i64,
    },
    /// Those that overlap or follow each other without a break.
    Touching {
        /// The length of an element's own window, in microseconds.
        reach_us: i64,
    },
    /// By a rule of the user.
    Custom {
        /// The length of an element's own window, in microseconds, at most.
        reach_us: i64,
        /// The rule, which is given the windows in order, each once.
        rule: MergeRule,
    },
}

impl Merging {
    /// Whether windows are merged at all.
    pub fn merges(&self) -> bool {
        !matches!(self, Merging::Never)
    }

    /// For how long behind its expiry a window may still become a part of another one, in
    /// microseconds: an element that reaches back into it may come as long as the element's own
    /// window has not expired.
    pub fn reach_us(&self) -> i64 {
        match self {
            Merging::Never => 0,
            Merging::Overlapping { reach_us }
            | Merging::Touching { reach_us }
            | Merging::Custom { reach_us, .. } => *reach_us,
        }
    }

    /// For every one of `windows`, which are in order, the window that it becomes a part of.
    pub fn merge(&self, windows: &[Window]) -> Vec<Window> {
        let touching = match self {
            Merging::Never => return windows.to_vec(),
            Merging::Custom { rule, .. } => return rule(windows),
            Merging::Overlapping { .. } => false,
            Merging::Touching { .. } => true,
        };
        let mut merged: Vec<Window> = Vec::with_capacity(windows.len());
        let mut first = 0;
        for (at, window) in windows.iter().enumerate() {
            let joins = merged.last().is_some_and(|last: &Window| {
                window.start < last.end || touching && window.start == last.end
            });
            if joins {
                let all = merged[first].span(*window);
                merged.push(all);
                merged[first..].fill(all);
            } else {
                first = at;
                merged.push(*window);
            }
        }
        merged
    }
}

impl fmt::Debug for Merging {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Merging::Never => "Never",
            Merging::Overlapping { .. } => "Overlapping",
            Merging::Touching { .. } => "Touching",
            Merging::Custom { .. } => "Custom",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::EventTime;

    #[track_caller]
    fn check(merging: &Merging, windows: &[(i64, i64)], expected: &[(i64, i64)]) {
        let window = |(start, end): &(i64, i64)| Window::new(EventTime(*start), EventTime(*end));
        let windows: Vec<_> = windows.iter().map(window).collect();
        let expected: Vec<_> = expected.iter().map(window).collect();
        assert_eq!(merging.merge(&windows), expected);
    }

    #[test]
    fn windows_with_an_instant_in_common_merge() {
        let overlapping = Merging::Overlapping { reach_us: 10 };
        check(&overlapping, &[(0, 10), (5, 15)], &[(0, 15), (0, 15)]);
        check(&overlapping, &[(0, 10), (10, 20)], &[(0, 10), (10, 20)]);
        check(
            &overlapping,
            &[(0, 10), (5, 15), (14, 24), (30, 40)],
            &[(0, 24), (0, 24), (0, 24), (30, 40)],
        );
        check(&overlapping, &[(0, 30), (5, 15), (20, 40)], &[(0, 40); 3]);
    }

    #[test]
    fn windows_without_a_break_merge_where_that_is_asked() {
        let touching = Merging::Touching { reach_us: 10 };
        check(&touching, &[(0, 10), (10, 20)], &[(0, 20), (0, 20)]);
        check(&touching, &[(0, 10), (11, 21)], &[(0, 10), (11, 21)]);
    }
}
