//! Seeded streams of events, as large as one likes, with known damage.
//!
//! The same workloads feed benches and tests. One rule: equal workloads give equal bytes, and damage
//! that is not asked for draws no random numbers, so that it changes nothing of the rest.

use std::collections::BTreeMap;
use std::io::{self, Write};

use chrono::{Days, NaiveDate};
use clap::ValueEnum;

/// The workloads that figures are given for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Profile {
    /// 64 busy streams with a little of every damage
    Linq,
    /// 100,000 streams
    Wide,
    /// One stream
    Hot,
    /// Every fifth event is late, by up to an hour
    Late,
    /// No damage
    Clean,
    /// Ten times the damage
    Dirty,
}

impl Profile {
    /// What it is called on the command line and in tables.
    pub fn name(self) -> &'static str {
        match self {
            Profile::Linq => "linq",
            Profile::Wide => "wide",
            Profile::Hot => "hot",
            Profile::Late => "late",
            Profile::Clean => "clean",
            Profile::Dirty => "dirty",
        }
    }

    /// The workload of this name, with this many events.
    ///
    /// ```
    /// use amend::testing::workload::Profile;
    ///
    /// assert_eq!(Profile::Hot.workload(1000).streams, 1);
    /// ```
    pub fn workload(self, events: u64) -> Workload {
        let linq = Workload::linq(events);
        match self {
            Profile::Linq => linq,
            Profile::Wide => Workload {
                streams: 100_000,
                ..linq
            },
            Profile::Hot => Workload { streams: 1, ..linq },
            Profile::Late => Workload {
                late: 0.2,
                late_by: EVENTS_A_SECOND * 3600,
                ..linq
            },
            Profile::Clean => Workload {
                duplicates: 0.0,
                missing: 0.0,
                late: 0.0,
                ..linq
            },
            Profile::Dirty => Workload {
                duplicates: 0.2,
                missing: 0.1,
                late: 0.2,
                ..linq
            },
        }
    }
}

/// What a workload is made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Workload {
    /// Events, copies included.
    pub events: u64,
    /// Streams, all equally busy.
    pub streams: u64,
    /// The share of events that are copies of one that came shortly before.
    pub duplicates: f64,
    /// The share of ids that never come.
    pub missing: f64,
    /// The share of events that come later than their place.
    pub late: f64,
    /// By up to how many places they do; 50 places are a second of event time. What would come
    /// behind the last place never comes.
    pub late_by: u64,
    /// The share of events at which the producer of a busy stream starts over with its first ids.
    pub restarts: f64,
    /// The share of events whose id is far from those of its stream.
    pub outliers: f64,
    /// The share of events that are stamped in the year 9999.
    pub far_future: f64,
    /// Streams beside the busy ones that begin one after the other, each to live for a minute of
    /// event time. Together they have [`Workload::BRIEF_SHARE`] of the events.
    pub brief_streams: u64,
    /// Where the random numbers begin.
    pub seed: u64,
}

impl Workload {
    /// The share of events that belong to brief streams, where there are some.
    pub const BRIEF_SHARE: f64 = 0.05;

    /// 64 busy streams with a little of every damage.
    pub fn linq(events: u64) -> Self {
        Workload {
            events,
            streams: 64,
            duplicates: 0.02,
            missing: 0.01,
            late: 0.02,
            late_by: 10_000,
            restarts: 0.0,
            outliers: 0.0,
            far_future: 0.0,
            brief_streams: 0,
            seed: 1,
        }
    }

    /// As [`Workload::linq`], with all that goes wrong in a stream that never ends: producers that
    /// start over about every six hours, ids and clocks that are far off, and 100,000 brief streams.
    pub fn unbounded(events: u64) -> Self {
        Workload {
            restarts: 6e-5,
            outliers: 1e-5,
            far_future: 1e-5,
            brief_streams: 100_000,
            ..Self::linq(events)
        }
    }

    /// Writes the events as JSON lines.
    ///
    /// ```
    /// use amend::testing::workload::Workload;
    ///
    /// let mut lines = Vec::new();
    /// Workload::linq(1000).write(&mut lines).unwrap();
    /// assert_eq!(lines.iter().filter(|byte| **byte == b'\n').count(), 1000);
    /// ```
    ///
    /// # Errors
    /// Where `out` does not take the lines.
    pub fn write(&self, mut out: impl Write) -> io::Result<()> {
        const TYPES: [&str; 4] = ["LeadCreated", "CRM_Sync", "Transaction", "MessageSent"];
        let mut random = Random::new(self.seed);
        let mut next_id = vec![FIRST_ID; self.streams as usize];
        // Copies take no time.
        let made_in_all = (self.events as f64 * (1.0 - self.duplicates)) as u64;
        let mut brief = Brief::new(self.brief_streams, made_in_all);
        let mut calendar = Calendar::default();
        // Lines that wait for their place, by the number of that place.
        let mut late = BTreeMap::<u64, Vec<Vec<u8>>>::new();
        let mut line = Vec::new();
        let mut written = 0;
        let mut made = 0;
        while written < self.events {
            while let Some(entry) = late.first_entry().filter(|entry| *entry.key() <= written) {
                for line in entry.remove() {
                    if written < self.events {
                        out.write_all(&line)?;
                        written += 1;
                    }
                }
            }
            if written == self.events {
                break;
            }
            if random.chance(self.duplicates) && !line.is_empty() {
                out.write_all(&line)?;
                written += 1;
                continue;
            }
            let second = made / EVENTS_A_SECOND;
            made += 1;
            let is_brief = self.brief_streams > 0 && random.chance(Self::BRIEF_SHARE);
            let (name, stream, id) = if is_brief {
                let (stream, id) = brief.pick(&mut random, second);
                ("brief", stream, id)
            } else {
                let stream = random.below(self.streams);
                let id = &mut next_id[stream as usize];
                if random.happens(self.restarts) {
                    *id = FIRST_ID;
                }
                ("tenant", stream, id)
            };
            *id += 1;
            while random.chance(self.missing) {
                *id += 1;
            }
            let id = match random.happens(self.outliers) {
                true => random.draw() >> 2,
                false => *id,
            };
            line.clear();
            write!(
                line,
                "{{\"event_id\":{id},\"stream\":\"{name}-{stream:04}\",\"type\":\"{}\",\"timestamp\":\"",
                TYPES[(random.draw() >> 33) as usize % TYPES.len()],
            )?;
            match random.happens(self.far_future) {
                true => line.extend_from_slice(b"9999-12-31"),
                false => line.extend_from_slice(calendar.day(second / 86_400).as_bytes()),
            }
            writeln!(
                line,
                "T{:02}:{:02}:{:02}\",\"valid\":true}}",
                second / 3600 % 24,
                second / 60 % 60,
                second % 60,
            )?;
            if random.chance(self.late) {
                let place = written + 1 + random.below(self.late_by);
                late.entry(place)
                    .or_default()
                    .push(std::mem::take(&mut line));
            } else {
                out.write_all(&line)?;
                written += 1;
            }
        }
        out.flush()
    }
}

/// Events of one second of event time.
const EVENTS_A_SECOND: u64 = 50;
/// Ids of a stream, and of one that starts over, begin above this one.
const FIRST_ID: u64 = 1_000;

/// The brief streams: their next ids as long as they live, however many there are in all.
struct Brief {
    streams: u64,
    /// How long all of them take, in seconds.
    seconds: u64,
    next_id: BTreeMap<u64, u64>,
}

impl Brief {
    const LIFE_SECONDS: u64 = 60;

    fn new(streams: u64, events: u64) -> Self {
        Brief {
            streams,
            seconds: (events / EVENTS_A_SECOND).max(1),
            next_id: BTreeMap::new(),
        }
    }

    /// One of those that live at `second`, and its last id.
    fn pick(&mut self, random: &mut Random, second: u64) -> (u64, &mut u64) {
        let begun = |second: u64| {
            let before = u128::from(second) * u128::from(self.streams) / u128::from(self.seconds);
            (before as u64).min(self.streams - 1)
        };
        let youngest = begun(second);
        let oldest = begun(second.saturating_sub(Self::LIFE_SECONDS - 1));
        self.next_id = self.next_id.split_off(&oldest);
        let stream = oldest + random.below(youngest - oldest + 1);
        (stream, self.next_id.entry(stream).or_insert(FIRST_ID))
    }
}

/// Days as they are written.
#[derive(Default)]
struct Calendar {
    /// The day that was asked for last.
    last: Option<(u64, String)>,
}

impl Calendar {
    /// The day number `day`, from 0.
    fn day(&mut self, day: u64) -> &str {
        if self.last.as_ref().is_none_or(|(last, _)| *last != day) {
            let first = NaiveDate::from_ymd_opt(2025, 2, 9).unwrap_or_default();
            // Time stands still at its end.
            let date = first.checked_add_days(Days::new(day));
            self.last = Some((day, date.unwrap_or(NaiveDate::MAX).to_string()));
        }
        self.last.as_ref().map_or("", |(_, text)| text)
    }
}

/// A small generator of random numbers (SplitMix64).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A generator; equal seeds give equal numbers.
    pub fn new(seed: u64) -> Self {
        Random(seed)
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`, which is not 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        ((u128::from(self.draw()) * u128::from(limit)) >> 64) as u64
    }

    /// True with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        ((self.draw() >> 11) as f64) < probability * (1_u64 << 53) as f64
    }

    /// As [`Random::chance`], but what never happens draws no number.
    fn happens(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.chance(probability)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(workload: Workload) -> String {
        let mut lines = Vec::new();
        workload.write(&mut lines).unwrap();
        String::from_utf8(lines).unwrap()
    }

    #[test]
    fn a_seed_gives_the_same_bytes_for_good() {
        let lines = text(Workload::linq(20_000));
        assert_eq!(crc32fast::hash(lines.as_bytes()), 0x0469_94ff);
    }

    #[test]
    fn profiles_have_the_damage_that_they_name() {
        let check = |profile: Profile, streams: usize, copies: bool, late_by: Option<u64>| {
            let lines = text(profile.workload(40_000));
            let mut seen =
                std::collections::BTreeMap::<&str, (u64, std::collections::BTreeSet<u64>)>::new();
            let (mut is_copied, mut is_late) = (false, false);
            for line in lines.lines() {
                let stream = line.split('"').nth(5).unwrap();
                let id = line[12..].split(',').next().unwrap().parse().unwrap();
                let (highest, ids) = seen.entry(stream).or_default();
                match ids.insert(id) {
                    false => is_copied = true,
                    true => is_late |= id < *highest,
                }
                *highest = id.max(*highest);
            }
            assert_eq!(lines.lines().count(), 40_000, "{}", profile.name());
            assert!(
                seen.len() <= streams && seen.len() * 4 > streams,
                "{}",
                profile.name()
            );
            assert_eq!(is_copied, copies, "{}", profile.name());
            assert_eq!(is_late, late_by.is_some(), "{}", profile.name());
            if let Some(late_by) = late_by {
                assert_eq!(profile.workload(1).late_by, late_by, "{}", profile.name());
            }
        };
        check(Profile::Linq, 64, true, Some(10_000));
        check(Profile::Wide, 100_000, true, Some(10_000));
        check(Profile::Hot, 1, true, Some(10_000));
        check(Profile::Late, 64, true, Some(180_000));
        check(Profile::Clean, 64, false, None);
        check(Profile::Dirty, 64, true, Some(10_000));
    }

    #[test]
    fn what_never_ends_has_all_that_goes_wrong() {
        let workload = Workload {
            restarts: 1e-3,
            outliers: 1e-3,
            far_future: 1e-3,
            brief_streams: 100,
            ..Workload::linq(40_000)
        };
        let lines = text(workload);
        assert_eq!(lines.lines().count(), 40_000);
        let streams: std::collections::BTreeSet<&str> = lines
            .lines()
            .filter_map(|line| line.split('"').find(|word| word.starts_with("brief-")))
            .collect();
        assert_eq!(streams.len(), 100);
        let count = |mark: &str| lines.lines().filter(|line| line.contains(mark)).count();
        assert!((10..100).contains(&count("9999-12-31T")));
        let ids = lines
            .lines()
            .filter_map(|line| line[12..].split(',').next());
        let ids: Vec<u64> = ids.map(|id| id.parse().unwrap()).collect();
        assert!((10..100).contains(&ids.iter().filter(|id| **id > 1_000_000).count()));
        // Without a start over the first id of a busy stream comes once, but for a few copies.
        let first = format!(":{},\"stream\":\"tenant-", FIRST_ID + 1);
        assert!(count(&first) > 64 + 10);
    }

    #[test]
    fn time_runs_on() {
        let mut calendar = Calendar::default();
        let days = [0, 18, 19, 20, 325, 326, u64::MAX].map(|day| calendar.day(day).to_owned());
        let expected = [
            "2025-02-09",
            "2025-02-27",
            "2025-02-28",
            "2025-03-01",
            "2025-12-31",
        ];
        assert_eq!(days[..5], expected);
        assert_eq!(days[5], "2026-01-01");
    }
}
