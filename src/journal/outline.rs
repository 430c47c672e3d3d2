//! The outline of a segment that is no longer written: its frames and its fingerprint, without what
//! was read in them.
//!
//! One rule: it is the outline that opening the journal would find. Payloads are passed over, so what
//! follows from an outline is only ever something that can be made again.

use xxhash_rust::xxh3::Xxh3;

use super::entry::{HEADER, Header, Kind, OVERHEAD, Place};
use super::segment::{self, SegmentHeader, segment_name};
use super::storage::{Storage, failed};
use crate::{Epoch, Error, Result};

/// Headers that lie this close are read together.
const WINDOW_BYTES: u64 = 64 << 10;

/// The epochs of a segment, and what stands for all of its entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outline {
    /// The epochs of its frames, ascending.
    pub epochs: Vec<Epoch>,
    /// As [`SegmentInfo::fingerprint`](super::SegmentInfo::fingerprint).
    pub fingerprint: u64,
}

/// Reads the outline of a segment that is no longer written.
///
/// # Errors
/// `Unavailable` where it cannot be read, `Corrupt` where its headers are damaged.
pub fn outline(storage: &dyn Storage, number: u64) -> Result<Outline> {
    let name = segment_name(number);
    let read = |err| failed(storage, &format!("read {name:?}"), err);
    let files = storage.list().map_err(read)?;
    let length = files.iter().find(|(file, _)| *file == name);
    let length = length.map_or(0, |(_, length)| *length);
    let damaged = || Error::corrupt(format!("the headers of segment {name:?} are damaged"));
    let mut window = Vec::new();
    let mut window_at = 0;
    let mut take = |at: u64, bytes: usize| -> Result<Vec<u8>> {
        let end = at + bytes as u64;
        if end > length {
            return Err(damaged());
        }
        if at < window_at || end > window_at + window.len() as u64 {
            window_at = at;
            window.resize((length - at).min(WINDOW_BYTES) as usize, 0);
            storage.read_at(&name, at, &mut window).map_err(read)?;
        }
        let from = (at - window_at) as usize;
        Ok(window[from..from + bytes].to_vec())
    };
    let mut fingerprint = Xxh3::new();
    let opening = take(0, segment::LENGTH)?;
    fingerprint.update(&opening);
    let opening = opening.first_chunk().map(SegmentHeader::read);
    let Some(Ok(SegmentHeader { journal, .. })) = opening else {
        return Err(damaged());
    };
    let mut epochs = Vec::new();
    let mut at = segment::LENGTH as u64;
    while at < length {
        let bytes = take(at, HEADER)?;
        let place = Place {
            journal,
            segment: number,
            offset: at,
        };
        let header = bytes.first_chunk().and_then(|it| Header::read(it, place));
        let header = header.ok_or_else(damaged)?;
        fingerprint.update(&bytes);
        if header.kind == Kind::Frame as u8 {
            epochs.push(header.epoch);
        }
        let end = header.length.checked_add(at + OVERHEAD as u64);
        at = end.filter(|end| *end <= length).ok_or_else(damaged)?;
    }
    Ok(Outline {
        epochs,
        fingerprint: fingerprint.digest(),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::journal::{Entry, Faulty, Frame, Identity, Journal, Options};

    #[test]
    fn it_is_what_opening_the_journal_finds() {
        let storage = Arc::new(Faulty::new());
        let identity = Identity {
            name: "orders".into(),
            fixed: String::new(),
            created_us: 0,
        };
        let options = Options {
            segment_bytes: 200_000,
        };
        let (journal, _) = Journal::open(storage.clone(), &identity, options.clone()).unwrap();
        for epoch in 0..60 {
            let frame = Frame {
                epoch,
                bytes: vec![b'x'; (epoch as usize * 1_777) % 90_000],
                ..Frame::default()
            };
            journal.append(Entry::Frame(frame.to_encoded()));
        }
        journal.flush().unwrap();
        let written = journal.segment();
        journal.finish().unwrap();
        let (journal, recovered) = Journal::open(storage.clone(), &identity, options).unwrap();
        assert_eq!(journal.segment(), written);
        assert_eq!(recovered.segments.last().unwrap().number, written);
        assert!(recovered.segments.len() > 3);
        for segment in &recovered.segments {
            let outline = outline(&*storage, segment.number).unwrap();
            let frames = recovered.frames.iter();
            let frames = frames.filter(|at| at.segment == segment.number);
            assert_eq!(outline.fingerprint, segment.fingerprint);
            assert!(frames.map(|at| at.epoch).eq(outline.epochs));
        }
        assert!(outline(&*storage, written + 1).is_err());
    }
}
