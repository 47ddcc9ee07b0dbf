//! Redundant packets: earlier ones ride along with the newest (RFC 2198).
//!
//! [`write`] makes a packet of Opus packets, [`read`] takes one apart; neither knows sequence numbers, so where a block
//! belongs is said by its offset alone. A block of another kind than the newest is passed over: the newest is what the
//! packet is about, and only one kind was negotiated.

use bytes::{Buf, Bytes};

/// One block of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Samples before the packet's timestamp; 0 for the newest.
    pub offset: u32,
    pub payload: Bytes,
}

/// The most that a block's timestamp can lie back (14 bits).
pub const LONGEST_OFFSET: u32 = 0x3FFF;
/// The most bytes of a block but the newest (10 bits).
pub const LONGEST_BLOCK: usize = 0x3FF;
/// The most blocks of a packet: what is older than three packets is not worth its bytes.
pub const MOST_BLOCKS: usize = 4;

/// Says that another block follows.
const MORE: u8 = 0x80;
const KIND: u8 = 0x7F;

/// The blocks of a packet, oldest first, the newest last; `None` when it is not well formed.
pub fn read(packet: &Bytes) -> Option<Vec<Block>> {
    let mut headers = &packet[..];
    let mut older = Vec::new();
    let newest = loop {
        let first = headers.try_get_u8().ok()?;
        if first & MORE == 0 {
            break first & KIND;
        }
        if older.len() + 1 == MOST_BLOCKS {
            return None;
        }
        let (middle, last) = (headers.try_get_u8().ok()?, headers.try_get_u16().ok()?);
        let offset = u32::from(middle) << 6 | u32::from(last >> 10);
        older.push((first & KIND, offset, usize::from(last) & LONGEST_BLOCK));
    };
    let mut rest = packet.slice(packet.len() - headers.len()..);
    let mut blocks = Vec::with_capacity(older.len() + 1);
    for (kind, offset, length) in older {
        if length > rest.len() {
            return None;
        }
        let payload = rest.split_to(length);
        if kind == newest && offset > 0 && length > 0 {
            blocks.push(Block { offset, payload });
        }
    }
    if rest.is_empty() {
        return None;
    }
    blocks.sort_by_key(|block| std::cmp::Reverse(block.offset));
    blocks.push(Block { offset: 0, payload: rest });
    Some(blocks)
}

/// A packet of these blocks, oldest first, the newest last; each carries payload type `opus`. An older block that a header
/// cannot describe is left out, as are the oldest of more than [`MOST_BLOCKS`].
pub fn write(opus: u8, blocks: &[Block]) -> Bytes {
    let Some((newest, older)) = blocks.split_last() else { return Bytes::new() };
    let fits = |block: &&Block| {
        (1..=LONGEST_OFFSET).contains(&block.offset) && (1..=LONGEST_BLOCK).contains(&block.payload.len())
    };
    let skipped = older.iter().filter(fits).count().saturating_sub(MOST_BLOCKS - 1);
    let older: Vec<&Block> = older.iter().filter(fits).skip(skipped).collect();
    let mut packet = Vec::with_capacity(blocks.iter().map(|block| 4 + block.payload.len()).sum());
    for block in &older {
        packet.push(MORE | opus & KIND);
        packet.push((block.offset >> 6) as u8);
        packet.extend_from_slice(&((block.offset << 10) as u16 | block.payload.len() as u16).to_be_bytes());
    }
    packet.push(opus & KIND);
    for block in older.into_iter().chain([newest]) {
        packet.extend_from_slice(&block.payload);
    }
    packet.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(offset: u32, payload: &'static [u8]) -> Block {
        Block { offset, payload: Bytes::from_static(payload) }
    }

    #[test]
    fn what_was_written_is_read_again() {
        let blocks =
            [block(LONGEST_OFFSET, &[7; LONGEST_BLOCK]), block(1920, b"ab"), block(960, b"c"), block(0, b"new")];
        for from in 0..blocks.len() {
            assert_eq!(read(&write(111, &blocks[from..])).unwrap(), blocks[from..]);
        }
        // RFC 2198, section 3: F and type, 14 bits of offset, 10 of length; then the newest's type alone.
        assert_eq!(write(111, &[block(960, b"c"), block(0, b"new")])[..], *b"\xef\x0f\x00\x01\x6fcnew");
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        let blocks = [block(LONGEST_OFFSET + 1, b"far"), block(960, b""), block(0, b"new")];
        assert_eq!(read(&write(111, &blocks)).unwrap(), [block(0, b"new")]);
        let many: Vec<Block> = (0..7).rev().map(|i| block(i * 960, b"x")).collect();
        assert_eq!(read(&write(111, &many)).unwrap(), many[3..]);
    }

    #[test]
    fn what_is_not_well_formed_is_refused_and_other_kinds_are_passed_over() {
        let whole = write(111, &[block(960, b"abc"), block(0, b"new")]);
        // With less than the newest block's first byte there is nothing to be had.
        (0..9).for_each(|length| assert_eq!(read(&whole.slice(..length)), None, "{length} bytes"));
        assert_eq!(read(&Bytes::from_static(&[0xff; 64])), None);
        let mut other = whole.to_vec();
        other[0] = MORE | 13;
        assert_eq!(read(&other.into()).unwrap(), [block(0, b"new")]);
    }
}
