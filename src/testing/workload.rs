//! Seeded streams of events, as large as one likes, with known damage.
//!
//! The same workloads feed benches and tests. A line depends on the seed and its number alone.

use std::io::{self, Write};

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
    /// The share of events that come later than their place, by up to [`Workload::LATE_BY`] places.
    pub late: f64,
    /// Where the random numbers begin.
    pub seed: u64,
}

impl Workload {
    /// How many places a late event may come behind its own.
    pub const LATE_BY: u64 = 10_000;

    /// 64 busy streams with a little of every damage.
    pub fn linq(events: u64) -> Self {
        Workload {
            events,
            streams: 64,
            duplicates: 0.02,
            missing: 0.01,
            late: 0.02,
            seed: 1,
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
        let mut next_id = vec![1_000_u64; self.streams as usize];
        // Lines that wait for their place, by the number of that place.
        let mut late = std::collections::BTreeMap::<u64, Vec<Vec<u8>>>::new();
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
            let stream = random.below(self.streams);
            let id = &mut next_id[stream as usize];
            *id += 1;
            while random.chance(self.missing) {
                *id += 1;
            }
            let second = made / 50;
            made += 1;
            line.clear();
            writeln!(
                line,
                "{{\"event_id\":{id},\"stream\":\"tenant-{stream:04}\",\"type\":\"{}\",\
                 \"timestamp\":\"2025-02-{:02}T{:02}:{:02}:{:02}\",\"valid\":true}}",
                TYPES[(random.draw() >> 33) as usize % TYPES.len()],
                9 + second / 86_400 % 19,
                second / 3600 % 24,
                second / 60 % 60,
                second % 60,
            )?;
            if random.chance(self.late) {
                let place = written + 1 + random.below(Self::LATE_BY);
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
}
