//! Whether rows and findings from columns are those from JSON: random mixes of records of every kind,
//! under every need, shared by some workers in one run and by others in the next.

use std::path::Path;
use std::sync::Arc;

use super::super::names::Names;
use super::*;
use crate::io::shared_cutter::{Poll, SharedCutter};
use crate::journal::FrameAt;
use crate::journal::columns;
use crate::repair::recollection::SegmentColumns;

const RULES: [&str; 6] = [
    "[event]\nstream = 'stream'\n",
    "[event]\nstream = ['stream', 'amount']\n[dedup]\nkeep = 'last'\n",
    "[event]\nstream = 'stream'\n[dedup]\nkey = ['event_id', 'amount']\n",
    "[gaps]\ntype = 'lower-neighbour'\ngrace = '30s'\n",
    "[dedup]\nkey = ['amount']\nhorizon = '1h'\n",
    "[event]\nstream = 'stream'\nmax_record = 1024\n[gaps]\ngrace = '1s'\n",
];

/// Numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) as usize % limit
    }
}

/// A record of one of many kinds, most of them well-formed.
fn record(dice: &mut Dice) -> Vec<u8> {
    let id = dice.below(50);
    let stream = ["a", "b", "ünï", ""][dice.below(4)];
    let r#type = ["Paid", "Sent"][dice.below(2)];
    let second = dice.below(60);
    let amount = ["1", "1.0", "[1,{}]", "null"][dice.below(4)];
    let valid = ["", ",\"valid\":true", ",\"valid\":false"][dice.below(3)];
    let head = format!("{{\"event_id\":{id},\"stream\":\"{stream}\"");
    let time = format!("\"timestamp\":\"2025-01-01T00:00:{second:02}Z\"");
    let whole = format!("{head},\"type\":\"{type}\",{time},\"amount\":{amount}{valid}}}");
    let text = match dice.below(30) {
        0 => "not json".to_owned(),
        1 => "[1]".to_owned(),
        2 => format!("{head},\"amend\":{{\"origin\":\"reconstructed\"}}}}"),
        3 => format!("{{\"type\":\"{type}\",{time}}}"),
        4 => format!("{{\"event_id\":\"x{id}\",\"type\":\"{type}\",{time}}}"),
        5 => format!("{head},\"type\":7,{time}}}"),
        6 => format!("{head},\"type\":\" \",{time}}}"),
        7 => format!("{head},\"type\":\"{type}\",\"timestamp\":\"{second}\"}}"),
        8 => format!("{head},\"type\":\"{type}\",{time},\"valid\":null}}"),
        9 => format!("{{\"event_id\":{id},\"stream\":[],\"type\":\"{type}\",{time}}}"),
        10 => whole.replace(",\"stream", ",\n\"stream"),
        11 => whole.replace("}", &format!(",\"pad\":\"{}\"}}", "x".repeat(2_000))),
        12 => return vec![b'{', 0xff, b'}'],
        _ => whole,
    };
    text.into_bytes()
}

fn reading(dataflow: &Dataflow) -> Reading {
    let names = || LocalNames::new(Names::default());
    Reading::new(dataflow, names(), names(), false)
}

/// The parts of the epochs, by epoch and worker.
fn parts(epochs: &[Vec<Vec<u8>>], most: usize, workers: usize) -> Vec<Vec<Part>> {
    let cutter = SharedCutter::scripted(epochs.to_vec(), most, workers);
    let part = |worker, turn| match cutter.take(worker, turn, true) {
        Ok(Poll::Part(part)) => part,
        other => panic!("{other:?}"),
    };
    let parts = |turn| (0..workers).map(|worker| part(worker, turn)).collect();
    (0..epochs.len() as u64).map(parts).collect()
}

fn rows() -> Rows {
    Rows::new(0, 1, Spare::default())
}

/// What comes of a part, as text.
fn shown(rows: &mut Rows, findings: &[(u32, Finding)]) -> String {
    rows.types.sort_by_key(|it| (it.stream, it.r#type));
    format!("{rows:#?}{findings:#?}")
}

#[test]
fn rows_from_columns_are_those_from_json() {
    for (rules, seed) in RULES
        .iter()
        .flat_map(|rules| (0..4).map(move |seed| (rules, seed)))
    {
        let text = format!("[source]\nkind = 'jsonl'\npath = 'a.jsonl'\n{rules}");
        let dataflow = Dataflow::from_text(&text, Path::new("a.toml"), &[]).unwrap();
        let most = dataflow.event.max_record_bytes;
        let mut dice = Dice(seed);
        // The epochs of the journal, and as they are recalled: as one.
        let counts = [dice.below(80), 1 + dice.below(80), 0, 1 + dice.below(300)];
        let mut batch = |count| (0..count).map(|_| record(&mut dice)).collect::<Vec<_>>();
        let epochs = counts.map(&mut batch);
        let together = [epochs.concat()];

        // A first run decodes them.
        let mut chunks = Vec::new();
        for workers in parts(&epochs, most, 3) {
            for part in workers {
                let share = FrameShare {
                    epoch: part.epoch,
                    first: 0,
                    records: part.epoch_records,
                    columns: None,
                };
                let mut readers = reading(&dataflow);
                let (mut plain, mut kept) = (rows(), rows());
                let findings = reading(&dataflow).read(&part, 0, &mut plain);
                let (found, decoded) = readers.read_frames(&part, 0, &mut kept, &[share]);
                assert_eq!(shown(&mut plain, &findings), shown(&mut kept, &found));
                chunks.extend(decoded);
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("1.cols");
        columns::write(&path, 7, &chunks).unwrap();
        let frames: Vec<FrameAt> = (0..)
            .zip(&epochs)
            .map(|(epoch, records)| FrameAt {
                epoch,
                segment: 1,
                offset: 0,
                records: records.len() as u64,
                bytes: 0,
                clock_us: 0,
            })
            .collect();
        let columns = Arc::new(SegmentColumns::open(&path, 7, &frames).unwrap());
        assert!(SegmentColumns::open(&path, 8, &frames).is_none());
        let mut longer = frames.clone();
        longer[1].records += 1;
        assert!(SegmentColumns::open(&path, 7, &longer).is_none());

        // Another run, with another number of workers, finds what is at hand of them.
        let shares = |with: &dyn Fn(u64) -> bool| {
            let mut first = 0;
            let share = |at: &FrameAt| {
                first += at.records as usize;
                FrameShare {
                    epoch: at.epoch,
                    first: first - at.records as usize,
                    records: at.records as usize,
                    columns: with(at.epoch).then(|| Arc::clone(&columns)),
                }
            };
            frames.iter().map(share).collect::<Vec<_>>()
        };
        let (all, some) = (shares(&|_| true), shares(&|epoch| epoch == 1));
        let (mut plain, mut whole, mut half) =
            (reading(&dataflow), reading(&dataflow), reading(&dataflow));
        for part in parts(&together, most, 2).remove(0) {
            let reader = part.worker as u32;
            let mut rows = rows();
            let findings = plain.read(&part, reader, &mut rows);
            let expected = shown(&mut rows, &findings);
            for (reading, shares, decodes) in [(&mut whole, &all, false), (&mut half, &some, true)]
            {
                let mut rows = self::rows();
                let (findings, decoded) = reading.read_frames(&part, reader, &mut rows, shares);
                assert_eq!(
                    expected,
                    shown(&mut rows, &findings),
                    "{rules}, seed {seed}"
                );
                assert!(decodes || decoded.is_empty());
            }
        }
    }
}

#[test]
fn reasons_are_found_by_their_codes() {
    for reason in Reason::ALL {
        assert_eq!(Reason::ALL.get(usize::from(reason as u8)), Some(&reason));
    }
}
