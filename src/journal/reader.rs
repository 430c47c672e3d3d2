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

fn read_frame(storage: &dyn Storage, journal: u64, at: &FrameAt) -> Result<Frame> {
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
    let length = usize::try_from(header.length).ok();
    let length = length.and_then(|length| length.checked_add(1));
    let mut payload = vec![0; length.ok_or_else(|| wrong("an entry is too long"))?];
    read(at.offset + HEADER as u64, &mut payload)?;
    if payload.pop() != Some(MARK) || crc32fast::hash(&payload) != header.checksum {
        return Err(wrong("the checksum of an entry is wrong"));
    }
    Frame::decode(at.epoch, &payload).ok_or_else(|| wrong("an entry that cannot be"))
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
