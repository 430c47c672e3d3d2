//! Instants and their text.
//!
//! One rule: an instant is read only where it is real. A 30th of February, an hour 24 and a leap
//! second are no instants, and nothing is rolled over into one. The reader goes by fixed positions,
//! because an event stream writes the same few dates over and over: the last date is remembered
//! (`DateCache`) and only the clock is read anew.

use crate::time::EventTime;

const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

/// How a timestamp is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TimestampFormat {
    /// Exactly `YYYY-MM-DDTHH:MM:SS`, UTC.
    Strict,
    /// ISO 8601 with `T`, `t` or a space, an optional fraction, `Z`, `z` or an offset.
    #[default]
    Iso8601,
    /// An integer of seconds since 1970.
    UnixSeconds,
    /// An integer of milliseconds since 1970.
    UnixMillis,
    /// An integer of microseconds since 1970.
    UnixMicros,
}

impl TimestampFormat {
    /// The format's name in a dataflow file.
    pub fn as_str(self) -> &'static str {
        match self {
            TimestampFormat::Strict => "strict",
            TimestampFormat::Iso8601 => "iso8601",
            TimestampFormat::UnixSeconds => "unix-s",
            TimestampFormat::UnixMillis => "unix-ms",
            TimestampFormat::UnixMicros => "unix-us",
        }
    }

    /// The instant that `text` names; none where it is not a real instant of this format, and
    /// always none for the formats that are integers.
    ///
    /// ```
    /// use amend::EventTime;
    /// use amend::event::TimestampFormat;
    /// let iso = TimestampFormat::Iso8601;
    /// assert_eq!(iso.parse_text("1970-01-01 01:00:00.25+01:00"), Some(EventTime(250_000)));
    /// assert_eq!(iso.parse_text("1970-02-30T00:00:00"), None);
    /// assert_eq!(TimestampFormat::Strict.parse_text("1970-01-01T00:00:00Z"), None);
    /// ```
    pub fn parse_text(self, text: &str) -> Option<EventTime> {
        self.parse_bytes(text.as_bytes(), &mut DateCache::default())
    }

    /// The instant that is `count` of this format's units after 1970; none where that is beyond
    /// the range of [`EventTime`], and always none for the formats that are text.
    ///
    /// ```
    /// use amend::EventTime;
    /// use amend::event::TimestampFormat;
    /// assert_eq!(TimestampFormat::UnixMillis.parse_integer(-5), Some(EventTime(-5_000)));
    /// assert_eq!(TimestampFormat::UnixMillis.parse_integer(i64::MAX), None);
    /// ```
    pub fn parse_integer(self, count: i64) -> Option<EventTime> {
        count.checked_mul(self.unit_micros()?).map(EventTime)
    }

    /// [`TimestampFormat::parse_text`] with the date of the last call at hand.
    pub(super) fn parse_bytes(self, text: &[u8], dates: &mut DateCache) -> Option<EventTime> {
        let lenient = match self {
            TimestampFormat::Strict => false,
            TimestampFormat::Iso8601 => true,
            _ => return None,
        };
        let (date, rest) = text.split_first_chunk::<10>()?;
        let (clock, rest) = rest.split_first_chunk::<9>()?;
        let days = dates.days(date)?;
        let seconds = days * SECONDS_PER_DAY + seconds_of_clock(clock, lenient)?;
        if rest.is_empty() {
            return Some(EventTime(seconds * MICROS_PER_SECOND));
        }
        if !lenient {
            return None;
        }
        let (micros, rest) = fraction(rest)?;
        let offset = offset_seconds(rest)?;
        Some(EventTime((seconds - offset) * MICROS_PER_SECOND + micros))
    }

    /// Appends `time` as the JSON value that this format reads back (quoted text, or an integer).
    ///
    /// Text has a fraction of 3 or 6 digits only where there is one. What the format cannot write
    /// is rounded down. Years before 0 and after 9999, which an offset can reach, get a sign as
    /// chrono writes it; that text is not read back.
    ///
    /// ```
    /// use amend::EventTime;
    /// use amend::event::TimestampFormat;
    /// let mut out = Vec::new();
    /// TimestampFormat::Iso8601.write_json(EventTime(250_000), &mut out);
    /// assert_eq!(out, br#""1970-01-01T00:00:00.250Z""#);
    /// ```
    pub fn write_json(self, time: EventTime, out: &mut Vec<u8>) {
        if let Some(unit) = self.unit_micros() {
            out.extend_from_slice(time.0.div_euclid(unit).to_string().as_bytes());
            return;
        }
        let seconds = time.0.div_euclid(MICROS_PER_SECOND);
        let micros = time.0.rem_euclid(MICROS_PER_SECOND);
        out.push(b'"');
        write_date(seconds.div_euclid(SECONDS_PER_DAY), out);
        let clock = seconds.rem_euclid(SECONDS_PER_DAY);
        for (before, number) in [
            (b'T', clock / 3600),
            (b':', clock / 60 % 60),
            (b':', clock % 60),
        ] {
            out.push(before);
            write_digits(number, 2, out);
        }
        if self == TimestampFormat::Iso8601 {
            match micros {
                0 => {}
                _ if micros % 1000 == 0 => {
                    out.push(b'.');
                    write_digits(micros / 1000, 3, out);
                }
                _ => {
                    out.push(b'.');
                    write_digits(micros, 6, out);
                }
            }
            out.push(b'Z');
        }
        out.push(b'"');
    }

    /// Rounds `time` down to what the format can write.
    ///
    /// ```
    /// use amend::EventTime;
    /// use amend::event::TimestampFormat;
    /// assert_eq!(TimestampFormat::Strict.round_down(EventTime(-1)), EventTime(-1_000_000));
    /// assert_eq!(TimestampFormat::Iso8601.round_down(EventTime(-1)), EventTime(-1));
    /// ```
    pub fn round_down(self, time: EventTime) -> EventTime {
        let step = match self {
            TimestampFormat::Strict | TimestampFormat::UnixSeconds => MICROS_PER_SECOND,
            TimestampFormat::UnixMillis => 1_000,
            TimestampFormat::Iso8601 | TimestampFormat::UnixMicros => 1,
        };
        // Only times within a second of i64::MIN saturate, and no format reads such a time that
        // it would have to round.
        EventTime(time.0.saturating_sub(time.0.rem_euclid(step)))
    }

    /// The unit of an integer format in microseconds.
    fn unit_micros(self) -> Option<i64> {
        match self {
            TimestampFormat::Strict | TimestampFormat::Iso8601 => None,
            TimestampFormat::UnixSeconds => Some(MICROS_PER_SECOND),
            TimestampFormat::UnixMillis => Some(1_000),
            TimestampFormat::UnixMicros => Some(1),
        }
    }
}

/// The date that was read last, so that it is not worked out again.
#[derive(Clone, Debug)]
pub(super) struct DateCache {
    text: [u8; 10],
    days: i64,
}

impl Default for DateCache {
    fn default() -> Self {
        DateCache {
            text: *b"1970-01-01",
            days: 0,
        }
    }
}

impl DateCache {
    /// The days from 1970-01-01 to the date `YYYY-MM-DD`.
    fn days(&mut self, text: &[u8; 10]) -> Option<i64> {
        if *text != self.text {
            self.days = days_of_date(text)?;
            self.text = *text;
        }
        Some(self.days)
    }
}

fn days_of_date(text: &[u8; 10]) -> Option<i64> {
    let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = text else {
        return None;
    };
    let year = two_digits(y1, y2)? * 100 + two_digits(y3, y4)?;
    let month = two_digits(m1, m2)?;
    let day = two_digits(d1, d2)?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days_in_month = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return None,
    };
    if !(1..=days_in_month).contains(&day) {
        return None;
    }
    // Years are counted from March, so that the leap day is the last of its year; the constant is
    // the number of days from 0000-03-01 to 1970-01-01.
    let year = if month <= 2 { year - 1 } else { year };
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    Some(year * 365 + leap_days + day_of_year - 719_468)
}

/// Appends the date that is `days` after 1970-01-01; the inverse of [`days_of_date`].
fn write_date(days: i64, out: &mut Vec<u8>) {
    const DAYS_PER_ERA: i64 = 146_097; // 400 years
    let days = days + 719_468;
    let era = days.div_euclid(DAYS_PER_ERA);
    let day_of_era = days.rem_euclid(DAYS_PER_ERA);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    if (0..=9999).contains(&year) {
        write_digits(year, 4, out);
    } else {
        out.extend_from_slice(format!("{year:+05}").as_bytes());
    }
    out.push(b'-');
    write_digits(month, 2, out);
    out.push(b'-');
    write_digits(day, 2, out);
}

/// The seconds since midnight of `THH:MM:SS`.
fn seconds_of_clock(text: &[u8; 9], lenient: bool) -> Option<i64> {
    let &[separator, h1, h2, b':', m1, m2, b':', s1, s2] = text else {
        return None;
    };
    if separator != b'T' && !(lenient && matches!(separator, b't' | b' ')) {
        return None;
    }
    let (hour, minute, second) = (
        two_digits(h1, h2)?,
        two_digits(m1, m2)?,
        two_digits(s1, s2)?,
    );
    (hour <= 23 && minute <= 59 && second <= 59).then_some(hour * 3600 + minute * 60 + second)
}

/// The microseconds of a fraction, if `text` begins with one, and what follows it.
fn fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let [b'.', text @ ..] = text else {
        return Some((0, text));
    };
    let length = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if length == 0 {
        return None;
    }
    let (digits, rest) = text.split_at(length);
    let six = digits.iter().chain(b"000000").take(6);
    let micros = six.fold(0, |number, digit| number * 10 + i64::from(digit - b'0'));
    Some((micros, rest))
}

/// The seconds that local time is ahead of UTC.
fn offset_seconds(text: &[u8]) -> Option<i64> {
    let (sign, h1, h2, m1, m2) = match *text {
        [] | [b'Z' | b'z'] => return Some(0),
        [b'+', h1, h2, b':', m1, m2] => (1, h1, h2, m1, m2),
        [b'-', h1, h2, b':', m1, m2] => (-1, h1, h2, m1, m2),
        _ => return None,
    };
    let (hours, minutes) = (two_digits(h1, h2)?, two_digits(m1, m2)?);
    (hours <= 23 && minutes <= 59).then_some(sign * (hours * 3600 + minutes * 60))
}

fn two_digits(tens: u8, ones: u8) -> Option<i64> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    (tens <= 9 && ones <= 9).then(|| i64::from(tens * 10 + ones))
}

/// Appends `number`, which is not negative, with leading zeros up to `width` digits.
fn write_digits(number: i64, width: u32, out: &mut Vec<u8>) {
    for place in (0..width).rev() {
        out.push(b'0' + (number / 10_i64.pow(place) % 10) as u8);
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::event::oracle::read_instant;

    /// Text that both formats read, as microseconds.
    #[track_caller]
    fn check(text: &str, strict: Option<i64>, lenient: Option<i64>) {
        assert_eq!(
            TimestampFormat::Strict.parse_text(text),
            strict.map(EventTime),
            "{text}"
        );
        assert_eq!(
            TimestampFormat::Iso8601.parse_text(text),
            lenient.map(EventTime),
            "{text}"
        );
        assert_eq!(read_instant(text, true), strict.map(EventTime), "{text}");
        assert_eq!(read_instant(text, false), lenient.map(EventTime), "{text}");
    }

    #[test]
    fn real_instants() {
        check("1970-01-01T00:00:00", Some(0), Some(0));
        check("1969-12-31T23:59:59", Some(-1_000_000), Some(-1_000_000));
        check(
            "2000-02-29T00:00:00",
            Some(951_782_400_000_000),
            Some(951_782_400_000_000),
        );
        check(
            "0000-01-01T00:00:00",
            Some(-62_167_219_200_000_000),
            Some(-62_167_219_200_000_000),
        );
        check(
            "9999-12-31T23:59:59",
            Some(253_402_300_799_000_000),
            Some(253_402_300_799_000_000),
        );
        for text in [
            "2025-02-29T00:00:00",
            "1900-02-29T00:00:00",
            "2025-04-31T00:00:00",
            "2025-00-01T00:00:00",
            "2025-13-01T00:00:00",
            "2025-01-00T00:00:00",
            "2025-01-32T00:00:00",
            "2025-01-01T24:00:00",
            "2025-01-01T00:60:00",
            "2025-01-01T00:00:60",
            "2016-12-31T23:59:60",
        ] {
            check(text, None, None);
        }
    }

    #[test]
    fn what_only_iso8601_takes() {
        for (text, micros) in [
            ("1970-01-01t00:00:01", 1_000_000),
            ("1970-01-01 00:00:01", 1_000_000),
            ("1970-01-01T00:00:01Z", 1_000_000),
            ("1970-01-01T00:00:01z", 1_000_000),
            ("1970-01-01T00:00:01.5", 1_500_000),
            ("1970-01-01T00:00:01.0000019999999999999999Z", 1_000_001),
            ("1969-12-31T23:59:59.25", -750_000),
            ("1970-01-01T01:00:00+01:00", 0),
            ("1970-01-01T00:00:00-00:30", 1_800_000_000),
            ("1970-01-01T00:00:00-00:00", 0),
            ("1970-01-01T23:59:00.125+23:59", 125_000),
            ("0000-01-01T00:00:00+00:01", -62_167_219_260_000_000),
            ("9999-12-31T23:59:59.999999-23:59", 253_402_387_139_999_999),
        ] {
            check(text, None, Some(micros));
        }
    }

    #[test]
    fn other_text() {
        for text in [
            "",
            "T",
            "1970-01-01",
            "1970-01-01T00:00",
            "1970-01-01T00:00:0",
            "1970-01-01T00:00:00.",
            "1970-01-01T00:00:00.Z",
            "1970-01-01T00:00:00,5",
            "1970-01-01T00:00:00ZZ",
            "1970-01-01T00:00:00 Z",
            "1970-01-01T00:00:00+01",
            "1970-01-01T00:00:00+0100",
            "1970-01-01T00:00:00+24:00",
            "1970-01-01T00:00:00+00:60",
            "1970-01-01T00:00:00+1:00",
            "1970-01-01T00:00:00+01:00Z",
            "1970-01-01T00:00:00.5x",
            "1970-01-01_00:00:00",
            "1970-01-01T00:00:00\n",
            " 1970-01-01T00:00:00",
            "1970-1-1T00:00:00",
            "70-01-01T00:00:00",
            "+1970-01-01T00:00:00",
            "-970-01-01T00:00:00",
            "11970-01-01T00:00:00",
            "1970/01/01T00:00:00",
            "1970-01-01T00.00.00",
            "1970-01-01T-1:00:00",
            "19\u{666}70-01-01T0:00:00",
            "1970-01-01T00:00:00\u{2212}01:00",
            "1970-01-01\u{a0}00:00:00",
        ] {
            check(text, None, None);
        }
    }

    #[test]
    fn integers() {
        let check = |format: TimestampFormat, count: i64, micros: Option<i64>| {
            assert_eq!(
                format.parse_integer(count),
                micros.map(EventTime),
                "{format:?} {count}"
            );
            assert_eq!(format.parse_text(&count.to_string()), None);
        };
        check(TimestampFormat::UnixSeconds, -1, Some(-1_000_000));
        check(
            TimestampFormat::UnixSeconds,
            9_223_372_036_854,
            Some(9_223_372_036_854_000_000),
        );
        check(TimestampFormat::UnixSeconds, 9_223_372_036_855, None);
        check(TimestampFormat::UnixMillis, i64::MIN, None);
        check(TimestampFormat::UnixMicros, i64::MIN, Some(i64::MIN));
        check(TimestampFormat::Strict, 0, None);
        check(TimestampFormat::Iso8601, 0, None);
    }

    #[test]
    fn written() {
        let check = |format: TimestampFormat, micros: i64, expected: &str| {
            let mut out = Vec::new();
            format.write_json(EventTime(micros), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        };
        check(TimestampFormat::Iso8601, 0, r#""1970-01-01T00:00:00Z""#);
        check(
            TimestampFormat::Iso8601,
            -1,
            r#""1969-12-31T23:59:59.999999Z""#,
        );
        check(
            TimestampFormat::Iso8601,
            1_010_000,
            r#""1970-01-01T00:00:01.010Z""#,
        );
        check(
            TimestampFormat::Iso8601,
            1_000_010,
            r#""1970-01-01T00:00:01.000010Z""#,
        );
        check(TimestampFormat::Strict, -1, r#""1969-12-31T23:59:59""#);
        check(
            TimestampFormat::Iso8601,
            -62_167_219_260_000_000,
            r#""-0001-12-31T23:59:00Z""#,
        );
        check(
            TimestampFormat::Iso8601,
            253_402_300_800_000_000,
            r#""+10000-01-01T00:00:00Z""#,
        );
        check(TimestampFormat::UnixSeconds, -1, "-1");
        check(TimestampFormat::UnixSeconds, i64::MIN, "-9223372036855");
        check(TimestampFormat::UnixMillis, 1_999, "1");
        check(TimestampFormat::UnixMicros, i64::MAX, "9223372036854775807");
        for extreme in [i64::MIN, i64::MAX] {
            TimestampFormat::Iso8601.write_json(EventTime(extreme), &mut Vec::new());
        }
    }

    #[test]
    fn rounded_down() {
        let check = |format: TimestampFormat, micros: i64, expected: i64| {
            assert_eq!(
                format.round_down(EventTime(micros)),
                EventTime(expected),
                "{format:?}"
            );
        };
        check(TimestampFormat::Strict, 1_999_999, 1_000_000);
        check(TimestampFormat::UnixSeconds, -1, -1_000_000);
        check(TimestampFormat::UnixMillis, -1, -1_000);
        check(TimestampFormat::UnixMillis, -1_000, -1_000);
        check(TimestampFormat::UnixMicros, -1, -1);
        check(TimestampFormat::Strict, i64::MIN, i64::MIN);
    }

    /// Instants over all years that text can name, and a few beyond.
    #[test]
    fn oracle_chrono_writes_the_same() {
        const FIRST: i64 = -62_200_000_000_000_000;
        const LAST: i64 = 253_500_000_000_000_000;
        let mut state = 1_u64;
        for nth in 0..50_000 {
            state = state
                .wrapping_mul(0x5851_f42d_4c95_7f2d)
                .wrapping_add(0x1405_7b7e_f767_814f);
            let micros = FIRST + (state >> 1) as i64 % (LAST - FIRST);
            // A third with no fraction, a third with milliseconds.
            let step = [1, 1_000, 1_000_000][nth % 3];
            let time = EventTime(micros.div_euclid(step) * step);
            let instant = DateTime::from_timestamp_micros(time.0).unwrap();
            let mut out = Vec::new();
            TimestampFormat::Iso8601.write_json(time, &mut out);
            let text = String::from_utf8(out).unwrap();
            assert_eq!(
                text,
                instant.format("\"%Y-%m-%dT%H:%M:%S%.fZ\"").to_string()
            );
            let text = text.trim_matches('"');
            if text.len() == "0000-00-00T00:00:00.000000Z".len() || text.len() <= 24 {
                let is_readable = !text.starts_with(['+', '-']);
                let expected = is_readable.then_some(time);
                assert_eq!(
                    TimestampFormat::Iso8601.parse_text(text),
                    expected,
                    "{text}"
                );
            }
        }
    }
}
