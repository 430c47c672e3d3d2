//! Reading frames back, in the order of their epochs.
//!
//! Every checksum is checked again: a disk may have changed its mind since the journal was opened.

use super::entry::{HEADER, Header, Kind, MARK, Place};
use super::frame::Frame;
use super::scan::{Damage, FrameAt};
use super::segment::{self, SegmentHeader, segment_name};
use super::storage::{Storage, failed};
use crate::{Error, Result};

/// Reads frames, one after the other.
pub fn read_frames<'a>(
    storage: &'a dyn Storage,
    frames: &'a [FrameAt],
) -> impl Iterator<Item = Result<Frame>> + 'a {
    // The journal's id, from the header of the segment that was read last.
    let mut opened: Option<(u64, u64)> = None;
    frames.iter().map(move |at| {
        let journal = match opened {
            Some((segment, journal)) if segment == at.segment => journal,
            _ => read_journal(storage, at.segment)?,
        };
        opened = Some((at.segment, journal));
        read_frame(storage, journal, at)
    })
}

fn read_journal(storage: &dyn Storage, segment: u64) -> Result<u64> {
    let mut header = [0; segment::LENGTH];
    let name = segment_name(segment);
    storage
        .read_at(&name, 0, &mut header)
        .map_err(|err| failed(storage, &format!("read {name:?}"), err))?;
    match SegmentHeader::read(&header) {
        Ok(header) => Ok(header.journal),
        Err(what) => Err(damaged(storage, segment, 0, what)),
    }
}

/// Reads the frame at `at` to the end of `bytes`, and gives it without bytes of its own: its places
/// are places in `bytes`.
///
/// # Errors
/// `Corrupt` where it is damaged, `Unavailable` where it cannot be read; then `bytes` may have
/// grown.
pub fn append_frame(storage: &dyn Storage, at: &FrameAt, bytes: &mut Vec<u8>) -> Result<Frame> {
    let journal = read_journal(storage, at.segment)?;
    let from = bytes.len();
    read_payload(storage, journal, at, bytes)?;
    let decoded = Frame::decode_around(at.epoch, &bytes[from..]);
    let (mut frame, head) = decoded.ok_or_else(|| impossible(storage, at))?;
    for span in &mut frame.records {
        span.start += from + head;
    }
    for stretch in &mut frame.stretches {
        stretch.start += from + head;
    }
    Ok(frame)
}

fn read_frame(storage: &dyn Storage, journal: u64, at: &FrameAt) -> Result<Frame> {
    let mut payload = Vec::new();
    read_payload(storage, journal, at, &mut payload)?;
    Frame::decode(at.epoch, &payload).ok_or_else(|| impossible(storage, at))
}

/// Appends the payload of the entry at `at`, which is checked.
fn read_payload(
    storage: &dyn Storage,
    journal: u64,
    at: &FrameAt,
    bytes: &mut Vec<u8>,
) -> Result<()> {
    let wrong = |what| damaged(storage, at.segment, at.offset, what);
    let name = segment_name(at.segment);
    let mut header = [0; HEADER];
    let read = |offset, buffer: &mut [u8]| {
        storage
            .read_at(&name, offset, buffer)
            .map_err(|err| failed(storage, &format!("read {name:?}"), err))
    };
    read(at.offset, &mut header)?;
    let place = Place {
        journal,
        segment: at.segment,
        offset: at.offset,
    };
    let header = Header::read(&header, place)
        .filter(|header| header.kind == Kind::Frame as u8 && header.epoch == at.epoch)
        .ok_or_else(|| wrong("the checksum of an entry's header is wrong"))?;
    let from = bytes.len();
    let length = usize::try_from(header.length).ok();
    let end = length.and_then(|length| from.checked_add(length)?.checked_add(1));
    bytes.resize(end.ok_or_else(|| wrong("an entry is too long"))?, 0);
    read(at.offset + HEADER as u64, &mut bytes[from..])?;
    if bytes.pop() != Some(MARK) || crc32fast::hash(&bytes[from..]) != header.checksum {
        return Err(wrong("the checksum of an entry is wrong"));
    }
    Ok(())
}

fn impossible(storage: &dyn Storage, at: &FrameAt) -> Error {
    damaged(storage, at.segment, at.offset, "an entry that cannot be")
}

fn damaged(storage: &dyn Storage, segment: u64, offset: u64, what: &str) -> Error {
    let damage = Damage {
        segment: segment_name(segment),
        offset,
        what: what.to_owned(),
        cut_to: offset,
    };
    damage.into_error(&storage.place())
}
