//! What was emitted to one client, for the case that its transport was lost before it arrived.
//!
//! Bounded in number, bytes and age: the oldest goes, and then a recovery that would need it is none.

use super::{PING_INTERVAL, PING_TIMEOUT, RECOVERY};
use bytes::Bytes;
use engineioxide::Str;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Packets kept of one socket, and their bytes.
const PACKETS: usize = 512;
const BYTES: usize = 256 * 1024;
/// A client that did not get something older than this was noticed to be lost, and its time to come back is over.
const AGE: Duration = Duration::from_secs(PING_INTERVAL.as_secs() + PING_TIMEOUT.as_secs() + RECOVERY.as_secs());

/// One packet on its way out. Clones share the bytes.
#[derive(Clone, Debug)]
pub struct Outgoing {
    pub text: Str,
    pub attachments: Box<[Bytes]>,
}

impl Outgoing {
    pub fn bytes(&self) -> usize {
        self.text.len() + self.attachments.iter().map(Bytes::len).sum::<usize>()
    }
}

#[derive(Debug, Default)]
pub struct Kept {
    packets: VecDeque<(Instant, Outgoing)>,
    bytes: usize,
    /// Offset of the newest packet there ever was; the first is 1.
    last: u64,
}

impl Kept {
    pub fn next_offset(&self) -> u64 {
        self.last + 1
    }

    pub fn push(&mut self, packet: Outgoing, now: Instant) {
        self.last += 1;
        self.bytes += packet.bytes();
        // First, so that the buffer does not double for the one packet too many.
        if self.packets.len() == PACKETS
            && let Some((_, oldest)) = self.packets.pop_front()
        {
            self.bytes -= oldest.bytes();
        }
        self.packets.push_back((now, packet));
        self.prune(now);
    }

    /// Lets go what is too much or too old.
    pub fn prune(&mut self, now: Instant) {
        while let Some((at, packet)) = self.packets.front() {
            let is_old = now.saturating_duration_since(*at) > AGE;
            if self.bytes <= BYTES && !is_old {
                break;
            }
            self.bytes -= packet.bytes();
            self.packets.pop_front();
        }
        if self.packets.is_empty() {
            self.packets = VecDeque::new();
        }
    }

    /// What a client missed whose newest packet had this offset; `None` if not all of it is here.
    pub fn after(&self, offset: u64) -> Option<impl Iterator<Item = &Outgoing>> {
        let missed = usize::try_from(self.last.checked_sub(offset)?).ok()?;
        let skipped = self.packets.len().checked_sub(missed)?;
        Some(self.packets.iter().skip(skipped).map(|(_, packet)| packet))
    }
}

/// How many bytes of packets to one client are in memory, in whatever queue.
#[derive(Clone, Debug, Default)]
pub struct Held(Arc<AtomicUsize>);

impl Held {
    pub fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    pub fn packet(&self, text: String, attachments: Vec<Bytes>) -> Outgoing {
        let text = self.count(text);
        // SAFETY: the bytes are those of a String.
        let text = unsafe { Str::from_bytes_unchecked(text) };
        Outgoing { text, attachments: attachments.into_iter().map(|one| self.count(one)).collect() }
    }

    fn count<T: AsRef<[u8]> + Send + 'static>(&self, data: T) -> Bytes {
        let bytes = data.as_ref().len();
        self.0.fetch_add(bytes, Ordering::Relaxed);
        Bytes::from_owner(Counted { data, bytes, held: self.clone() })
    }
}

/// Counts until the last that shares it lets go.
struct Counted<T> {
    data: T,
    bytes: usize,
    held: Held,
}

impl<T: AsRef<[u8]>> AsRef<[u8]> for Counted<T> {
    fn as_ref(&self) -> &[u8] {
        self.data.as_ref()
    }
}

impl<T> Drop for Counted<T> {
    fn drop(&mut self) {
        self.held.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(texts: impl IntoIterator<Item = String>, now: Instant) -> (Kept, Held) {
        let held = Held::default();
        let mut kept = Kept::default();
        for text in texts {
            kept.push(held.packet(text, Vec::new()), now);
        }
        (kept, held)
    }

    fn texts(kept: &Kept, offset: u64) -> Option<Vec<String>> {
        kept.after(offset).map(|missed| missed.map(|packet| packet.text.to_string()).collect())
    }

    #[test]
    fn what_was_missed_is_what_came_after_the_offset() {
        let (kept, _) = kept(["a", "b", "c"].map(String::from), Instant::now());
        assert_eq!(texts(&kept, 0), Some(vec!["a".into(), "b".into(), "c".into()]));
        assert_eq!(texts(&kept, 2), Some(vec!["c".into()]));
        assert_eq!(texts(&kept, 3), Some(vec![]));
        assert_eq!(texts(&kept, 4), None, "an offset that there never was");
    }

    #[test]
    fn more_packets_than_are_kept_push_out_the_oldest() {
        let (kept, _) = kept((0..=PACKETS).map(|n| n.to_string()), Instant::now());
        assert_eq!(texts(&kept, 0), None);
        assert_eq!(texts(&kept, 1).map(|missed| missed.len()), Some(PACKETS));
    }

    #[test]
    fn more_bytes_than_are_kept_push_out_the_oldest() {
        let (kept, held) = kept((0..5).map(|_| "x".repeat(BYTES / 4)), Instant::now());
        assert_eq!(texts(&kept, 0), None);
        assert_eq!(texts(&kept, 1).map(|missed| missed.len()), Some(4));
        assert_eq!(held.bytes(), BYTES);
    }

    #[test]
    fn packets_too_old_to_be_asked_for_are_let_go() {
        let start = Instant::now();
        let (mut kept, held) = kept(["a".into()], start);
        kept.prune(start + AGE);
        assert_eq!(texts(&kept, 0).map(|missed| missed.len()), Some(1));
        kept.prune(start + AGE + Duration::from_millis(1));
        assert_eq!((texts(&kept, 0), texts(&kept, 1)), (None, Some(vec![])));
        assert_eq!((kept.next_offset(), held.bytes()), (2, 0));
    }
}
