//! Timestamps as microseconds since 1970, read and written.

const DAY_SECONDS: i64 = 86_400;
const SECOND: i64 = 1_000_000;

/// Reads timestamps. Neighbours mostly share their date, so the last one is kept.
#[derive(Debug, Default)]
pub struct Clock {
    date: [u8; 10],
    days: i64,
}

impl Clock {
    /// The instant that `text` names: `YYYY-MM-DDTHH:MM:SS`, then a fraction and a zone or not.
    pub fn read(&mut self, text: &str) -> Option<i64> {
        let (date, rest) = text.as_bytes().split_first_chunk::<10>()?;
        let (clock, rest) = rest.split_first_chunk::<9>()?;
        if *date != self.date {
            self.days = days(date)?;
            self.date = *date;
        }
        let &[b'T' | b't' | b' ', h1, h2, b':', m1, m2, b':', s1, s2] = clock else {
            return None;
        };
        let (hour, minute, second) = (number(&[h1, h2])?, number(&[m1, m2])?, number(&[s1, s2])?);
        if hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let seconds = self.days * DAY_SECONDS + hour * 3600 + minute * 60 + second;
        if rest.is_empty() {
            return Some(seconds * SECOND);
        }
        let (micros, zone) = fraction(rest)?;
        Some((seconds - ahead(zone)?) * SECOND + micros)
    }
}

/// The days from 1970 to a date, which must be a real one.
fn days(date: &[u8; 10]) -> Option<i64> {
    let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = date else {
        return None;
    };
    let (year, month, day) = (
        number(&[y1, y2, y3, y4])?,
        number(&[m1, m2])?,
        number(&[d1, d2])?,
    );
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i64::from(is_leap),
        _ => return None,
    };
    if !(1..=length).contains(&day) {
        return None;
    }
    // Years that begin in March have their odd day at the end.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * month + 2) / 5 + day - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |number, digit| {
        digit
            .is_ascii_digit()
            .then(|| number * 10 + i64::from(digit - b'0'))
    })
}

/// Microseconds, cut off, and what follows.
fn fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let Some(text) = text.strip_prefix(b".") else {
        return Some((0, text));
    };
    let length = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = text.split_at(length);
    let six = digits.iter().chain(b"000000").take(6);
    let micros = six.fold(0, |number, digit| number * 10 + i64::from(digit - b'0'));
    (length > 0).then_some((micros, rest))
}

/// The seconds that a zone is ahead of UTC.
fn ahead(zone: &[u8]) -> Option<i64> {
    match *zone {
        [] | [b'Z' | b'z'] => Some(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (number(&[h1, h2])?, number(&[m1, m2])?);
            let seconds = hours * 3600 + minutes * 60;
            (hours <= 23 && minutes <= 59).then_some(if sign == b'-' { -seconds } else { seconds })
        }
        _ => None,
    }
}

/// Appends `time` with its quotes.
pub fn write(time: i64, out: &mut Vec<u8>) {
    let (seconds, micros) = (time.div_euclid(SECOND), time.rem_euclid(SECOND));
    let (days, clock) = (
        seconds.div_euclid(DAY_SECONDS),
        seconds.rem_euclid(DAY_SECONDS),
    );
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (clock / 3600, clock / 60 % 60, clock % 60);
    let year = match year {
        0..=9999 => format!("{year:04}"),
        _ => format!("{year:+05}"),
    };
    let fraction = match micros {
        0 => String::new(),
        _ if micros % 1000 == 0 => format!(".{:03}", micros / 1000),
        _ => format!(".{micros:06}"),
    };
    let text =
        format!("\"{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z\"");
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        let time = Clock::default().read(text);
        let written = time.map(|time| {
            let mut out = Vec::new();
            write(time, &mut out);
            String::from_utf8(out).unwrap()
        });
        let expected = expected.map(|text| format!("\"{text}\""));
        assert_eq!(written, expected, "{text}");
    }

    #[test]
    fn instants() {
        check("2025-02-09T12:00:00", Some("2025-02-09T12:00:00Z"));
        check("2024-02-29 12:00:00.5Z", Some("2024-02-29T12:00:00.500Z"));
        check(
            "1969-12-31t23:59:59.1234567",
            Some("1969-12-31T23:59:59.123456Z"),
        );
        check("2025-01-01T00:30:00+01:00", Some("2024-12-31T23:30:00Z"));
        check("0000-01-01T00:00:00", Some("0000-01-01T00:00:00Z"));
        for bad in [
            "2025-02-29T12:00:00",
            "2025-02-09T24:00:00",
            "2025-02-09T12:00:60",
            "2025-02-09T12:00:00.",
            "2025-02-09T12:00:00+24:00",
            "2025-02-09",
        ] {
            check(bad, None);
        }
    }
}
