//! Whether a cache comes back as it was written, and never otherwise: every kind of damage, other
//! builds, other content. In debug builds the standard library checks the alignment of every column.

use std::path::PathBuf;

use super::*;
use crate::time::EventTime;

const BINDING: u64 = 0x5eed;

/// Chunks of all kinds: none of one column, some of another, lengths that 8 does not divide.
fn samples() -> Vec<Chunk> {
    let mut columns = ChunkBuilder::default();
    columns.begin(7, 3, 0);
    let empty = columns.finish(|_| "", |_| "");
    // Numbers are whatever the caller's are: those of the dictionary follow the order of reading.
    let streams = ["a", "", "stream with a longer name", "é"];
    let types = ["CRM_Sync", "Paid"];
    columns.begin(u64::MAX, 0, 6);
    for (nth, stream) in [1, 3, 0, 3, 1, 2].into_iter().enumerate() {
        columns.push_event(&EventRow {
            id: i64::MIN + nth as i64,
            time: EventTime(i64::MAX - nth as i64),
            print: nth as u64,
            stream,
            r#type: u32::from(nth % 2 == 0),
            flags: [HAS_VALID | VALID, HAS_VALID, LINE_BREAK][nth % 3],
            key: b"",
        });
    }
    let events = columns.finish(|at| streams[at as usize], |at| types[at as usize]);
    columns.begin(8, 0, 3);
    columns.push_fault(3, "no \"event_id\"");
    columns.push_fault(0, "");
    columns.push_fault(255, "ünïcode");
    let faults = columns.finish(|_| "", |_| "");
    columns.begin(9, 1000, 13);
    for nth in 0..13_u8 {
        match nth % 4 {
            1 => columns.push_fault(nth, "a fault"),
            _ => columns.push_event(&EventRow {
                id: i64::from(nth),
                time: EventTime(-1),
                print: 1 << nth,
                stream: 0,
                r#type: 0,
                flags: VALID,
                // The first rows have none.
                key: &b"key-of-it"[..if nth < 5 { 0 } else { usize::from(nth) % 9 }],
            }),
        }
    }
    let mixed = columns.finish(|_| "s", |_| "T");
    vec![empty, events, faults, mixed]
}

struct Cache {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

fn cache() -> Cache {
    let folder = tempfile::tempdir().unwrap();
    Cache {
        path: folder.path().join("1.cols"),
        _folder: folder,
    }
}

#[track_caller]
fn check_round_trip(chunks: &[Chunk]) {
    let cache = cache();
    let written = write(&cache.path, BINDING, chunks).unwrap();
    assert_eq!(fs::metadata(&cache.path).unwrap().len(), written);
    assert!(!scratch_name(&cache.path).exists());
    let loaded = Loaded::open(&cache.path, BINDING).unwrap().unwrap();
    assert!(loaded.chunks().eq(chunks.iter()));
    assert_eq!(Loaded::why(&cache.path, BINDING).unwrap(), None);
}

#[track_caller]
fn check_unfit(bytes: &[u8], expected: Unfit) {
    let cache = cache();
    fs::write(&cache.path, bytes).unwrap();
    assert!(Loaded::open(&cache.path, BINDING).unwrap().is_none());
    assert_eq!(Loaded::why(&cache.path, BINDING).unwrap(), Some(expected));
}

fn written(chunks: &[Chunk]) -> Vec<u8> {
    let cache = cache();
    write(&cache.path, BINDING, chunks).unwrap();
    fs::read(&cache.path).unwrap()
}

#[test]
fn chunks_come_back() {
    check_round_trip(&[]);
    check_round_trip(&samples());
    for chunk in samples() {
        check_round_trip(&[chunk]);
    }
}

#[test]
fn rows_say_what_was_pushed() {
    let chunks = samples();
    let [empty, events, faults, mixed] = chunks.as_slice() else {
        panic!("four samples");
    };
    assert!(empty.is_empty());
    assert_eq!((empty.epoch(), empty.first(), empty.len()), (7, 3, 0));

    assert_eq!(events.len(), 6);
    assert_eq!(
        (events.id(1), events.time(1)),
        (i64::MIN + 1, EventTime(i64::MAX - 1))
    );
    assert_eq!(
        (events.stream(3), events.r#type(3), events.print(3)),
        ("é", "CRM_Sync", 3)
    );
    assert_eq!((events.stream_number(0), events.stream_number(4)), (0, 0));
    assert_eq!((events.stream(4), events.flags(4)), ("", HAS_VALID));
    assert_eq!((events.key(5), events.fault(5)), (&b""[..], None));
    let streams: Vec<&str> = events.stream_names().collect();
    assert_eq!(streams, ["", "é", "a", "stream with a longer name"]);
    assert_eq!(events.type_names().len(), 2);
    assert_eq!(events.type_number(5), 1);

    let fault =
        |row, reason, detail| assert_eq!(faults.fault(row), Some(Faulty { reason, detail }));
    fault(0, 3, "no \"event_id\"");
    fault(1, 0, "");
    fault(2, 255, "ünïcode");
    assert_eq!(
        (faults.stream(1), faults.r#type(1), faults.key(1)),
        ("", "", &b""[..])
    );
    assert_eq!((faults.id(2), faults.flags(2)), (0, FAULT));

    assert_eq!(mixed.first(), 1000);
    for row in 0..13 {
        let expected = match row {
            row if row % 4 == 1 || row < 5 => &b""[..],
            row => &b"key-of-it"[..row % 9],
        };
        assert_eq!(mixed.key(row), expected, "key {row}");
        assert_eq!(mixed.fault(row).is_some(), row % 4 == 1, "fault {row}");
    }
}

#[test]
fn pushed_flags_make_no_fault() {
    let mut chunk = ChunkBuilder::default();
    chunk.begin(0, 0, 1);
    chunk.push_event(&EventRow {
        id: 1,
        time: EventTime(1),
        print: 1,
        stream: 0,
        r#type: 0,
        flags: 255,
        key: b"",
    });
    assert_eq!((chunk.len(), chunk.is_empty()), (1, false));
    assert_eq!(chunk.finish(|_| "", |_| "").flags(0), !FAULT);
}

#[test]
fn an_absent_cache_is_none() {
    let cache = cache();
    assert!(Loaded::open(&cache.path, BINDING).unwrap().is_none());
    assert_eq!(
        Loaded::why(&cache.path, BINDING).unwrap(),
        Some(Unfit::Absent)
    );
}

#[test]
fn what_cannot_be_read_is_an_error() {
    let cache = cache();
    fs::create_dir(&cache.path).unwrap();
    let error = Loaded::open(&cache.path, BINDING).unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::Unavailable);
    let error = write(&cache.path, BINDING, &samples()).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("could not write the column cache")
    );
    assert!(!scratch_name(&cache.path).exists());
}

/// Reads a cache from memory, as from a file of `length` bytes.
#[track_caller]
fn check_damaged(bytes: &[u8], length: usize, what: &str) {
    let build = fingerprint::of_this_build();
    let decoded = codec::decode(bytes, length as u64, build, BINDING);
    let is_seen = matches!(decoded, Err(Refusal::Unfit(Unfit::Damaged)));
    assert!(is_seen, "{what}");
}

#[test]
fn every_truncation_is_seen() {
    let mut bytes = written(&samples());
    for length in 0..bytes.len() {
        check_damaged(&bytes[..length], length, &format!("{length} bytes"));
        // The file becomes shorter while it is read.
        check_damaged(
            &bytes[..length],
            bytes.len(),
            &format!("{length} bytes left"),
        );
    }
    check_unfit(&bytes[..bytes.len() / 2], Unfit::Damaged);
    bytes.push(0);
    check_unfit(&bytes, Unfit::Damaged);
}

#[test]
fn every_flipped_bit_is_seen() {
    let mut bytes = written(&samples());
    for bit in 0..bytes.len() * 8 {
        let flip = 1 << (bit % 8);
        bytes[bit / 8] ^= flip;
        check_damaged(&bytes, bytes.len(), &format!("bit {bit}"));
        bytes[bit / 8] ^= flip;
    }
    let build = fingerprint::of_this_build();
    assert!(codec::decode(&bytes[..], bytes.len() as u64, build, BINDING).is_ok());
}

#[test]
fn lengths_that_do_not_fit_are_seen_before_anything_is_allocated() {
    // The header and its checksum are right, the table is not.
    let bytes = written(&samples());
    for claimed in [0, 1, 5, u64::MAX / 8, u64::MAX] {
        let mut damaged = bytes.clone();
        damaged[32..40].copy_from_slice(&u64::to_le_bytes(claimed));
        let checksum = xxhash_rust::xxh3::xxh3_64(&damaged[..56]);
        damaged[56..64].copy_from_slice(&checksum.to_le_bytes());
        check_unfit(&damaged, Unfit::Damaged);
    }
}

#[test]
fn another_build_is_told_apart() {
    let cache = cache();
    write_as(
        &cache.path,
        fingerprint::of_this_build() ^ 1,
        BINDING,
        &samples(),
    )
    .unwrap();
    check_unfit(&fs::read(&cache.path).unwrap(), Unfit::OtherBuild);
    // As is one that lays columns out in another way, whatever its fingerprint.
    let mut bytes = written(&samples());
    bytes[8] ^= 1;
    let checksum = xxhash_rust::xxh3::xxh3_64(&bytes[..56]);
    bytes[56..64].copy_from_slice(&checksum.to_le_bytes());
    check_unfit(&bytes, Unfit::OtherBuild);
}

#[test]
fn other_content_is_told_apart() {
    let cache = cache();
    write(&cache.path, BINDING ^ 1, &samples()).unwrap();
    check_unfit(&fs::read(&cache.path).unwrap(), Unfit::OtherContent);
}

#[test]
fn a_cache_is_replaced_whole() {
    let cache = cache();
    fs::write(scratch_name(&cache.path), "what a stopped attempt left").unwrap();
    write(&cache.path, BINDING, &samples()).unwrap();
    write(&cache.path, BINDING + 1, &samples()[..1]).unwrap();
    assert_eq!(
        Loaded::why(&cache.path, BINDING).unwrap(),
        Some(Unfit::OtherContent)
    );
    let loaded = Loaded::open(&cache.path, BINDING + 1).unwrap().unwrap();
    assert_eq!(loaded.chunks().len(), 1);
    assert!(!scratch_name(&cache.path).exists());
}

#[test]
fn a_hundred_thousand_rows_on_another_thread() {
    let mut chunk = ChunkBuilder::default();
    chunk.begin(1, 0, 100_001);
    for nth in 0..100_001_i64 {
        if nth % 1000 == 0 {
            chunk.push_fault(1, &format!("fault {nth}"));
            continue;
        }
        chunk.push_event(&EventRow {
            id: nth,
            time: EventTime(nth * 1_000_000),
            print: (nth as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15),
            stream: (nth / 10 % 777) as u32,
            r#type: (nth % 3) as u32,
            flags: VALID,
            key: format!("key {nth}").as_bytes(),
        });
    }
    let chunk = chunk.finish(
        |number| format!("stream-{number}"),
        |number| ["A", "B", "C"][number as usize].to_owned(),
    );
    let cache = cache();
    write(&cache.path, BINDING, std::slice::from_ref(&chunk)).unwrap();
    let loaded = Loaded::open(&cache.path, BINDING).unwrap().unwrap();
    // Moving it and reading it elsewhere must not disturb what points into it.
    let loaded = Box::new(std::sync::Arc::new(loaded));
    let reader = std::thread::spawn(move || {
        let read = loaded.chunks().next().unwrap();
        assert_eq!(*read, chunk);
        assert_eq!(read.stream(99_999), "stream-675");
        assert_eq!(read.key(99_999), b"key 99999");
        assert_eq!(read.fault(100_000).unwrap().detail, "fault 100000");
        read.clone()
    });
    // A copy owns its columns and outlives the cache.
    assert_eq!(reader.join().unwrap().len(), 100_001);
}
