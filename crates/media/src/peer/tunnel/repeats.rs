//! Requests to a relay over UDP that are sent again until they are answered, far sooner than the library does: at 30 %
//! loss each way half of all requests fail, and setting a connection up takes several, one after the other.
//!
//! A repeat is the same message, which a server answers as it did before (RFC 8489, section 6.3.1). Told the time.

use super::message::{Header, TransactionId};
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;

/// Between a request and its repeat, and each time half as much again.
const FIRST: Duration = Duration::from_millis(60);
/// Times that a request is sent, the first among them; then the library's own repeats remain.
const MOST: u32 = 6;
/// Requests that are looked after at once; there are a handful.
const REQUESTS: usize = 32;

#[derive(Default)]
pub struct Repeats(HashMap<TransactionId, Waiting>);

struct Waiting {
    packet: Vec<u8>,
    at: Instant,
    pause: Duration,
    sent: u32,
}

impl Repeats {
    /// This packet was sent.
    pub fn sent(&mut self, packet: &[u8], now: Instant) {
        let Some(request) = Header::read(packet).filter(|header| header.is_request()) else { return };
        if self.0.len() < REQUESTS && !self.0.contains_key(&request.transaction) {
            let waiting = Waiting { packet: packet.to_vec(), at: now + FIRST, pause: FIRST, sent: 1 };
            self.0.insert(request.transaction, waiting);
        }
    }

    /// This packet came.
    pub fn came(&mut self, packet: &[u8]) {
        if let Some(response) = Header::read(packet).filter(|header| header.is_response()) {
            self.0.remove(&response.transaction);
        }
    }

    pub fn due(&self) -> Option<Instant> {
        self.0.values().map(|waiting| waiting.at).min()
    }

    /// A request that is to be sent again now.
    pub fn next(&mut self, now: Instant) -> Option<Vec<u8>> {
        let (transaction, waiting) = self.0.iter_mut().find(|(_, waiting)| waiting.at <= now)?;
        let (packet, transaction) = (waiting.packet.clone(), *transaction);
        waiting.sent += 1;
        waiting.pause = waiting.pause * 3 / 2;
        waiting.at = now + waiting.pause;
        if waiting.sent >= MOST {
            self.0.remove(&transaction);
        }
        Some(packet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::tunnel::message::{ALLOCATE, refusal};

    fn request(transaction: u8) -> Vec<u8> {
        let mut packet = ALLOCATE.to_be_bytes().to_vec();
        packet.extend([0, 0, 0x21, 0x12, 0xA4, 0x42]);
        packet.extend([transaction; 12]);
        packet
    }

    #[test]
    fn a_request_is_sent_again_in_growing_pauses_until_it_is_answered_or_was_sent_often_enough() {
        let begun = Instant::now();
        let mut repeats = Repeats::default();
        repeats.sent(&request(1), begun);
        repeats.sent(&[0x40, 0, 0, 4, 1, 2, 3, 4], begun);
        let mut at = Vec::new();
        while let Some(due) = repeats.due() {
            assert_eq!(repeats.next(due - Duration::from_millis(1)), None);
            assert_eq!(repeats.next(due), Some(request(1)));
            at.push((due - begun).as_millis());
        }
        assert_eq!(at, [60, 150, 285, 487, 791]);

        repeats.sent(&request(2), begun);
        repeats.sent(&request(3), begun);
        let header = Header::read(&request(2)).unwrap();
        repeats.came(&refusal(header, 401));
        assert_eq!(repeats.next(begun + Duration::from_secs(1)), Some(request(3)));
    }
}
