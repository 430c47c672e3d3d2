//! The entries of the journal: what each kind says, and the bytes around its payload.
//!
//! An entry is a header, a payload and a mark. The header's first byte and the mark are never
//! zero, so that a disk sector of the entry that was never written shows as zeros. The header's
//! checksum also covers where it stands (journal, segment, offset): bytes that were left from
//! another place are no entry here.

use std::fmt;

use super::bytes::{Bytes, put_block, put_varint};
use super::frame::{EncodedFrame, Position, SharedBytes, Summary, put_position, take_position};
use crate::Epoch;

/// The length of an entry's header.
pub(super) const HEADER: usize = 26;
/// What closes an entry.
pub(super) const MARK: u8 = 0xff;
/// All that an entry has besides its payload.
pub(super) const OVERHEAD: usize = HEADER + 1;

/// The entry repeats what an earlier segment said.
pub(super) const COPY: u8 = 1;
/// Everything before the entry in its segment was durable when it was written.
pub(super) const SYNCED: u8 = 2;

/// What an entry is; the number is the one on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Identity = 1,
    Rules = 2,
    Partition = 3,
    Frame = 4,
    Checkpoint = 5,
    Base = 6,
    End = 7,
    Amended = 8,
}

impl Kind {
    pub(super) fn of(number: u8) -> Option<Kind> {
        Some(match number {
            1 => Kind::Identity,
            2 => Kind::Rules,
            3 => Kind::Partition,
            4 => Kind::Frame,
            5 => Kind::Checkpoint,
            6 => Kind::Base,
            7 => Kind::End,
            8 => Kind::Amended,
            _ => return None,
        })
    }
}

/// Whose journal it is; the first entry of every segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The name of the dataflow.
    pub name: String,
    /// The rules that are fixed for the life of the journal, a line each.
    pub fixed: String,
    /// When the journal was created, in microseconds since 1970-01-01T00:00:00Z.
    pub created_us: i64,
}

/// Something that is read in order: a file, standard input, a broker's partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its number, by which frames call it.
    pub number: u32,
    /// What it is called to people.
    pub label: String,
    /// What it is known by when a run resumes.
    pub identity: String,
}

/// What the outputs hold: everything up to and including `epoch`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The last epoch that was committed.
    pub epoch: Epoch,
    /// How long each output is.
    pub lengths: [u64; 4],
    /// The totals; opaque.
    pub totals: Vec<u8>,
}

/// A part of the state after `epoch`. A base is complete when all of its parts are there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BasePart {
    /// The last epoch that went into the state.
    pub epoch: Epoch,
    /// Which part, from 0.
    pub part: u32,
    /// How many parts there are.
    pub parts: u32,
    /// The state; opaque.
    pub bytes: Vec<u8>,
}

/// What can be appended to a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Rules that are in force from `epoch` on.
    Rules {
        /// The first epoch under these rules.
        epoch: Epoch,
        /// The rules; opaque.
        text: Vec<u8>,
    },
    /// A partition that frames speak of from here on.
    Partition(Partition),
    /// What was read in an epoch. Epochs ascend.
    Frame(EncodedFrame),
    /// The outputs hold everything up to an epoch.
    Checkpoint(Checkpoint),
    /// A part of the state after an epoch.
    Base(BasePart),
    /// The bounded input ended with `epoch`: void when a frame follows.
    End {
        /// The last epoch of the input.
        epoch: Epoch,
    },
    /// The rules changed: `epoch` has no records, only what changed.
    Amended {
        /// The epoch, which no frame has.
        epoch: Epoch,
        /// What changed; opaque.
        bytes: Vec<u8>,
    },
}

impl Entry {
    /// How much of the queue it takes.
    pub(super) fn weight(&self) -> u64 {
        let payload = match self {
            Entry::Rules { text: bytes, .. } | Entry::Amended { bytes, .. } => bytes.len(),
            Entry::Partition(partition) => partition.label.len() + partition.identity.len(),
            Entry::Frame(frame) => frame.payload_bytes() as usize,
            Entry::Checkpoint(checkpoint) => checkpoint.totals.len(),
            Entry::Base(base) => base.bytes.len(),
            Entry::End { .. } => 0,
        };
        (payload + OVERHEAD) as u64
    }

    /// The kind, the epoch and the payload that are written.
    pub(super) fn into_record(self) -> Record {
        let mut shared = None;
        let (kind, epoch, payload) = match self {
            Entry::Rules { epoch, text } => (Kind::Rules, epoch, text),
            Entry::Partition(partition) => (Kind::Partition, 0, partition.payload(None, false)),
            Entry::Frame(frame) => {
                shared = Some(frame.bytes);
                (Kind::Frame, frame.epoch, frame.head)
            }
            Entry::Checkpoint(checkpoint) => {
                (Kind::Checkpoint, checkpoint.epoch, checkpoint.payload())
            }
            Entry::Base(base) => {
                let mut out = Vec::with_capacity(base.bytes.len() + 8);
                out.extend_from_slice(&base.part.to_le_bytes());
                out.extend_from_slice(&base.parts.to_le_bytes());
                out.extend_from_slice(&base.bytes);
                (Kind::Base, base.epoch, out)
            }
            Entry::End { epoch } => (Kind::End, epoch, Vec::new()),
            Entry::Amended { epoch, bytes } => (Kind::Amended, epoch, bytes),
        };
        Record {
            kind,
            flags: 0,
            epoch,
            payload,
            shared,
        }
    }
}

impl Identity {
    /// The entry that opens a segment; `copies` repetitions follow it, and the segment before was
    /// closed with `previous_bytes`.
    pub(super) fn record(&self, copies: u32, previous_bytes: u64) -> Record {
        let mut payload = Vec::new();
        payload.extend_from_slice(&copies.to_le_bytes());
        payload.extend_from_slice(&previous_bytes.to_le_bytes());
        payload.extend_from_slice(&self.created_us.to_le_bytes());
        put_block(&mut payload, self.name.as_bytes());
        put_block(&mut payload, self.fixed.as_bytes());
        Record {
            kind: Kind::Identity,
            flags: 0,
            epoch: 0,
            payload,
            shared: None,
        }
    }
}

impl Partition {
    /// With where reading goes on and whether it ended, as known where this is repeated.
    pub(super) fn payload(&self, position: Option<&Position>, ended: bool) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint(&mut out, u64::from(self.number));
        put_block(&mut out, self.label.as_bytes());
        put_block(&mut out, self.identity.as_bytes());
        out.push(u8::from(ended) << 1 | u8::from(position.is_some()));
        if let Some(position) = position {
            put_position(&mut out, position);
        }
        out
    }
}

impl Checkpoint {
    pub(super) fn payload(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(32 + self.totals.len());
        for length in self.lengths {
            out.extend_from_slice(&length.to_le_bytes());
        }
        out.extend_from_slice(&self.totals);
        out
    }
}

/// An entry as it is written: a kind, its epoch and a payload.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) kind: Kind,
    pub(super) flags: u8,
    pub(super) epoch: Epoch,
    pub(super) payload: Vec<u8>,
    /// The end of the payload, where that is not copied.
    pub(super) shared: Option<SharedBytes>,
}

impl Record {
    /// The parts of the payload, one after the other.
    pub(super) fn parts(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::once(self.payload.as_slice()).chain(self.shared.as_deref())
    }

    /// The length of the payload.
    pub(super) fn payload_bytes(&self) -> usize {
        self.parts().map(<[u8]>::len).sum()
    }

    /// The header where the entry stands at `place`.
    pub(super) fn header(&self, place: Place) -> [u8; HEADER] {
        let mut checksum = crc32fast::Hasher::new();
        self.parts().for_each(|part| checksum.update(part));
        let mut header = [0; HEADER];
        header[0] = self.kind as u8;
        header[1] = self.flags;
        header[2..10].copy_from_slice(&self.epoch.to_le_bytes());
        header[10..18].copy_from_slice(&(self.payload_bytes() as u64).to_le_bytes());
        header[18..22].copy_from_slice(&checksum.finalize().to_le_bytes());
        let crc = place.checksum(&header[..22]);
        header[22..].copy_from_slice(&crc.to_le_bytes());
        header
    }

    /// Appends the whole entry, which will stand at `place`.
    pub(super) fn put(&self, place: Place, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.header(place));
        self.parts().for_each(|part| out.extend_from_slice(part));
        out.push(MARK);
    }
}

/// Where an entry stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) journal: u64,
    pub(super) segment: u64,
    pub(super) offset: u64,
}

impl Place {
    fn checksum(self, header: &[u8]) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&self.journal.to_le_bytes());
        hasher.update(&self.segment.to_le_bytes());
        hasher.update(&self.offset.to_le_bytes());
        hasher.update(header);
        hasher.finalize()
    }
}

/// A header that was read, and whose checksum is right.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) epoch: Epoch,
    pub(super) length: u64,
    pub(super) checksum: u32,
}

impl Header {
    /// The header at `place`; `None` where its checksum is wrong.
    pub(super) fn read(header: &[u8; HEADER], place: Place) -> Option<Header> {
        let mut bytes = Bytes(header);
        let read = Header {
            kind: bytes.u8()?,
            flags: bytes.u8()?,
            epoch: bytes.u64()?,
            length: bytes.u64()?,
            checksum: bytes.u32()?,
        };
        (bytes.u32()? == place.checksum(&header[..22])).then_some(read)
    }
}

/// An entry that was read and checked.
#[derive(Debug)]
pub(super) enum Checked {
    Identity {
        identity: Identity,
        copies: u32,
        previous_bytes: u64,
    },
    Rules {
        epoch: Epoch,
        text: Vec<u8>,
    },
    Partition {
        partition: Partition,
        position: Option<Position>,
        ended: bool,
    },
    Frame {
        epoch: Epoch,
        summary: Summary,
    },
    Checkpoint(Checkpoint),
    Base(BasePart),
    End {
        epoch: Epoch,
    },
    Amended {
        epoch: Epoch,
        bytes: Vec<u8>,
    },
}

/// Why the numbers of an entry whose checksums are right are impossible.
#[derive(Debug)]
pub(super) struct Impossible(pub(super) &'static str);

impl fmt::Display for Impossible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an entry that cannot be: {}", self.0)
    }
}

impl Checked {
    /// What an entry says.
    pub(super) fn read(header: Header, payload: &[u8]) -> Result<Checked, Impossible> {
        let kind = Kind::of(header.kind).ok_or(Impossible("of an unknown kind"))?;
        if header.flags & !(COPY | SYNCED) != 0 {
            return Err(Impossible("with unknown flags"));
        }
        let mut bytes = Bytes(payload);
        let epoch = header.epoch;
        // One more epoch must always be to come.
        if epoch == Epoch::MAX {
            return Err(Impossible("after the last epoch"));
        }
        let read = match kind {
            Kind::Identity => read_identity(&mut bytes),
            Kind::Rules => Some(Checked::Rules {
                epoch,
                text: payload.to_vec(),
            }),
            Kind::Partition => read_partition(&mut bytes),
            Kind::Frame => {
                Summary::decode(payload).map(|summary| Checked::Frame { epoch, summary })
            }
            Kind::Checkpoint => read_checkpoint(epoch, &mut bytes),
            Kind::Base => read_base(epoch, &mut bytes),
            Kind::End => bytes.end().map(|()| Checked::End { epoch }),
            Kind::Amended => Some(Checked::Amended {
                epoch,
                bytes: payload.to_vec(),
            }),
        };
        read.ok_or(Impossible("its payload does not fit its kind"))
    }
}

fn read_identity(bytes: &mut Bytes<'_>) -> Option<Checked> {
    let copies = bytes.u32()?;
    let previous_bytes = bytes.u64()?;
    let created_us = bytes.i64()?;
    let identity = Identity {
        name: bytes.text()?,
        fixed: bytes.text()?,
        created_us,
    };
    bytes.end()?;
    Some(Checked::Identity {
        identity,
        copies,
        previous_bytes,
    })
}

fn read_partition(bytes: &mut Bytes<'_>) -> Option<Checked> {
    let partition = Partition {
        number: bytes.varint_u32()?,
        label: bytes.text()?,
        identity: bytes.text()?,
    };
    let flags = bytes.u8()?;
    let position = match flags {
        0 | 2 => None,
        1 | 3 => Some(take_position(bytes)?),
        _ => return None,
    };
    bytes.end()?;
    Some(Checked::Partition {
        partition,
        position,
        ended: flags & 2 != 0,
    })
}

fn read_checkpoint(epoch: Epoch, bytes: &mut Bytes<'_>) -> Option<Checked> {
    let mut lengths = [0; 4];
    for length in &mut lengths {
        *length = bytes.u64()?;
    }
    Some(Checked::Checkpoint(Checkpoint {
        epoch,
        lengths,
        totals: bytes.0.to_vec(),
    }))
}

fn read_base(epoch: Epoch, bytes: &mut Bytes<'_>) -> Option<Checked> {
    let base = BasePart {
        epoch,
        part: bytes.u32()?,
        parts: bytes.u32()?,
        bytes: bytes.0.to_vec(),
    };
    (base.part < base.parts).then_some(Checked::Base(base))
}
