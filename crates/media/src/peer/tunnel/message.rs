//! What TURN's packets look like from outside, as far as carrying them asks for it: where one ends in a stream, which
//! request an answer belongs to, and which permission was asked for (RFC 8489, RFC 8656).

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

pub const ALLOCATE: u16 = 0x0003;
pub const CREATE_PERMISSION: u16 = 0x0008;

const HEADER: usize = 20;
const COOKIE: u32 = 0x2112_A442;
const REQUEST: u16 = 0x0000;
const SUCCESS: u16 = 0x0100;
const ERROR: u16 = 0x0110;
const CLASS: u16 = 0x0110;
const XOR_PEER_ADDRESS: u16 = 0x0012;
const ERROR_CODE: u16 = 0x0009;

pub type TransactionId = [u8; 12];

/// The header of a STUN message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    kind: u16,
    pub transaction: TransactionId,
}

impl Header {
    /// `None` for ChannelData and anything else that is no whole STUN message.
    pub fn read(packet: &[u8]) -> Option<Self> {
        let (header, body) = packet.split_at_checked(HEADER)?;
        let (kind, length) = (u16_at(header, 0)?, u16_at(header, 2)?);
        let fits = kind & 0xC000 == 0 && u32_at(header, 4)? == COOKIE && usize::from(length) == body.len();
        let transaction = header.get(8..HEADER)?.try_into().ok()?;
        fits.then_some(Self { kind, transaction })
    }

    pub fn is_request(self) -> bool {
        self.kind & CLASS == REQUEST
    }

    pub fn is_request_of(self, method: u16) -> bool {
        self.kind == method
    }

    pub fn is_response(self) -> bool {
        matches!(self.kind & CLASS, SUCCESS | ERROR)
    }

    fn is_error(self) -> bool {
        self.kind & CLASS == ERROR
    }
}

/// The one peer that a request names; `None` if there are several. The relay of a Bellwire server tells ports apart, too.
pub fn only_peer(packet: &[u8]) -> Option<SocketAddr> {
    let transaction: TransactionId = packet.get(8..HEADER)?.try_into().ok()?;
    let mut peers = attributes(packet).filter(|(kind, _)| *kind == XOR_PEER_ADDRESS).map(|(_, value)| value);
    let peer = peers.next()?;
    if peers.next().is_some() {
        return None;
    }
    let port = u16_at(peer, 2)? ^ (COOKIE >> 16) as u16;
    match peer.get(1)? {
        1 => Some((Ipv4Addr::from_bits(u32_at(peer, 4)? ^ COOKIE), port).into()),
        2 => {
            let mut address: [u8; 16] = peer.get(4..20)?.try_into().ok()?;
            let mask = COOKIE.to_be_bytes().into_iter().chain(transaction);
            address.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
            Some((Ipv6Addr::from(address), port).into())
        }
        _ => None,
    }
}

/// The code of an error response, 300 to 699.
pub fn error_code(packet: &[u8]) -> Option<u16> {
    Header::read(packet).filter(|header| header.is_error())?;
    let (_, value) = attributes(packet).find(|(kind, _)| *kind == ERROR_CODE)?;
    Some(u16::from(*value.get(2)? & 7) * 100 + u16::from(*value.get(3)?))
}

/// The answer that refuses this request with a code of 300 to 699.
pub fn refusal(request: Header, code: u16) -> Vec<u8> {
    let mut answer = Vec::with_capacity(HEADER + 8);
    answer.extend((request.kind | ERROR).to_be_bytes());
    answer.extend(8u16.to_be_bytes());
    answer.extend(COOKIE.to_be_bytes());
    answer.extend(request.transaction);
    answer.extend(ERROR_CODE.to_be_bytes());
    answer.extend(4u16.to_be_bytes());
    answer.extend([0, 0, (code / 100) as u8, (code % 100) as u8]);
    answer
}

fn attributes(packet: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = packet.get(HEADER..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (kind, length) = (u16_at(rest, 0)?, usize::from(u16_at(rest, 2)?));
        let value = rest.get(4..4 + length)?;
        rest = rest.get(4 + padded(length)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// Takes whole packets out of a stream, in which each says its length and ChannelData is padded to four bytes
/// (RFC 8656, section 12.5).
#[derive(Default)]
pub struct Splitter(Vec<u8>);

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("what comes is not TURN")]
pub struct NotTurn;

impl Splitter {
    pub fn add(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// The next whole packet, without padding.
    pub fn next_packet(&mut self) -> Result<Option<Vec<u8>>, NotTurn> {
        let (Some(first), Some(length)) = (self.0.first(), u16_at(&self.0, 2)) else { return Ok(None) };
        let (length, taken) = match first >> 6 {
            0 => (HEADER + usize::from(length), HEADER + usize::from(length)),
            1 => (4 + usize::from(length), 4 + padded(usize::from(length))),
            _ => return Err(NotTurn),
        };
        if self.0.len() < taken {
            return Ok(None);
        }
        let mut packet: Vec<u8> = self.0.drain(..taken).collect();
        packet.truncate(length);
        Ok(Some(packet))
    }
}

/// A packet as it goes into a stream; `None` if it is neither STUN nor ChannelData, which would spoil the stream.
pub fn framed(mut packet: Vec<u8>) -> Option<Vec<u8>> {
    if Header::read(&packet).is_none() {
        let length = usize::from(u16_at(&packet, 2)?);
        if packet.first()? >> 6 != 1 || packet.len() < 4 + length {
            return None;
        }
        packet.resize(4 + padded(length), 0);
    }
    Some(packet)
}

fn padded(length: usize) -> usize {
    length.next_multiple_of(4)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stun(kind: u16, attributes: &[u8]) -> Vec<u8> {
        let mut message = kind.to_be_bytes().to_vec();
        message.extend((attributes.len() as u16).to_be_bytes());
        message.extend(COOKIE.to_be_bytes());
        message.extend([7; 12]);
        message.extend(attributes);
        message
    }

    fn channel(data: &[u8]) -> Vec<u8> {
        let mut message = vec![0x40, 0x01];
        message.extend((data.len() as u16).to_be_bytes());
        message.extend(data);
        message
    }

    #[test]
    fn packets_come_out_of_a_stream_as_they_went_in_however_it_is_cut() {
        let packets =
            [stun(1, &[]), channel(&[1, 2, 3, 4, 5]), channel(&[]), stun(0x0103, &[0; 8]), channel(&[9; 100])];
        let stream: Vec<u8> = packets.iter().flat_map(|packet| framed(packet.clone()).unwrap()).collect();
        for cut in [1, 2, 3, 7, 64, stream.len()] {
            let (mut splitter, mut out) = (Splitter::default(), Vec::new());
            for piece in stream.chunks(cut) {
                splitter.add(piece);
                while let Some(packet) = splitter.next_packet().unwrap() {
                    out.push(packet);
                }
            }
            assert_eq!(out, packets, "cut each {cut} bytes");
        }
    }

    #[test]
    fn a_stream_that_is_not_turn_is_known_for_it_and_no_other_packet_gets_in() {
        let mut splitter = Splitter::default();
        splitter.add(&[0x80; 40]);
        assert_eq!(splitter.next_packet(), Err(NotTurn));
        assert_eq!(framed(b"HTTP/1.1 200 OK".to_vec()), None);
        assert_eq!(framed(vec![0x40, 1, 0, 9, 1]), None);
        assert_eq!(framed(vec![]), None);
    }

    #[test]
    fn requests_and_answers_are_told_apart() {
        let request = Header::read(&stun(ALLOCATE, &[])).unwrap();
        assert!(request.is_request() && request.is_request_of(ALLOCATE) && !request.is_response());
        for answer in [0x0103, 0x0113] {
            let answer = Header::read(&stun(answer, &[])).unwrap();
            assert!(answer.is_response() && !answer.is_request());
        }
        let indication = Header::read(&stun(0x0017, &[])).unwrap();
        assert!(!indication.is_request() && !indication.is_response());
        assert_eq!(Header::read(&channel(&[0; 40])), None);
    }

    #[test]
    fn the_peer_of_a_permission_is_read_and_a_refusal_is_one() {
        let v4 = [0, 0x12, 0, 8, 0, 1, 0, 0, 0x21 ^ 192, 0x12, 0xA4 ^ 2, 0x42 ^ 9];
        assert_eq!(only_peer(&stun(CREATE_PERMISSION, &v4)), Some("192.0.2.9:8466".parse().unwrap()));
        assert_eq!(only_peer(&stun(CREATE_PERMISSION, &[v4, v4].concat())), None);
        let mut v6 = vec![0, 0x12, 0, 20, 0, 2, 0, 0, 0x21 ^ 0x20, 0x12 ^ 0x01, 0xA4 ^ 0x0d, 0x42 ^ 0xb8];
        v6.extend([7; 11]);
        v6.push(7 ^ 1);
        assert_eq!(only_peer(&stun(CREATE_PERMISSION, &v6)), Some("[2001:db8::1]:8466".parse().unwrap()));
        let request = Header::read(&stun(CREATE_PERMISSION, &v4)).unwrap();
        let refused = refusal(request, 403);
        assert_eq!(Header::read(&refused).unwrap().transaction, request.transaction);
        assert_eq!(error_code(&refused), Some(403));
        assert_eq!(error_code(&stun(0x0108, &[])), None);
    }
}
