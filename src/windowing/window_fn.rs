//! Window functions: which windows an element falls into.

use std::fmt::Debug;
use std::time::Duration;

use chrono::{DateTime, Datelike, Months, NaiveDate, NaiveTime, TimeZone, Utc};
use chrono_tz::Tz;

use super::merging::Merging;
use super::strategy::Strategy;
use super::window::Window;
use crate::time::{EventTime, micros};

/// Tells the windows of an element. Write your own for windows that none of those here gives.
///
/// ```
/// use amend::prelude::*;
///
/// /// Office hours and the rest of the day.
/// #[derive(Clone, Debug)]
/// struct Shifts;
///
/// impl<T> WindowFn<T> for Shifts {
///     fn assign(&self, _: &T, at: EventTime, mut each: impl FnMut(Window)) {
///         let day = at.floor(hours(24));
///         let bounds = [day, day + hours(9), day + hours(17), day + hours(24)];
///         for pair in bounds.windows(2) {
///             let window = Window::new(pair[0], pair[1]);
///             if window.contains(at) {
///                 each(window);
///             }
///         }
///     }
/// }
///
/// let mut windows = Vec::new();
/// Shifts.assign(&(), EventTime::from_seconds(10 * 3600), |window| windows.push(window));
/// let nine = EventTime::from_seconds(9 * 3600);
/// assert_eq!(windows, [Window::new(nine, nine + hours(8))]);
/// ```
pub trait WindowFn<T>: Debug {
    /// Calls `each` with every window of an element, at most once with each.
    fn assign(&self, value: &T, at: EventTime, each: impl FnMut(Window));

    /// Which windows of a key become one.
    fn merging(&self) -> Merging {
        Merging::Never
    }

    /// What [`super::TimestampCombiner::EarliestTransformed`] makes of an element's event time.
    fn output_time(&self, window: Window, at: EventTime) -> EventTime {
        let _ = window;
        at
    }

    /// What is wrong with the windows, if anything is.
    fn fault(&self) -> Option<String> {
        None
    }

    /// When panes are let through and what belongs to that; see [`super::Windowing`], which says
    /// more than windows alone.
    fn strategy(&self) -> Strategy {
        Strategy::default()
    }
}

/// One window for everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct GlobalWindows;

impl<T> WindowFn<T> for GlobalWindows {
    fn assign(&self, _: &T, _: EventTime, mut each: impl FnMut(Window)) {
        each(Window::GLOBAL);
    }
}

/// Windows of one length, side by side.
///
/// ```
/// use amend::prelude::*;
/// let days = FixedWindows::of(hours(24)).offset(hours(6));
/// let mut windows = Vec::new();
/// days.assign(&(), EventTime::from_seconds(0), |window| windows.push(window));
/// assert_eq!(windows[0].start, EventTime::from_seconds(-18 * 3600));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FixedWindows {
    size: Duration,
    offset: Duration,
}

impl FixedWindows {
    /// Windows of this length; one begins at 1970-01-01T00:00:00Z.
    pub fn of(size: Duration) -> Self {
        FixedWindows {
            size,
            offset: Duration::ZERO,
        }
    }

    /// Moves the windows: one begins this long after 1970-01-01T00:00:00Z.
    pub fn offset(self, offset: Duration) -> Self {
        FixedWindows { offset, ..self }
    }
}

impl<T> WindowFn<T> for FixedWindows {
    #[inline]
    fn assign(&self, _: &T, at: EventTime, mut each: impl FnMut(Window)) {
        let (size, offset) = (micros(self.size), micros(self.offset));
        each(period(at.0, size, offset, size));
    }

    fn fault(&self) -> Option<String> {
        (micros(self.size) == 0).then(|| "fixed windows of length 0".to_owned())
    }
}

/// Windows of one length, one of which begins every `period`: an element falls into several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlidingWindows {
    size: Duration,
    period: Duration,
    offset: Duration,
}

impl SlidingWindows {
    /// Windows of this length, one every second; see [`SlidingWindows::every`].
    pub fn of(size: Duration) -> Self {
        SlidingWindows {
            size,
            period: Duration::from_secs(1),
            offset: Duration::ZERO,
        }
    }

    /// Lets a window begin this often.
    pub fn every(self, period: Duration) -> Self {
        SlidingWindows { period, ..self }
    }

    /// Moves the windows: one begins this long after 1970-01-01T00:00:00Z.
    pub fn offset(self, offset: Duration) -> Self {
        SlidingWindows { offset, ..self }
    }
}

impl<T> WindowFn<T> for SlidingWindows {
    fn assign(&self, _: &T, at: EventTime, mut each: impl FnMut(Window)) {
        let (size, every) = (micros(self.size), micros(self.period));
        let last = period(at.0, every, micros(self.offset), size);
        // Where the period is longer than the windows, an element may fall between them.
        if !last.contains(at) {
            return;
        }
        // The earliest first: that is where the windows of a key have it easiest.
        let past = at.0.saturating_sub(last.start.0);
        let before = (size - 1).saturating_sub(past) / every;
        for back in (0..=before).rev() {
            let start = i128::from(last.start.0) - i128::from(back) * i128::from(every);
            // Windows that would begin before all time are left out.
            if let Ok(start) = i64::try_from(start) {
                let end = EventTime(start.saturating_add(size));
                each(Window::new(EventTime(start), end));
            }
        }
    }

    fn fault(&self) -> Option<String> {
        if micros(self.size) == 0 || micros(self.period) == 0 {
            return Some("sliding windows of length or period 0".to_owned());
        }
        let each = micros(self.size) / micros(self.period);
        (each > 10_000).then(|| format!("every element falls into {each} sliding windows"))
    }
}

/// Windows that last until a key has been silent for a while: Beam's sessions.
///
/// An element's own window is as long as the gap; windows of a key that have an instant in common
/// are one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sessions {
    gap: Duration,
    touching: bool,
}

impl Sessions {
    /// Sessions that end when a key has been silent for this long.
    pub fn with_gap(gap: Duration) -> Self {
        Sessions {
            gap,
            touching: false,
        }
    }

    /// Lets sessions merge, too, where one begins just when the other ends. The figures of the
    /// Dataflow Model paper are drawn like this; Beam does not do it.
    pub fn merge_touching(self) -> Self {
        Sessions {
            touching: true,
            ..self
        }
    }
}

impl<T> WindowFn<T> for Sessions {
    fn assign(&self, _: &T, at: EventTime, mut each: impl FnMut(Window)) {
        let end = at.0.saturating_add(micros(self.gap));
        each(Window::new(at, EventTime(end)));
    }

    fn merging(&self) -> Merging {
        let reach_us = micros(self.gap);
        if self.touching {
            Merging::Touching { reach_us }
        } else {
            Merging::Overlapping { reach_us }
        }
    }

    fn fault(&self) -> Option<String> {
        (micros(self.gap) == 0).then(|| "sessions with a gap of 0".to_owned())
    }
}

/// Days or months of the calendar in a time zone, daylight saving included.
///
/// ```
/// use amend::prelude::*;
/// let days = CalendarWindows::days(1).time_zone("Europe/Berlin".parse().unwrap());
/// let mut windows = Vec::new();
/// // The clocks go forward on 2026-03-29, which has 23 hours.
/// let noon = EventTime::parse("2026-03-29T12:00:00+02:00").unwrap();
/// days.assign(&(), noon, |window| windows.push(window));
/// assert_eq!(windows[0].start, EventTime::parse("2026-03-29T00:00:00+01:00").unwrap());
/// assert_eq!(windows[0].end, windows[0].start + hours(23));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CalendarWindows {
    unit: Unit,
    number: u32,
    zone: Tz,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Days,
    Months,
}

impl CalendarWindows {
    /// Windows of this many days, counted from 1970-01-01, in UTC.
    pub fn days(number: u32) -> Self {
        CalendarWindows {
            unit: Unit::Days,
            number,
            zone: Tz::UTC,
        }
    }

    /// Windows of this many months, counted from January 1970, in UTC.
    pub fn months(number: u32) -> Self {
        CalendarWindows {
            unit: Unit::Months,
            number,
            zone: Tz::UTC,
        }
    }

    /// Lets days begin at midnight in this time zone.
    pub fn time_zone(self, zone: Tz) -> Self {
        CalendarWindows { zone, ..self }
    }

    /// The first day of the window that holds `day`, and of the next one.
    fn bounds(&self, day: NaiveDate) -> Option<(NaiveDate, NaiveDate)> {
        let first = NaiveDate::from_ymd_opt(1970, 1, 1)?;
        let number = i64::from(self.number);
        match self.unit {
            Unit::Days => {
                let since = (day - first).num_days().rem_euclid(number);
                let start = day.checked_sub_signed(chrono::TimeDelta::days(since))?;
                let end = start.checked_add_signed(chrono::TimeDelta::days(number))?;
                Some((start, end))
            }
            Unit::Months => {
                let months = i64::from(day.year() - 1970) * 12 + i64::from(day.month0());
                let since = u32::try_from(months.rem_euclid(number)).ok()?;
                let start = day.with_day(1)?.checked_sub_months(Months::new(since))?;
                let end = start.checked_add_months(Months::new(self.number))?;
                Some((start, end))
            }
        }
    }

    /// When `day` begins in the time zone.
    fn midnight(&self, day: NaiveDate) -> Option<EventTime> {
        let margin = chrono::TimeDelta::days(3);
        if !(NaiveDate::MIN + margin..NaiveDate::MAX - margin).contains(&day) {
            return None;
        }
        // Where the clocks go forward at midnight the day begins an hour later.
        let hours = 0..24;
        let mut begins = hours.filter_map(|hour| {
            let time = day.and_time(NaiveTime::from_hms_opt(hour, 0, 0)?);
            self.zone.from_local_datetime(&time).earliest()
        });
        let begin = begins.next()?;
        Some(EventTime(begin.timestamp_micros()))
    }

    fn window(&self, at: EventTime) -> Option<Window> {
        // A time zone may move what lies at the ends of the calendar out of it.
        let margin = chrono::TimeDelta::days(3);
        let utc = DateTime::from_timestamp_micros(at.0)?;
        let known = DateTime::<Utc>::MIN_UTC + margin..DateTime::<Utc>::MAX_UTC - margin;
        if !known.contains(&utc) {
            return None;
        }
        let day = utc.with_timezone(&self.zone).date_naive();
        let (start, end) = self.bounds(day)?;
        Some(Window::new(self.midnight(start)?, self.midnight(end)?))
    }
}

impl<T> WindowFn<T> for CalendarWindows {
    fn assign(&self, _: &T, at: EventTime, mut each: impl FnMut(Window)) {
        // Before and after the years that the calendar knows everything is one window.
        each(self.window(at).unwrap_or(Window::GLOBAL));
    }

    fn fault(&self) -> Option<String> {
        (self.number == 0).then(|| "calendar windows of length 0".to_owned())
    }
}

/// The latest window of length `size`, one of which begins every `every` from `offset` on, that
/// begins no later than `at`.
#[inline]
fn period(at: i64, every: i64, offset: i64, size: i64) -> Window {
    let past = (i128::from(at) - i128::from(offset)).rem_euclid(i128::from(every)) as i64;
    let start = at.saturating_sub(past);
    Window::new(EventTime(start), EventTime(start.saturating_add(size)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(windows: impl WindowFn<()>, at: i64, expected: &[(i64, i64)]) {
        let mut got = Vec::new();
        windows.assign(&(), EventTime(at), |window| {
            got.push((window.start.0, window.end.0))
        });
        assert_eq!(got, expected, "{windows:?} at {at}");
    }

    fn us(us: u64) -> Duration {
        Duration::from_micros(us)
    }

    #[test]
    fn fixed_windows_lie_side_by_side() {
        check(FixedWindows::of(us(10)), 0, &[(0, 10)]);
        check(FixedWindows::of(us(10)), 9, &[(0, 10)]);
        check(FixedWindows::of(us(10)), -1, &[(-10, 0)]);
        check(FixedWindows::of(us(10)).offset(us(3)), 2, &[(-7, 3)]);
        check(
            FixedWindows::of(us(10)),
            i64::MAX,
            &[(i64::MAX - 7, i64::MAX)],
        );
        check(
            FixedWindows::of(us(10)),
            i64::MIN,
            &[(i64::MIN, i64::MIN + 10)],
        );
    }

    #[test]
    fn sliding_windows_overlap() {
        let sliding = SlidingWindows::of(us(10)).every(us(5));
        check(sliding, 7, &[(0, 10), (5, 15)]);
        check(sliding, 10, &[(5, 15), (10, 20)]);
        check(sliding, 14, &[(5, 15), (10, 20)]);
        let uneven = SlidingWindows::of(us(10)).every(us(3));
        check(uneven, 9, &[(0, 10), (3, 13), (6, 16), (9, 19)]);
        check(uneven, 10, &[(3, 13), (6, 16), (9, 19)]);
        let sparse = SlidingWindows::of(us(2)).every(us(5));
        check(sparse, 6, &[(5, 7)]);
        check(sparse, 8, &[]);
        check(sliding, i64::MIN + 2, &[(i64::MIN, i64::MIN + 10)]);
    }

    #[test]
    fn months_are_as_long_as_they_are() {
        let time = |text: &str| EventTime::parse(text).unwrap();
        let months = CalendarWindows::months(1).time_zone(Tz::America__New_York);
        let mut got = Vec::new();
        let at = time("2024-02-29T23:00:00-05:00");
        WindowFn::<()>::assign(&months, &(), at, |window| got.push(window));
        let expected = Window::new(
            time("2024-02-01T00:00:00-05:00"),
            time("2024-03-01T00:00:00-05:00"),
        );
        assert_eq!(got, [expected]);
        let mut got = Vec::new();
        let quarters = CalendarWindows::months(3);
        WindowFn::<()>::assign(&quarters, &(), at, |window| got.push(window));
        let expected = Window::new(time("2024-01-01T00:00:00"), time("2024-04-01T00:00:00"));
        assert_eq!(got, [expected]);
    }

    #[test]
    fn the_ends_of_the_calendar_are_no_days() {
        for zone in [
            Tz::Europe__Berlin,
            Tz::America__Los_Angeles,
            Tz::Pacific__Kiritimati,
        ] {
            for months in [CalendarWindows::months(1), CalendarWindows::days(4000)] {
                let windows = months.time_zone(zone);
                let ends = [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC];
                let ends = ends.map(|end| end.timestamp_micros());
                for at in [
                    ends[0],
                    ends[0] + 1,
                    ends[1] - 1,
                    ends[1],
                    i64::MIN,
                    i64::MAX,
                ] {
                    check(windows, at, &[(i64::MIN, EventTime::END_OF_GLOBAL.0)]);
                }
            }
        }
    }

    #[test]
    fn a_day_whose_midnight_is_skipped_begins_later() {
        let time = |text: &str| EventTime::parse(text).unwrap();
        let days = CalendarWindows::days(1).time_zone(Tz::America__Sao_Paulo);
        let mut got = Vec::new();
        let at = time("2018-11-04T12:00:00-02:00");
        WindowFn::<()>::assign(&days, &(), at, |window| got.push(window));
        assert_eq!(got[0].start, time("2018-11-04T01:00:00-02:00"));
        assert_eq!(got[0].end, time("2018-11-05T00:00:00-02:00"));
    }
}
