//! Instructions that the innermost work takes, counted by callgrind: the same on every run.
//!
//! Answers: whether a change makes decoding, judging, reconstructing or writing dearer, where the noise of
//! a clock would drown it. It says nothing of caches and branches, and so nothing of time. Callgrind
//! has no AVX-512, so code that would pick that counts with AVX2. Without `--bench` (as under
//! `cargo test --benches`) everything runs once on a small input and nothing is counted, because
//! counting needs valgrind and `gungraun-runner`.

mod events;
mod rows;

use amend::event::{Decoder, Reason, TimestampFormat};
use amend::io::part::Place;
use amend::operators::gaps::gaps;
use amend::operators::parcel::{Parcel, Spare};
use amend::operators::sightings::{Config, Sighting, sightings};
use amend::repair::fill::{EpochOfGaps, Filler, Note};
use amend::repair::lines::{Letter, Sources};
use events::{records, workload};
use rows::{Fed, Rows, event_spec};

/// Records and lines where one is like the other.
const FEW: u64 = 1_000;
/// Events in an epoch.
const EPOCH: u64 = 10_000;
/// Epochs before the one that is counted.
const EARLIER: u64 = 4;
/// Streams of which nearly every one has one event in an epoch.
const WIDE: u64 = 100_000;

fn main() {
    let mut arguments = std::env::args().skip(1);
    if arguments.any(|argument| argument == "--bench" || argument == "--gungraun-run") {
        return counted::count();
    }
    for records in [flat(100), escaped(100)] {
        decode(records);
    }
    for (epoch, streams) in [(200, 64), (200, 1), (200, 2_000)] {
        judge(sighted(epoch, streams));
        fill(told(epoch, streams));
    }
    letters(set_aside(100));
    parse(timestamps(100));
}

/// What is run under callgrind, one function for each subject.
mod counted {
    use gungraun::Callgrind;
    use gungraun::prelude::*;

    use super::*;

    /// Starts the runner, or is started by it.
    pub(super) fn count() {
        main();
    }

    #[library_benchmark]
    #[bench::flat(args = (FEW), setup = flat)]
    #[bench::escaped(args = (FEW), setup = escaped)]
    fn decode(records: Known) -> (Known, i64) {
        super::decode(records)
    }

    #[library_benchmark]
    #[bench::busy(args = (EPOCH, 64), setup = sighted)]
    #[bench::hot(args = (EPOCH, 1), setup = sighted)]
    #[bench::wide(args = (EPOCH, WIDE), setup = sighted)]
    fn judge(rows: Sighted) -> Fed<Parcel<Sighting<u32>>> {
        super::judge(rows)
    }

    #[library_benchmark]
    #[bench::busy(args = (EPOCH, 64), setup = told)]
    #[bench::hot(args = (EPOCH, 1), setup = told)]
    #[bench::wide(args = (EPOCH, WIDE), setup = told)]
    fn fill(told: Told) -> (Filler, Vec<Note>) {
        super::fill(told)
    }

    #[library_benchmark]
    #[bench::known(args = (FEW), setup = set_aside)]
    fn letters(records: SetAside) -> (SetAside, Vec<u8>) {
        super::letters(records)
    }

    #[library_benchmark]
    #[bench::iso8601(args = (FEW), setup = timestamps)]
    fn parse(texts: Vec<String>) -> (Vec<String>, i64) {
        super::parse(texts)
    }

    library_benchmark_group!(
        name = instructions,
        benchmarks = [decode, judge, fill, letters, parse]
    );
    gungraun::main!(
        config = LibraryBenchmarkConfig::default().tool(Callgrind::with_args(["--cache-sim=no"])),
        library_benchmark_groups = [instructions]
    );
}

/// Records, and a decoder that has seen their like.
type Known = (Decoder, Vec<Vec<u8>>);

fn flat(count: u64) -> Known {
    known(records(workload(count, 64)))
}

fn escaped(count: u64) -> Known {
    let record = |nth: u64| {
        format!(
            r#"{{"event_id":{},"stream":"s{}","type":"LeadCreated","timestamp":"2025-02-09T12:00:{:02}","valid":true,"note":"said \"yes\"\nat \u0031{}"}}"#,
            1_000_000 + nth,
            nth % 64,
            nth % 60,
            nth % 10,
        )
    };
    known((0..count).map(|nth| record(nth).into_bytes()).collect())
}

fn known(records: Vec<Vec<u8>>) -> Known {
    decode((Decoder::new(event_spec()), records)).0
}

fn decode((mut decoder, records): Known) -> (Known, i64) {
    let mut seen = 0;
    for record in &records {
        let event = decoder.decode(record).expect("the records are well-formed");
        seen ^= event.id ^ event.time.0;
    }
    ((decoder, records), seen)
}

/// Sightings and gaps that know some epochs, and the rows of the next.
type Sighted = (Fed<Parcel<Sighting<u32>>>, Vec<Parcel<Sighting<u32>>>);

fn sighted(epoch: u64, streams: u64) -> Sighted {
    let mut rows = rows(epoch, streams).parcels();
    let next = rows.pop().expect("there are epochs");
    let mut fed = Fed::new(|rows| {
        let config = Config {
            verdicts: true,
            ..Config::default()
        };
        let sighted = sightings(rows, config, u64::from, Spare::default());
        gaps(sighted.gaps, sighted.edges, u64::from).probe().0
    });
    fed.feed_all(rows);
    (fed, next)
}

fn judge((mut fed, rows): Sighted) -> Fed<Parcel<Sighting<u32>>> {
    fed.feed(rows);
    fed
}

/// The rules about gaps that know some epochs, and what is told of the next.
type Told = (Filler, EpochOfGaps);

fn told(epoch: u64, streams: u64) -> Told {
    let rows = rows(epoch, streams);
    let mut told = rows.gaps();
    let next = told.pop().expect("there are epochs");
    let mut filler = rows.filler();
    for epoch in told {
        filler.apply(epoch, &mut Vec::new());
    }
    (filler, next)
}

fn fill((mut filler, next): Told) -> (Filler, Vec<Note>) {
    let mut notes = Vec::new();
    filler.apply(next, &mut notes);
    (filler, notes)
}

fn rows(epoch: u64, streams: u64) -> Rows {
    Rows::new(workload(epoch * (EARLIER + 1), streams), epoch as usize)
}

/// Records to be set aside, and their source.
type SetAside = (Sources, Vec<Vec<u8>>);

fn set_aside(count: u64) -> SetAside {
    let sources = Sources::new("bench", vec!["in.jsonl".to_owned()]);
    (sources, records(workload(count, 64)))
}

fn letters((sources, records): SetAside) -> (SetAside, Vec<u8>) {
    let mut out = Vec::new();
    for (line, record) in (1..).zip(&records) {
        let letter = Letter {
            reason: Reason::Duplicate,
            detail: "same bytes as the copy that was kept",
            epoch: 1,
            place: Place {
                partition: 0,
                offset: line * 109,
                line,
            },
        };
        letter.write(&sources, record, None, &mut out);
    }
    ((sources, records), out)
}

fn timestamps(count: u64) -> Vec<String> {
    let text = |nth: u64| {
        let (minute, second) = (nth / 60 % 60, nth % 60);
        format!("2025-02-09T12:{minute:02}:{second:02}.250+01:00")
    };
    (0..count).map(text).collect()
}

fn parse(texts: Vec<String>) -> (Vec<String>, i64) {
    let times = texts.iter().map(|text| {
        let time = TimestampFormat::Iso8601.parse_text(text);
        time.expect("the texts are timestamps").0
    });
    let seen = times.fold(0, |seen, time| seen ^ time);
    (texts, seen)
}
