//! A segment: one file of the journal, its name and its header.
//!
//! The header keeps its 40 bytes and its checksum in every format version, so that a journal of a
//! later version is told from a damaged one.

use super::bytes::Bytes;
use crate::Epoch;

/// The first bytes of a segment.
pub(super) const MAGIC: &[u8; 8] = b"AMENDJRN";
/// The format that is written.
pub const FORMAT: u32 = 1;
/// The length of a segment's header.
pub(super) const LENGTH: usize = 40;

/// What the header of a segment says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) format: u32,
    pub(super) journal: u64,
    pub(super) number: u64,
    /// The least epoch that a frame of the segment can have.
    pub(super) first_epoch: Epoch,
}

impl SegmentHeader {
    pub(super) fn to_bytes(self) -> [u8; LENGTH] {
        let mut out = [0; LENGTH];
        out[..8].copy_from_slice(MAGIC);
        out[8..12].copy_from_slice(&self.format.to_le_bytes());
        out[12..20].copy_from_slice(&self.journal.to_le_bytes());
        out[20..28].copy_from_slice(&self.number.to_le_bytes());
        out[28..36].copy_from_slice(&self.first_epoch.to_le_bytes());
        let crc = crc32fast::hash(&out[..36]);
        out[36..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// The header of a segment; otherwise what is wrong with it.
    pub(super) fn read(header: &[u8; LENGTH]) -> Result<SegmentHeader, &'static str> {
        let mut bytes = Bytes(header);
        let impossible = "its header is cut short";
        if bytes.take(8).ok_or(impossible)? != MAGIC {
            return Err("it does not begin as a segment does");
        }
        let read = SegmentHeader {
            format: bytes.u32().ok_or(impossible)?,
            journal: bytes.u64().ok_or(impossible)?,
            number: bytes.u64().ok_or(impossible)?,
            first_epoch: bytes.u64().ok_or(impossible)?,
        };
        if bytes.u32().ok_or(impossible)? != crc32fast::hash(&header[..36]) {
            return Err("the checksum of its header is wrong");
        }
        Ok(read)
    }
}

/// The name of a segment's file.
pub fn segment_name(number: u64) -> String {
    format!("{number:020}.seg")
}

/// The name of the column cache of a segment.
pub fn cache_name(number: u64) -> String {
    format!("{number:020}.cols")
}

/// The number of the segment that a file is; `None` for any other file.
pub fn segment_number(name: &str) -> Option<u64> {
    number_of(name.strip_suffix(".seg")?)
}

/// The number of the segment that a file is a cache of; `None` for any other file.
pub fn cache_number(name: &str) -> Option<u64> {
    let name = name.strip_suffix(".cols")?;
    number_of(name.strip_suffix(".seg").unwrap_or(name))
}

fn number_of(digits: &str) -> Option<u64> {
    let plain = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if plain { digits.parse().ok() } else { None }
}
