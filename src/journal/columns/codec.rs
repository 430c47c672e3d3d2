//! The format of a cache, and the way back into memory with `abomonation`: the crate's one file of
//! unsafe code.
//!
//! One rule: bytes become columns only after everything about them has been checked, here and nowhere
//! else, so that [`decode`] is safe to call on any file.
//!
//! | at | bytes | |
//! |---|---|---|
//! | 0 | 8 | `AMENDCOL` |
//! | 8 | 8 | how this build lays columns out in memory (a hash) |
//! | 16 | 8 | the fingerprint of the build |
//! | 24 | 8 | the binding: which content was decoded |
//! | 32 | 8 | the number of chunks |
//! | 40 | 8 | the length of all that follows the header |
//! | 48 | 8 | XXH3-64 of all that follows the header |
//! | 56 | 8 | XXH3-64 of the 56 bytes before |
//! | 64 | 8 each | the length of each chunk |
//! | | | the chunks as `abomonation` writes them |
//!
//! Numbers are little-endian. A chunk is the bytes of the [`Chunk`] itself and then of its columns,
//! wide ones first: read to an address that 8 divides, every column lies where its elements may lie.
//!
//! What no check of ours can mend: `abomonation` reaches a chunk by way of a reference to its first
//! byte. The strictest model of aliasing under discussion (Stacked Borrows) forbids that; the one that
//! is to follow it (Tree Borrows) does not, and no compiler makes anything of it.

use std::fmt;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::mem::{align_of, offset_of, size_of};
use std::ops::{Deref, DerefMut};

use abomonation::Abomonation;
use abomonation::abomonated::Abomonated;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::{Chunk, Unfit};

const MAGIC: u64 = u64::from_le_bytes(*b"AMENDCOL");
const HEADER_BYTES: usize = 64;
const HEADER_WORDS: usize = HEADER_BYTES / 8;

/// The columns of a [`Chunk`], and its plain members.
const COLUMNS: usize = 16;
const NUMBERS: usize = 2;

// No byte of a chunk is padding: padding would be written out uninitialised. And what lies at an
// address that 8 divides is aligned.
const _: () = assert!(size_of::<Chunk>() == NUMBERS * 8 + COLUMNS * size_of::<Vec<u8>>());
const _: () = assert!(align_of::<Chunk>() <= 8);

/// Why there are no chunks.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The cache is not one to be taken.
    Unfit(Unfit),
    /// The file could not be read.
    Io(io::Error),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // The file has become shorter while it was read.
            io::ErrorKind::UnexpectedEof => Refusal::Unfit(Unfit::Damaged),
            _ => Refusal::Io(error),
        }
    }
}

/// Writes a cache and returns its length.
pub(super) fn encode<W: Write + Seek>(
    out: &mut W,
    build: u64,
    binding: u64,
    chunks: &[Chunk],
) -> io::Result<u64> {
    out.write_all(&[0; HEADER_BYTES])?;
    let mut payload = Hashing {
        out,
        hash: Box::new(Xxh3::new()),
        length: 0,
    };
    for chunk in chunks {
        payload.write_all(&(abomonation::measure(chunk) as u64).to_le_bytes())?;
    }
    for chunk in chunks {
        // SAFETY: encoding reads the bytes of the chunk and of its columns' elements. All of them
        // are initialised: elements are integers, and the assertion above leaves no padding.
        unsafe { abomonation::encode(chunk, &mut payload)? };
    }
    let (length, checksum) = (payload.length, payload.hash.digest());
    let words = [
        MAGIC,
        layout(),
        build,
        binding,
        chunks.len() as u64,
        length,
        checksum,
    ];
    let mut header = words.map(u64::to_le_bytes).concat();
    header.extend_from_slice(&xxh3_64(&header).to_le_bytes());
    out.seek(SeekFrom::Start(0))?;
    out.write_all(&header)?;
    Ok(HEADER_BYTES as u64 + length)
}

/// Reads a cache of `length` bytes that this build wrote for `binding`.
pub(super) fn decode(
    mut from: impl Read,
    length: u64,
    build: u64,
    binding: u64,
) -> Result<Vec<Decoded>, Refusal> {
    let payload_bytes = match length.checked_sub(HEADER_BYTES as u64) {
        Some(bytes) => bytes,
        None => return Err(Refusal::Unfit(Unfit::Damaged)),
    };
    let mut header = [0; HEADER_BYTES];
    from.read_exact(&mut header)?;
    let (chunks, checksum) = check_header(&header, payload_bytes, build, binding)?;

    // Nothing is allocated that the file is not long enough for.
    let mut hash = Box::new(Xxh3::new());
    let mut left = payload_bytes;
    let mut take = |length: u64| -> Result<Words, Refusal> {
        left = match left.checked_sub(length) {
            Some(rest) => rest,
            None => return Err(Refusal::Unfit(Unfit::Damaged)),
        };
        let words = Words::read(&mut from, length)?;
        hash.update(&words);
        Ok(words)
    };
    let table = take(chunks.saturating_mul(8))?;
    let chunks = table
        .chunks_exact(8)
        .map(|length| take(number(length)))
        .collect::<Result<Vec<Words>, Refusal>>()?;
    if left != 0 || hash.digest() != checksum {
        return Err(Refusal::Unfit(Unfit::Damaged));
    }
    let decoded = chunks.into_iter().map(Decoded::new);
    let decoded: Option<Vec<Decoded>> = decoded.collect();
    decoded.ok_or(Refusal::Unfit(Unfit::Damaged))
}

/// The number of chunks and the checksum of the payload, from a header that fits.
fn check_header(
    header: &[u8; HEADER_BYTES],
    payload_bytes: u64,
    build: u64,
    binding: u64,
) -> Result<(u64, u64), Refusal> {
    let mut words = [0; HEADER_WORDS];
    for (word, bytes) in words.iter_mut().zip(header.chunks_exact(8)) {
        *word = number(bytes);
    }
    let [
        magic,
        layout_there,
        build_there,
        binding_there,
        chunks,
        length,
        checksum,
        own,
    ] = words;
    let unfit = if magic != MAGIC || own != xxh3_64(&header[..HEADER_BYTES - 8]) {
        Unfit::Damaged
    } else if layout_there != layout() || build_there != build {
        Unfit::OtherBuild
    } else if binding_there != binding {
        Unfit::OtherContent
    } else if length != payload_bytes {
        Unfit::Damaged
    } else {
        return Ok((chunks, checksum));
    };
    Err(Refusal::Unfit(unfit))
}

/// The number in 8 bytes.
fn number(bytes: &[u8]) -> u64 {
    bytes.try_into().map_or(0, u64::from_le_bytes)
}

/// A chunk in the bytes that it was read from.
pub(super) struct Decoded(Abomonated<Chunk, Words>);

impl Decoded {
    /// The chunk in `words`; none where they hold no chunk, or something besides.
    fn new(words: Words) -> Option<Decoded> {
        let length = words.length;
        // SAFETY: these are the conditions of `abomonation::decode`, and why they hold.
        // - The bytes are a `Chunk` that `encode` wrote: `decode` has held their checksum, under a
        //   header of ours, against them. This is as far as a file can be trusted; bytes from
        //   elsewhere never come here.
        // - They are laid out as this build lays them out: the header's hash of `layout` is ours,
        //   whatever the fingerprint of the build would say.
        // - Every step is aligned: `Words` begins at an address that 8 divides, the size of a chunk
        //   is a multiple of 8 (asserted above), and `entomb` goes from columns of 8 bytes an
        //   element over those of 4 to those of 1.
        // - Every bit pattern of the elements is a value: they are integers. A text is looked at
        //   as UTF-8 only by way of a check. The pointers and capacities that were written are not
        //   used: `exhume` replaces them, and they are of the kind that a `Vec` may have (not null,
        //   not over isize::MAX), for they were those of one.
        // - The buffer is ours alone, it stays at its place on the heap when `Words` is moved, and
        //   the chunk is only ever given out as `&Chunk` for as long as `self` lives: it is never
        //   changed, moved out or dropped as the owner of its columns, and `Words` is freed as the
        //   integers that it is.
        let chunk = unsafe { Abomonated::new(words) }?;
        let decoded = Decoded(chunk);
        let is_whole = abomonation::measure::<Chunk>(&decoded) == length;
        (is_whole && decoded.is_consistent()).then_some(decoded)
    }
}

impl Deref for Decoded {
    type Target = Chunk;

    fn deref(&self) -> &Chunk {
        &self.0
    }
}

impl fmt::Debug for Decoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// Bytes that begin at an address that 8 divides.
struct Words {
    /// A `Vec` and not a `Box`, because moving a box claims that nothing points into it.
    words: Vec<u64>,
    /// In bytes; within the words.
    length: usize,
}

impl Words {
    fn read(from: &mut impl Read, length: u64) -> Result<Words, Refusal> {
        let Ok(length) = usize::try_from(length) else {
            return Err(Refusal::Unfit(Unfit::Damaged));
        };
        let mut words = Words {
            words: vec![0; length.div_ceil(8)],
            length,
        };
        from.read_exact(&mut words)?;
        Ok(words)
    }
}

impl Deref for Words {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the words hold at least `length` bytes (`read` is the only maker), initialised as
        // integers are, and any address will do for bytes.
        unsafe { std::slice::from_raw_parts(self.words.as_ptr().cast(), self.length) }
    }
}

impl DerefMut for Words {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as for `deref`; any bytes make words, and the borrow of `self` is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.words.as_mut_ptr().cast(), self.length) }
    }
}

/// The three methods name the columns in one order, without leaving any out: a new member of the
/// chunk does not compile until it has found its place.
impl Abomonation for Chunk {
    #[rustfmt::skip]
    unsafe fn entomb<W: Write>(&self, out: &mut W) -> io::Result<()> {
        let Chunk {
            epoch: _, first: _,
            ids, times, prints, key_ends, fault_rows, detail_ends, stream_ends, type_ends,
            streams, types,
            flags, reasons, keys, details, stream_names, type_names,
        } = self;
        // SAFETY: the caller keeps to what `encode` asks for; the elements are integers.
        unsafe {
            for column in [ids, times] { column.entomb(out)?; }
            for column in [prints, key_ends, fault_rows, detail_ends, stream_ends, type_ends] {
                column.entomb(out)?;
            }
            for column in [streams, types] { column.entomb(out)?; }
            for column in [flags, reasons, keys, details, stream_names, type_names] {
                column.entomb(out)?;
            }
        }
        Ok(())
    }

    #[rustfmt::skip]
    unsafe fn exhume<'b>(&mut self, mut bytes: &'b mut [u8]) -> Option<&'b mut [u8]> {
        let Chunk {
            epoch: _, first: _,
            ids, times, prints, key_ends, fault_rows, detail_ends, stream_ends, type_ends,
            streams, types,
            flags, reasons, keys, details, stream_names, type_names,
        } = self;
        // SAFETY: the caller keeps to what `decode` asks for; the order is that of `entomb`.
        unsafe {
            for column in [ids, times] { bytes = column.exhume(bytes)?; }
            for column in [prints, key_ends, fault_rows, detail_ends, stream_ends, type_ends] {
                bytes = column.exhume(bytes)?;
            }
            for column in [streams, types] { bytes = column.exhume(bytes)?; }
            for column in [flags, reasons, keys, details, stream_names, type_names] {
                bytes = column.exhume(bytes)?;
            }
        }
        Some(bytes)
    }

    #[rustfmt::skip]
    fn extent(&self) -> usize {
        let Chunk {
            epoch: _, first: _,
            ids, times, prints, key_ends, fault_rows, detail_ends, stream_ends, type_ends,
            streams, types,
            flags, reasons, keys, details, stream_names, type_names,
        } = self;
        let signed = [ids, times];
        let wide = [prints, key_ends, fault_rows, detail_ends, stream_ends, type_ends];
        let narrow = [streams, types];
        let bytes = [flags, reasons, keys, details, stream_names, type_names];
        let extents = signed.into_iter().map(Vec::extent)
            .chain(wide.into_iter().map(Vec::extent))
            .chain(narrow.into_iter().map(Vec::extent))
            .chain(bytes.into_iter().map(Vec::extent));
        extents.sum()
    }
}

/// How this build lays a chunk out in memory, as a hash. The language promises nothing about it from
/// one build to the next, so it is looked at: where each member lies, and where each kind of `Vec`
/// keeps its address, its capacity and its length.
#[rustfmt::skip]
fn layout() -> u64 {
    let offsets = [
        size_of::<Chunk>(), align_of::<Chunk>(), size_of::<usize>(),
        offset_of!(Chunk, epoch), offset_of!(Chunk, first),
        offset_of!(Chunk, ids), offset_of!(Chunk, times), offset_of!(Chunk, prints),
        offset_of!(Chunk, key_ends), offset_of!(Chunk, fault_rows),
        offset_of!(Chunk, detail_ends), offset_of!(Chunk, stream_ends),
        offset_of!(Chunk, type_ends), offset_of!(Chunk, streams), offset_of!(Chunk, types),
        offset_of!(Chunk, flags), offset_of!(Chunk, reasons), offset_of!(Chunk, keys),
        offset_of!(Chunk, details), offset_of!(Chunk, stream_names),
        offset_of!(Chunk, type_names),
    ];
    let mut bytes = 0x0102_0304_u32.to_ne_bytes().to_vec();
    bytes.extend(offsets.iter().flat_map(|offset| (*offset as u64).to_le_bytes()));
    for words in [vec_layout(0_i64), vec_layout(0_u64), vec_layout(0_u32), vec_layout(0_u8)] {
        bytes.extend_from_slice(&words);
    }
    xxh3_64(&bytes)
}

/// What each word of a `Vec<T>` is: its address, its capacity or its length.
fn vec_layout<T: Abomonation + Copy>(element: T) -> Vec<u8> {
    let mut sample = Vec::with_capacity(5);
    sample.push(element);
    let mut bytes = Vec::new();
    // SAFETY: `T` is one of the integers, so the `Vec`'s own words and its element are initialised.
    // Writing to memory does not fail; if it did, the layout would be one that fits nothing.
    let _ = unsafe { abomonation::encode(&sample, &mut bytes) };
    let words = bytes[..size_of::<Vec<T>>().min(bytes.len())].chunks(size_of::<usize>());
    let word = |bytes: &[u8]| match bytes.try_into().map(usize::from_ne_bytes) {
        Ok(word) if word == sample.as_ptr().addr() => b'a',
        Ok(word) if word == sample.capacity() => b'c',
        Ok(word) if word == sample.len() => b'l',
        _ => b'?',
    };
    words.map(word).collect()
}

/// Counts and hashes what is written through it.
struct Hashing<'a, W> {
    out: &'a mut W,
    /// Half a kilobyte of state, and more on the stack than it is worth.
    hash: Box<Xxh3>,
    length: u64,
}

impl<W: Write> Write for Hashing<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.length += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_understood() {
        for words in [
            vec_layout(0_i64),
            vec_layout(0_u64),
            vec_layout(0_u32),
            vec_layout(0_u8),
        ] {
            let mut words = words;
            words.sort_unstable();
            assert_eq!(words, b"acl");
        }
        assert_eq!(layout(), layout());
    }

    #[test]
    fn words_are_aligned_and_as_long_as_they_should_be() {
        for length in 0..20 {
            let words = Words::read(&mut &[7; 20][..], length).unwrap();
            assert_eq!(&words[..], &[7; 20][..length as usize]);
            assert_eq!(words.as_ptr().addr() % 8, 0);
        }
    }
}
