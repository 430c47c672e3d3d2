//! The journal under everything that can happen to it.
//!
//! `crash_*`: power cuts at every write and sync, with all that a disk may have made of them; `damage_*`:
//! every bit and every length; then the full disk, the second writer, groups, rotation, old formats.

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};

use amend::journal::{
    BasePart, Checkpoint, Cut, Entry, Faulty, Folder, Frame, Identity, Journal, Lock, Options,
    Partition, Position, Recovered, Span, Storage, Stretch, Survivor, compact, inspect,
    read_frames, repair, segment_name,
};
use amend::{ErrorKind, Result};

use crate::process;

fn identity() -> Identity {
    Identity {
        name: "orders".into(),
        fixed: "id = \"/id\"\nkey = [\"id\"]\n".into(),
        created_us: 1_700_000_000_000_000,
    }
}

fn partition(number: u32) -> Entry {
    Entry::Partition(Partition {
        number,
        label: format!("orders-{number}.jsonl"),
        identity: format!("file:orders-{number}.jsonl"),
    })
}

fn frame(epoch: u64, records: usize) -> Frame {
    let mut bytes = Vec::new();
    let mut spans = Vec::new();
    for record in 0..records {
        let text = format!("{{\"epoch\":{epoch},\"record\":{record}}}");
        spans.push(Span {
            start: bytes.len(),
            length: text.len(),
        });
        bytes.extend_from_slice(text.as_bytes());
        bytes.push(b'\n');
    }
    Frame {
        epoch,
        clock_us: 5 + epoch as i64,
        records: spans,
        stretches: vec![Stretch {
            first_record: 0,
            partition: 0,
            start: 0,
            offset: epoch * 1000,
            line: epoch + 1,
        }],
        oversize: if records > 1 {
            vec![(1, 1 << 21)]
        } else {
            vec![]
        },
        ended: vec![],
        positions: vec![Position {
            partition: 0,
            offset: epoch * 1000 + bytes.len() as u64,
            line: epoch + 1 + records as u64,
            last_offset: epoch * 1000,
            last_length: 7,
            last_hash: 0xfeed_0000_0000_0000 | epoch,
        }],
        bytes,
    }
}

fn small() -> Options {
    Options { segment_bytes: 900 }
}

fn open(storage: &Arc<Faulty>) -> Result<(Journal, Recovered)> {
    Journal::open(storage.clone(), &identity(), small())
}

fn frames(storage: &dyn Storage, recovered: &Recovered) -> Vec<Frame> {
    read_frames(storage, &recovered.frames)
        .collect::<Result<_>>()
        .unwrap()
}

/// Appends `count` frames and what goes with them, each made durable by itself; returns how many
/// epochs the journal said were durable.
fn write(journal: &Journal, from: u64, count: u64) -> u64 {
    if from == 0 {
        journal.append(Entry::Rules {
            epoch: 0,
            text: b"keep = \"first\"".to_vec(),
        });
        journal.append(partition(0));
    }
    for epoch in from..from + count {
        journal.append(Entry::Frame(
            frame(epoch, 1 + (epoch % 9) as usize).to_encoded(),
        ));
        let flushed = journal.flush();
        if epoch % 3 == 2 {
            journal.append(Entry::Checkpoint(Checkpoint {
                epoch,
                lengths: [epoch, 2, 3, 4],
                totals: vec![9; 5],
            }));
        }
        if flushed.is_err() {
            break;
        }
    }
    let _ = journal.flush();
    journal.synced_before()
}

fn filled(count: u64) -> Arc<Faulty> {
    let storage = Arc::new(Faulty::new());
    let (journal, _) = open(&storage).unwrap();
    assert_eq!(write(&journal, 0, count), count);
    journal.finish().unwrap();
    storage
}

#[test]
fn entries_come_back() {
    let storage = filled(20);
    let (journal, recovered) = open(&storage).unwrap();
    assert!(!recovered.is_new);
    assert_eq!(recovered.identity, identity());
    assert_eq!(recovered.next_epoch, 20);
    assert_eq!(recovered.rules, [(0, b"keep = \"first\"".to_vec())]);
    assert_eq!(recovered.partitions.len(), 1);
    assert_eq!(recovered.positions[&0], frame(19, 2).positions[0]);
    assert_eq!(recovered.checkpoints.len(), 6);
    assert_eq!(recovered.cut, None);
    assert!(recovered.segments.len() > 3, "{:?}", recovered.segments);
    let expected: Vec<Frame> = (0..20).map(|e| frame(e, 1 + (e % 9) as usize)).collect();
    assert_eq!(frames(&*storage, &recovered), expected);

    journal.append(Entry::End { epoch: 19 });
    journal.finish().unwrap();
    let (journal, recovered) = open(&storage).unwrap();
    assert_eq!(recovered.end, Some(19));
    journal.append(Entry::Amended {
        epoch: 20,
        bytes: b"new rules".to_vec(),
    });
    let mut last = frame(21, 1);
    last.ended = vec![0];
    journal.append(Entry::Frame(last.to_encoded()));
    journal.finish().unwrap();
    let (_journal, recovered) = open(&storage).unwrap();
    assert_eq!(recovered.end, None);
    assert_eq!(recovered.amended, [(20, b"new rules".to_vec())]);
    assert_eq!(recovered.next_epoch, 22);
    assert!(recovered.ended.contains(&0));
}

#[test]
fn damage_of_every_bit_is_found() {
    let storage = filled(6);
    let (_journal, whole) = open(&storage).unwrap();
    let whole_frames = frames(&*storage, &whole);
    let last = whole.segments.last().unwrap().name.clone();
    for segment in &whole.segments {
        let bytes = storage.bytes(&segment.name).unwrap();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                let copy = Arc::new(storage.survivor(Survivor::All));
                copy.replace(&segment.name, damaged);
                match open(&copy) {
                    Err(err) => {
                        assert_eq!(err.kind(), ErrorKind::Corrupt, "byte {at} bit {bit}: {err}");
                        let text = err.to_text();
                        assert!(text.contains(&segment.name), "{text}");
                        assert!(text.contains("at byte "), "{text}");
                        assert!(text.contains("amend journal verify"), "{text}");
                    }
                    Ok((_journal, found)) => {
                        // No disk writes like this, but what is left must be right.
                        assert_eq!(segment.name, last, "byte {at} bit {bit}");
                        assert!(found.cut.is_some(), "byte {at} bit {bit} was accepted");
                        let left = frames(&*copy, &found);
                        assert!(whole_frames.starts_with(&left));
                        panic!("{} byte {at} bit {bit} taken for torn", segment.name);
                    }
                }
            }
        }
    }
}

#[test]
fn damage_by_truncation_is_cut_at_the_end_and_found_elsewhere() {
    let storage = filled(8);
    let (_journal, whole) = open(&storage).unwrap();
    let whole_frames = frames(&*storage, &whole);
    let count = whole.segments.len();
    for (nth, segment) in whole.segments.iter().enumerate() {
        let bytes = storage.bytes(&segment.name).unwrap();
        for length in 0..bytes.len() {
            let copy = Arc::new(storage.survivor(Survivor::All));
            copy.replace(&segment.name, bytes[..length].to_vec());
            match open(&copy) {
                Err(err) => {
                    assert_eq!(err.kind(), ErrorKind::Corrupt, "{err}");
                    assert!(nth + 1 < count, "length {length}: {err}");
                }
                Ok((journal, found)) => {
                    assert_eq!(nth + 1, count, "length {length} of {}", segment.name);
                    let left = frames(&*copy, &found);
                    assert!(whole_frames.starts_with(&left), "length {length}");
                    let boundary = found.cut.is_none();
                    assert!(boundary || left.len() < 8 || length > 0);
                    // And it goes on from there.
                    let next = found.next_epoch;
                    journal.append(Entry::Frame(frame(next, 1).to_encoded()));
                    journal.finish().unwrap();
                    let (_journal, again) = open(&copy).unwrap();
                    assert_eq!(again.next_epoch, next + 1);
                    assert_eq!(again.cut, None);
                }
            }
        }
    }
}

#[test]
fn crash_at_every_write_and_sync() {
    let total = {
        let storage = Arc::new(Faulty::new());
        let (journal, _) = open(&storage).unwrap();
        write(&journal, 0, 12);
        journal.finish().unwrap();
        storage.operations()
    };
    assert!(total > 30);
    for at in 1..=total {
        let storage = Arc::new(Faulty::new());
        storage.crash_at(at);
        let synced = match open(&storage) {
            Err(err) => {
                assert_eq!(err.kind(), ErrorKind::Unavailable, "{err}");
                0
            }
            Ok((journal, _)) => {
                let synced = write(&journal, 0, 12);
                assert!(journal.failure().is_some() || at > total - 2);
                synced
            }
        };
        let mut survivors = vec![Survivor::Nothing, Survivor::All];
        survivors.extend((0..20).map(Survivor::Prefix));
        survivors.extend((0..20).map(Survivor::Zeroed));
        for survivor in survivors {
            let what = format!("crash at {at}, {survivor:?}");
            let after = Arc::new(storage.survivor(survivor));
            // A second crash while recovering, at each of its operations, must not matter either.
            for again in 1.. {
                let twice = Arc::new(after.survivor(Survivor::All));
                twice.crash_at(again);
                let ended = open(&twice).is_ok();
                let twice = Arc::new(twice.survivor(Survivor::Prefix(again)));
                check_recovered(&twice, synced, &what);
                if ended {
                    break;
                }
            }
            check_recovered(&after, synced, &what);
        }
    }
}

#[track_caller]
fn check_recovered(storage: &Arc<Faulty>, synced: u64, what: &str) {
    let (journal, recovered) = open(storage).unwrap_or_else(|err| panic!("{what}: {err}"));
    assert!(
        recovered.next_epoch >= synced,
        "{what}: {synced} epochs were synced, {} are there",
        recovered.next_epoch
    );
    let found = frames(&**storage, &recovered);
    let expected: Vec<Frame> = (0..recovered.next_epoch)
        .map(|e| frame(e, 1 + (e % 9) as usize))
        .collect();
    assert_eq!(found, expected, "{what}");
    let next = recovered.next_epoch;
    assert_eq!(write(&journal, next, 2), next + 2, "{what}");
    drop(journal);
    let (_journal, recovered) = open(storage).unwrap();
    assert_eq!(recovered.next_epoch, next + 2, "{what}");
    assert_eq!(recovered.cut, None, "{what}");
}

#[test]
fn a_full_disk_stops_the_journal_and_keeps_what_was_synced() {
    for room in 0..1500 {
        let storage = Arc::new(Faulty::new());
        storage.full_after(room);
        let synced = match open(&storage) {
            Err(err) => {
                assert_eq!(err.kind(), ErrorKind::Unavailable);
                0
            }
            Ok((journal, _)) => {
                let synced = write(&journal, 0, 12);
                let error = journal.failure().unwrap();
                assert_eq!(error.kind(), ErrorKind::Unavailable);
                assert!(error.hint().unwrap().contains("make room"));
                assert_eq!(synced, journal.synced_before());
                assert!(journal.finish().is_err());
                synced
            }
        };
        check_recovered(
            &Arc::new(storage.survivor(Survivor::All)),
            synced,
            "full disk",
        );
    }
}

#[test]
fn nothing_is_written_where_nothing_can_be() {
    let storage = filled(3);
    storage.make_read_only();
    let err = open(&storage).unwrap_err();
    assert_eq!(err.kind(), ErrorKind::Usage);
    assert!(err.to_text().contains("writable"), "{}", err.to_text());
    assert_eq!(inspect(&*storage).unwrap().next_epoch, 3);
}

#[test]
fn the_second_writer_is_fenced() {
    let storage = filled(1);
    let (journal, _) = open(&storage).unwrap();
    assert_eq!(open(&storage).unwrap_err().kind(), ErrorKind::Fenced);
    assert_eq!(repair(&*storage).unwrap_err().kind(), ErrorKind::Fenced);
    drop(journal);
    open(&storage).unwrap();

    let dir = tempfile::tempdir().unwrap();
    let folder = || Arc::new(Folder::new(dir.path().join("journal")));
    let (journal, _) = Journal::open(folder(), &identity(), small()).unwrap();
    let err = Journal::open(folder(), &identity(), small()).unwrap_err();
    assert_eq!(err.kind(), ErrorKind::Fenced);
    assert_eq!(err.kind().exit_code(), 1);
    assert!(err.to_string().contains(&std::process::id().to_string()));
    write(&journal, 0, 9);
    journal.finish().unwrap();
    let (_journal, recovered) = Journal::open(folder(), &identity(), small()).unwrap();
    assert_eq!(recovered.next_epoch, 9);
}

#[test]
fn another_dataflow_is_refused() {
    let storage = filled(1);
    let named = Identity {
        name: "trades".into(),
        ..identity()
    };
    let ruled = Identity {
        fixed: "id = \"/id\"\nkey = [\"id\", \"time\"]\n".into(),
        ..identity()
    };
    for (other, part) in [
        (named, "of dataflow \"orders\", not of \"trades\""),
        (
            ruled,
            "it has `key = [\"id\"]`, the dataflow has `key = [\"id\", \"time\"]`",
        ),
    ] {
        let err = Journal::open(storage.clone(), &other, small()).unwrap_err();
        assert_eq!(err.kind(), ErrorKind::Usage);
        assert!(err.to_string().contains(part), "{err}");
    }
}

#[test]
fn a_missing_segment_is_found() {
    let storage = filled(12);
    let count = inspect(&*storage).unwrap().segments.len() as u64;
    for gone in 1..count {
        let copy = Arc::new(storage.survivor(Survivor::All));
        copy.remove(&segment_name(gone)).unwrap();
        let err = open(&copy).unwrap_err();
        assert_eq!(err.kind(), ErrorKind::Corrupt, "{err}");
        assert!(err.to_string().contains("missing"), "{err}");
    }
}

#[test]
fn repair_cuts_at_the_damage_and_says_what_went() {
    let storage = filled(12);
    let name = segment_name(2);
    let mut bytes = storage.bytes(&name).unwrap();
    let at = bytes.len() - 30;
    bytes[at] ^= 1;
    storage.replace(&name, bytes);
    let report = inspect(&*storage).unwrap();
    let next = report.next_epoch;
    assert_eq!(report.damage.unwrap().segment, name);
    let done = repair(&*storage).unwrap();
    assert!(done.damage.is_some());
    assert_eq!(done.lost.last_epoch, Some(11));
    assert_eq!(done.lost.frames, 12 - next);
    let (_journal, recovered) = open(&storage).unwrap();
    assert_eq!(recovered.next_epoch, next);
    assert_eq!(frames(&*storage, &recovered).len() as u64, next);
}

#[test]
fn segments_go_only_where_a_base_stands_for_them() {
    let storage = Arc::new(Faulty::new());
    let (journal, _) = open(&storage).unwrap();
    write(&journal, 0, 12);
    journal.drop_before(10);
    journal.flush().unwrap();
    let before = inspect(&*storage).unwrap();
    assert_eq!(before.first_epoch, 0, "there is no base");
    for part in 0..2 {
        journal.append(Entry::Base(BasePart {
            epoch: 8,
            part,
            parts: 2,
            bytes: vec![part as u8; 600],
        }));
    }
    journal.drop_before(6);
    journal.flush().unwrap();
    let kept = inspect(&*storage).unwrap();
    assert!(kept.first_epoch > 0 && kept.first_epoch <= 6, "{kept:?}");
    write(&journal, 12, 3);
    journal.finish().unwrap();
    let done = compact(&*storage, None).unwrap();
    assert!(done.freed_bytes > 0);
    let (_journal, recovered) = open(&storage).unwrap();
    assert!(recovered.first_epoch <= 9);
    let base = recovered.base.clone().unwrap();
    assert_eq!(
        (base.epoch, base.parts),
        (8, vec![vec![0; 600], vec![1; 600]])
    );
    assert_eq!(recovered.next_epoch, 15);
    assert_eq!(recovered.positions[&0], frame(14, 6).positions[0]);
    assert_eq!(recovered.partitions.len(), 1);
    assert_eq!(recovered.rules.len(), 1);
    // Without the base there is no beginning.
    drop(_journal);
    let first = recovered.segments[0].number;
    storage.remove(&segment_name(first)).unwrap();
    assert!(open(&storage).is_err());
}

/// Lets a sync through only when told to.
#[derive(Debug, Default)]
struct Gate {
    inner: Faulty,
    open: Mutex<bool>,
    opened: Condvar,
}

impl Storage for Gate {
    fn list(&self) -> std::io::Result<Vec<(String, u64)>> {
        self.inner.list()
    }
    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        self.inner.read_at(name, offset, buffer)
    }
    fn append(&self, name: &str, bytes: &[u8]) -> std::io::Result<()> {
        self.inner.append(name, bytes)
    }
    fn truncate(&self, name: &str, length: u64) -> std::io::Result<()> {
        self.inner.truncate(name, length)
    }
    fn remove(&self, name: &str) -> std::io::Result<()> {
        self.inner.remove(name)
    }
    fn sync(&self, name: &str) -> std::io::Result<()> {
        let mut open = self.open.lock().unwrap();
        while !*open {
            open = self.opened.wait(open).unwrap();
        }
        self.inner.sync(name)
    }
    fn sync_folder(&self) -> std::io::Result<()> {
        self.inner.sync_folder()
    }
    fn lock(&self) -> Result<Lock> {
        self.inner.lock()
    }
    fn place(&self) -> String {
        self.inner.place()
    }
}

#[test]
fn a_group_is_synced_once() {
    let gate = Arc::new(Gate::default());
    *gate.open.lock().unwrap() = true;
    let (journal, _) = Journal::open(gate.clone(), &identity(), Options::default()).unwrap();
    *gate.open.lock().unwrap() = false;
    let before = gate.inner.syncs();
    journal.append(partition(0));
    for epoch in 0..100 {
        journal.append(Entry::Frame(frame(epoch, 3).to_encoded()));
    }
    assert_eq!(
        journal.synced_before(),
        0,
        "nothing is said before the disk has it"
    );
    *gate.open.lock().unwrap() = true;
    gate.opened.notify_all();
    journal.flush().unwrap();
    assert_eq!(journal.synced_before(), 100);
    assert!(gate.inner.syncs() - before <= 3);
    let stats = journal.finish().unwrap();
    assert_eq!(stats.entries, 101);
}

#[test]
fn a_torn_end_is_reported() {
    let storage = filled(3);
    let name = inspect(&*storage)
        .unwrap()
        .segments
        .last()
        .unwrap()
        .name
        .clone();
    let length = storage.bytes(&name).unwrap().len() as u64;
    storage.append(&name, &[4, 0, 1]).unwrap();
    let (_journal, recovered) = open(&storage).unwrap();
    let cut = Cut {
        segment: name,
        offset: length,
        bytes: 3,
    };
    assert_eq!(recovered.cut, Some(cut));
    assert_eq!(recovered.next_epoch, 3);
}

/// `AMEND_BLESS=1` writes the archive of the present format where there is none.
#[test]
fn every_format_can_be_read() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/journals");
    if std::env::var_os("AMEND_BLESS").is_some() && !root.join("v1").exists() {
        let folder = Arc::new(Folder::new(root.join("v1")));
        let (journal, _) = Journal::open(folder, &identity(), small()).unwrap();
        write(&journal, 0, 8);
        journal.append(Entry::End { epoch: 7 });
        journal.finish().unwrap();
        std::fs::remove_file(root.join("v1/lock")).unwrap();
    }
    let mut versions: Vec<_> = std::fs::read_dir(&root)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    versions.sort();
    assert_eq!(versions, ["v1"]);
    let dir = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(root.join("v1")).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
    }
    let folder = Arc::new(Folder::new(dir.path()));
    let (_journal, recovered) = Journal::open(folder.clone(), &identity(), small()).unwrap();
    assert_eq!(recovered.end, Some(7));
    let expected: Vec<Frame> = (0..8).map(|e| frame(e, 1 + (e % 9) as usize)).collect();
    assert_eq!(frames(&*folder, &recovered), expected);
}

#[test]
fn the_commands_say_what_is_there_and_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Arc::new(Folder::new(dir.path()));
    let (journal, _) = Journal::open(folder, &identity(), small()).unwrap();
    write(&journal, 0, 12);
    journal.finish().unwrap();
    let amend = |args: &[&str]| {
        let mut command = process::amend();
        command.arg("journal").args(args).arg(dir.path());
        process::run(&mut command)
    };
    let ended = amend(&["inspect", "--json"]);
    ended.expect_code(0);
    let report: serde_json::Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!(report["next_epoch"], 12);
    assert_eq!(report["partitions"][0]["label"], "orders-0.jsonl");
    assert_eq!(report["partitions"][0]["line"], 12 + 3);
    amend(&["inspect"]).expect_code(0);
    amend(&["verify"]).expect_code(0);
    amend(&["compact"]).expect_code(0);

    let path = dir.path().join(segment_name(2));
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[300] ^= 8;
    std::fs::write(&path, bytes).unwrap();
    let ended = amend(&["verify"]);
    ended.expect_code(3);
    let said = String::from_utf8_lossy(&ended.stdout).into_owned();
    assert!(
        said.contains(&segment_name(2)) && said.contains("at byte"),
        "{said}"
    );
    amend(&["compact"])
        .expect_code(3)
        .expect_said(&["journal damaged"]);
    amend(&["verify", "--repair"]).expect_code(0);
    amend(&["verify"]).expect_code(0);
    let mut command = process::amend();
    command.args(["journal", "inspect", "/nowhere"]);
    process::run(&mut command).expect_code(2);
}
