//! Numbers and texts as bytes: the one reading and writing of the journal's payloads.
//!
//! Everything is little endian; a count or a length is a LEB128 number. A [`Bytes`] never reads
//! past its end: what does not fit is `None`, and the caller says what was damaged.

/// Appends a number, seven bits a byte, the lowest first; the high bit says that more follow.
pub(super) fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends bytes with their length before them.
pub(super) fn put_block(out: &mut Vec<u8>, block: &[u8]) {
    put_varint(out, block.len() as u64);
    out.extend_from_slice(block);
}

/// What is left to read of a payload.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }

    pub(super) fn varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            // The tenth byte has room for one bit.
            if shift == 63 && byte > 1 {
                return None;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    pub(super) fn varint_u32(&mut self) -> Option<u32> {
        self.varint()?.try_into().ok()
    }

    pub(super) fn varint_usize(&mut self) -> Option<usize> {
        self.varint()?.try_into().ok()
    }

    /// How many elements follow, each of at least `least` bytes: never more than there is room for,
    /// so that a count may be allocated for.
    pub(super) fn count(&mut self, least: usize) -> Option<usize> {
        let count = self.varint_usize()?;
        (count.checked_mul(least)? <= self.0.len()).then_some(count)
    }

    pub(super) fn block(&mut self) -> Option<&'a [u8]> {
        let length = self.varint_usize()?;
        self.take(length)
    }

    pub(super) fn text(&mut self) -> Option<String> {
        String::from_utf8(self.block()?.to_vec()).ok()
    }

    /// That everything was read.
    pub(super) fn end(&self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        for number in [
            0,
            1,
            127,
            128,
            16_383,
            16_384,
            u64::from(u32::MAX),
            u64::MAX,
        ] {
            let mut out = Vec::new();
            put_varint(&mut out, number);
            let mut bytes = Bytes(&out);
            assert_eq!(bytes.varint(), Some(number));
            assert_eq!(bytes.end(), Some(()));
            out.pop();
            assert_eq!(Bytes(&out).varint(), None, "cut short");
        }
        assert_eq!(Bytes(&[0xff; 11]).varint(), None, "more than 64 bits");
        let two_to_the_64 = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 2];
        assert_eq!(Bytes(&two_to_the_64).varint(), None);
    }

    #[test]
    fn a_count_is_never_more_than_there_is_room_for() {
        let mut out = Vec::new();
        put_varint(&mut out, u64::MAX);
        assert_eq!(Bytes(&out).count(1), None);
        assert_eq!(Bytes(&out).block(), None);
        assert_eq!(Bytes(&[2, 0, 0]).count(1), Some(2));
        assert_eq!(Bytes(&[2, 0, 0]).count(2), None);
    }
}
