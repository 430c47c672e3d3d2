//! Window functions in the call syntax.

use std::time::Duration;

use super::call::{Argument, Call, Fault, Judged};
use crate::Result;
use crate::repair::spec::tree::Node;
use crate::time::EventTime;
use crate::windowing::{
    FixedWindows, GlobalWindows, Merging, Sessions, SlidingWindows, Window, WindowFn,
};

/// The window functions that a scenario can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Windows {
    Global,
    Fixed(FixedWindows),
    Sliding(SlidingWindows),
    Sessions(Sessions),
    CustomTimestamping(CustomTimestampingFixedWindows),
}

/// The names of window functions.
const NAMES: [&str; 5] = [
    "GlobalWindows",
    "FixedWindows",
    "SlidingWindows",
    "Sessions",
    "CustomTimestampingFixedWindowsWindowFn",
];

const KEY: &str = "window_fn";

impl Windows {
    /// The windows that a document's `window_fn` says.
    pub(super) fn read(node: &Node) -> Result<Windows> {
        let call = Call::read(node, KEY)?;
        judged(&call).map_err(|fault| fault.at(node, KEY))
    }

    /// The same windows, where those that touch are one; only sessions merge.
    pub(super) fn merge_touching(self) -> Option<Windows> {
        match self {
            Windows::Sessions(sessions) => Some(Windows::Sessions(sessions.merge_touching())),
            _ => None,
        }
    }
}

fn judged(call: &Call) -> Judged<Windows> {
    let windows = windows(call)?;
    match WindowFn::<()>::fault(&windows) {
        None => Ok(windows),
        Some(fault) => Err(Fault::new(fault, "give the windows a length")),
    }
}

fn windows(call: &Call) -> Judged<Windows> {
    let length =
        |name, argument: Option<&Argument>| call.length(name, argument).map(Duration::from_micros);
    match call.name.as_str() {
        "GlobalWindows" => call.bind([]).map(|[]| Windows::Global),
        "FixedWindows" => {
            let [size, offset] = call.bind(["size", "offset"])?;
            let fixed = FixedWindows::of(length("size", size)?);
            let Some(offset) = offset else {
                return Ok(Windows::Fixed(fixed));
            };
            // Windows of length 0 are refused later; an offset is one of a period.
            let period = call.number("size", size)?.max(1);
            let offset = call.number("offset", Some(offset))?.rem_euclid(period);
            let offset = Duration::from_micros(offset.unsigned_abs());
            Ok(Windows::Fixed(fixed.offset(offset)))
        }
        "SlidingWindows" => {
            let [size, period] = call.bind(["size", "period"])?;
            let sliding = SlidingWindows::of(length("size", size)?);
            Ok(Windows::Sliding(sliding.every(length("period", period)?)))
        }
        "Sessions" => {
            let [gap] = call.bind(["gap_size"])?;
            Ok(Windows::Sessions(Sessions::with_gap(length(
                "gap_size", gap,
            )?)))
        }
        "CustomTimestampingFixedWindowsWindowFn" => {
            let [size] = call.bind(["size"])?;
            let fixed = FixedWindows::of(length("size", size)?);
            Ok(Windows::CustomTimestamping(CustomTimestampingFixedWindows(
                fixed,
            )))
        }
        name => Err(Fault::unknown("window function", name, &NAMES)),
    }
}

impl<T> WindowFn<T> for Windows {
    fn assign(&self, value: &T, at: EventTime, each: impl FnMut(Window)) {
        match self {
            Windows::Global => GlobalWindows.assign(value, at, each),
            Windows::Fixed(windows) => windows.assign(value, at, each),
            Windows::Sliding(windows) => windows.assign(value, at, each),
            Windows::Sessions(windows) => windows.assign(value, at, each),
            Windows::CustomTimestamping(windows) => windows.assign(value, at, each),
        }
    }

    fn merging(&self) -> Merging {
        match self {
            Windows::Sessions(windows) => WindowFn::<T>::merging(windows),
            _ => Merging::Never,
        }
    }

    fn output_time(&self, window: Window, at: EventTime) -> EventTime {
        match self {
            Windows::CustomTimestamping(windows) => WindowFn::<T>::output_time(windows, window, at),
            _ => at,
        }
    }

    fn fault(&self) -> Option<String> {
        match self {
            Windows::Global => None,
            Windows::Fixed(windows) => WindowFn::<T>::fault(windows),
            Windows::Sliding(windows) => WindowFn::<T>::fault(windows),
            Windows::Sessions(windows) => WindowFn::<T>::fault(windows),
            Windows::CustomTimestamping(windows) => WindowFn::<T>::fault(windows),
        }
    }
}

/// Beam's test of window functions with output times of their own: fixed windows, and every element
/// counts as 100 units later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CustomTimestampingFixedWindows(FixedWindows);

impl<T> WindowFn<T> for CustomTimestampingFixedWindows {
    fn assign(&self, value: &T, at: EventTime, each: impl FnMut(Window)) {
        self.0.assign(value, at, each);
    }

    fn output_time(&self, _: Window, at: EventTime) -> EventTime {
        at + Duration::from_micros(100)
    }

    fn fault(&self) -> Option<String> {
        WindowFn::<T>::fault(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[(i64, i64)]) {
        let windows = Call::parse(text).and_then(|call| judged(&call)).unwrap();
        let mut got = Vec::new();
        windows.assign(&(), EventTime(7), |window| {
            got.push((window.start.0, window.end.0))
        });
        assert_eq!(got, expected, "{text}");
    }

    #[test]
    fn window_functions() {
        check(
            "GlobalWindows",
            &[(Window::GLOBAL.start.0, Window::GLOBAL.end.0)],
        );
        check("FixedWindows(10)", &[(0, 10)]);
        check("FixedWindows(10, 3)", &[(3, 13)]);
        check("FixedWindows(size=10, offset=-12)", &[(-2, 8)]);
        check("SlidingWindows(10, period=5)", &[(0, 10), (5, 15)]);
        check("Sessions(gap_size=3)", &[(7, 10)]);
        check("CustomTimestampingFixedWindowsWindowFn(10)", &[(0, 10)]);
    }

    #[test]
    fn what_is_no_window_function() {
        let refused = |text: &str, what: &str, hint: &str| {
            let fault = Call::parse(text)
                .and_then(|call| judged(&call))
                .unwrap_err();
            assert_eq!(fault, Fault::new(what, hint), "{text}");
        };
        let hint = "give the windows a length";
        refused("FixedWindows(0)", "fixed windows of length 0", hint);
        refused("FixedWindows(0, 5)", "fixed windows of length 0", hint);
        refused("Sessions(0)", "sessions with a gap of 0", hint);
        refused(
            "SlidingWindows(5, 0)",
            "sliding windows of length or period 0",
            hint,
        );
        refused(
            "FixedWindows(-5)",
            "size of FixedWindows is negative: -5",
            "write a whole number that is not negative",
        );
        refused(
            "SlidingWindows(5)",
            "SlidingWindows has no period",
            "write SlidingWindows(period)",
        );
        refused(
            "SessionWindows(5)",
            "there is no window function \"SessionWindows\"",
            &format!("did you mean Sessions? one of {}", NAMES.join(", ")),
        );
    }
}
