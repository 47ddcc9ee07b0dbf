//! This device's own way to the server, measured beside a call: a STUN request a second (RFC 8489, section 6) to the port
//! where its relay listens. It tells a bad network here from a bad one on the other side.
//!
//! It leaves out judgement, and says nothing before the first answer: where UDP does not get through there is no such way.

use bellwire_signaling::Access;
use rand::RngExt;
use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::net::{UdpSocket, lookup_host};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};

/// An answer that takes longer does not count as one.
const EVERY: Duration = Duration::from_secs(1);
/// How many of the newest requests count, and how few say nothing.
const COUNTED: usize = 20;
const FEWEST: usize = 5;
/// Steps in which it is told: a changed digit is no news.
const LOSS_STEP: usize = 5;
const ROUND_TRIP_STEP_MS: u64 = 20;
const AGAIN: Duration = Duration::from_secs(5);

const REQUEST: [u8; 8] = [0x00, 0x01, 0x00, 0x00, 0x21, 0x12, 0xa4, 0x42];
const SUCCESS: u16 = 0x0101;
const ERROR: u16 = 0x0111;

/// Goes on until it is dropped.
pub(crate) struct Probe {
    /// `host:port`.
    server: String,
    access: watch::Receiver<Option<Access>>,
    _until: DropGuard,
}

impl Probe {
    /// To be called within a tokio runtime.
    pub(crate) fn of(server: String) -> Self {
        let (sender, access) = watch::channel(None);
        let until = CancellationToken::new();
        let probing = until.clone().run_until_cancelled_owned(probe(server.clone(), sender));
        tokio::spawn(probing);
        Self { server, access, _until: until.drop_guard() }
    }

    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    pub(crate) fn access(&self) -> Option<Access> {
        *self.access.borrow()
    }
}

/// `host:port` of a URL as `stun:HOST:PORT` (RFC 7064); none of any other.
pub(crate) fn stun_server(url: &str) -> Option<String> {
    let rest = url.strip_prefix("stun:")?;
    let named = rest.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    Some(if named { rest.to_owned() } else { format!("{rest}:3478") })
}

async fn probe(server: String, access: watch::Sender<Option<Access>>) {
    let mut counted = Counted::default();
    loop {
        if let Err(error) = probe_by_one_socket(&server, &mut counted, &access).await {
            tracing::debug!(kind = ?error.kind(), "no way to probe the server");
        }
        sleep(AGAIN).await;
    }
}

async fn probe_by_one_socket(
    server: &str,
    counted: &mut Counted,
    access: &watch::Sender<Option<Access>>,
) -> io::Result<()> {
    let server = lookup_host(server).await?.next().ok_or(io::ErrorKind::NotFound)?;
    let any: SocketAddr =
        if server.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    loop {
        let sent_at = Instant::now();
        let transaction: [u8; 12] = rand::rng().random();
        let mut request = [0; 20];
        request[..8].copy_from_slice(&REQUEST);
        request[8..].copy_from_slice(&transaction);
        // What could not be sent was lost.
        let sent = socket.send(&request).await.is_ok();
        let until = sent_at + EVERY;
        let answered = match sent {
            true => timeout_at(until, answer(&socket, &transaction)).await.ok(),
            false => None,
        };
        match answered {
            Some(Answer::Came(at)) => counted.add(Some(at - sent_at)),
            Some(Answer::NobodyThere) => {}
            None => counted.add(None),
        }
        access.send_if_modified(|told| {
            let now = counted.access();
            std::mem::replace(told, now) != now
        });
        tokio::time::sleep_until(until).await;
    }
}

enum Answer {
    Came(Instant),
    /// The request arrived, and nobody listens: the server is being started again, say.
    NobodyThere,
}

/// Safe to cancel.
async fn answer(socket: &UdpSocket, transaction: &[u8; 12]) -> Answer {
    let mut bytes = [0; 512];
    loop {
        match socket.recv(&mut bytes).await {
            Ok(length) if answers(&bytes[..length], transaction) => return Answer::Came(Instant::now()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return Answer::NobodyThere,
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}

fn answers(bytes: &[u8], transaction: &[u8; 12]) -> bool {
    let Some((header, _)) = bytes.split_first_chunk::<20>() else { return false };
    let kind = u16::from_be_bytes([header[0], header[1]]);
    (kind == SUCCESS || kind == ERROR) && header[4..8] == REQUEST[4..8] && header[8..] == transaction[..]
}

/// The newest requests, and how long each answer took.
#[derive(Debug, Default)]
struct Counted {
    answered: bool,
    newest: VecDeque<Option<Duration>>,
}

impl Counted {
    fn add(&mut self, answer: Option<Duration>) {
        if answer.is_some() && !std::mem::replace(&mut self.answered, true) {
            self.newest.clear();
        }
        if self.newest.len() == COUNTED {
            self.newest.pop_front();
        }
        self.newest.push_back(answer);
    }

    fn access(&self) -> Option<Access> {
        if !self.answered || self.newest.len() < FEWEST {
            return None;
        }
        let mut times: Vec<Duration> = self.newest.iter().flatten().copied().collect();
        times.sort();
        let median = times.get(times.len() / 2).copied().unwrap_or(EVERY);
        let lost = self.newest.len() - times.len();
        let loss = lost * 100 / self.newest.len();
        let loss = (loss + LOSS_STEP / 2) / LOSS_STEP * LOSS_STEP;
        let ms = u64::try_from(median.as_millis()).unwrap_or(u64::MAX);
        let ms = ms.saturating_add(ROUND_TRIP_STEP_MS / 2) / ROUND_TRIP_STEP_MS * ROUND_TRIP_STEP_MS;
        Some(Access {
            loss_percent: u8::try_from(loss).unwrap_or(100),
            round_trip_ms: u16::try_from(ms).unwrap_or(u16::MAX),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stun_url_names_a_server_and_a_relays_url_none() {
        let cases = [
            ("stun:192.0.2.1:443", Some("192.0.2.1:443")),
            ("stun:[2001:db8::1]:443", Some("[2001:db8::1]:443")),
            ("stun:example.org", Some("example.org:3478")),
            ("turn:192.0.2.1:443?transport=udp", None),
        ];
        for (url, expected) in cases {
            assert_eq!(stun_server(url).as_deref(), expected, "{url}");
        }
    }

    #[test]
    fn loss_and_median_are_of_the_newest_requests_and_told_after_the_first_answer() {
        let mut counted = Counted::default();
        for _ in 0..30 {
            counted.add(None);
            assert_eq!(counted.access(), None);
        }
        for _ in 0..FEWEST {
            counted.add(Some(Duration::from_millis(43)));
        }
        assert_eq!(counted.access(), Some(Access { loss_percent: 0, round_trip_ms: 40 }));
        for _ in 0..FEWEST {
            counted.add(None);
        }
        assert_eq!(counted.access(), Some(Access { loss_percent: 50, round_trip_ms: 40 }));
        for _ in 0..COUNTED {
            counted.add(None);
        }
        assert_eq!(counted.access().map(|access| access.loss_percent), Some(100));
    }

    #[tokio::test]
    async fn a_server_that_answers_is_measured() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut probe = Probe::of(server.local_addr().unwrap().to_string());
        let serve = async {
            let mut bytes = [0; 64];
            loop {
                let (length, from) = server.recv_from(&mut bytes).await.unwrap();
                assert_eq!((length, &bytes[..8]), (20, &REQUEST[..]));
                // Another's answer, then the right one.
                bytes[..2].copy_from_slice(&SUCCESS.to_be_bytes());
                bytes[19] ^= 1;
                server.send_to(&bytes[..20], from).await.unwrap();
                bytes[19] ^= 1;
                server.send_to(&bytes[..20], from).await.unwrap();
            }
        };
        let measured = async {
            while probe.access().is_none() {
                probe.access.changed().await.unwrap();
            }
        };
        tokio::select! {
            () = serve => {}
            () = measured => {}
            () = sleep(Duration::from_secs(30)) => panic!("nothing was measured"),
        }
        assert_eq!(probe.access().map(|access| access.loss_percent), Some(0));
    }
}
