//! A load for a TURN server: pairs of allocations that send sound-like packets to each other, and the delay that the relay adds.
//!
//! `turn_load HOST:PORT FILE`, the file holding the secret that credentials are made with; orders on standard input, each answered by one line of JSON:
//! * `pairs N`: makes N pairs of two people, each with a channel to the other's allocation;
//! * `run A_SECOND SECONDS`: each allocation sends so many packets a second, 160 bytes each, and as many go from socket to
//!   socket without a relay at the same time; answered by what arrived and how long it took, in microseconds.
//!
//! Sender and receiver are this process, so one clock measures both ends.

use anyhow::{Context, Result, bail, ensure};
use bellwire_server::config::Secret;
use bellwire_server::relay::credentials::Secrets;
use serde_json::json;
use std::io::BufRead;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use stun::agent::TransactionId;
use stun::attributes::{ATTR_NONCE, ATTR_REALM, ATTR_USERNAME};
use stun::integrity::MessageIntegrity;
use stun::message::{
    CLASS_REQUEST, CLASS_SUCCESS_RESPONSE, METHOD_ALLOCATE, METHOD_CHANNEL_BIND, Message, MessageType, Method, Setter,
};
use stun::textattrs::TextAttribute;
use tokio::net::UdpSocket;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use turn::proto::PROTO_UDP;
use turn::proto::channum::ChannelNumber;
use turn::proto::peeraddr::PeerAddress;
use turn::proto::relayaddr::RelayedAddress;
use turn::proto::reqtrans::RequestedTransport;

/// The first channel number that may be bound (RFC 8656, section 12).
const CHANNEL: u16 = 0x4000;
const HEADER: usize = 4;
const PAYLOAD: usize = 160;
const ANSWER: Duration = Duration::from_secs(5);
/// For what is under way when the last packet was sent.
const LAST: Duration = Duration::from_millis(500);

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [server, file] = arguments.as_slice() else { bail!("wants HOST:PORT and the secret's FILE") };
    let server: SocketAddr = server.parse().context("the server's address")?;
    let secret = std::fs::read_to_string(file).context("the secret's file")?;
    let secrets = Secrets::new(Secret::from(secret.trim().to_owned()), None);
    let mut pairs = Vec::new();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["pairs", count] => {
                for number in 0..count.parse::<usize>()? {
                    pairs.push(Pair::make(server, &secrets, number).await?);
                }
                println!("{}", json!({ "pairs": pairs.len() }));
            }
            ["run", rate, seconds] => println!("{}", run(&pairs, rate.parse()?, seconds.parse()?).await?),
            _ => bail!("no such order: {line}"),
        }
    }
    Ok(())
}

/// Two allocations that send to each other, and two sockets that do without.
struct Pair {
    relayed: [Arc<UdpSocket>; 2],
    direct: [Arc<UdpSocket>; 2],
}

impl Pair {
    async fn make(server: SocketAddr, secrets: &Secrets, number: usize) -> Result<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let mut first = Allocation::make(server, secrets.issue(&format!("first {number}"), now)).await?;
        let mut second = Allocation::make(server, secrets.issue(&format!("second {number}"), now)).await?;
        first.bind(second.relayed).await?;
        second.bind(first.relayed).await?;
        let direct = [UdpSocket::bind("127.0.0.1:0").await?, UdpSocket::bind("127.0.0.1:0").await?];
        direct[0].connect(direct[1].local_addr()?).await?;
        direct[1].connect(direct[0].local_addr()?).await?;
        Ok(Self { relayed: [first.socket, second.socket].map(Arc::new), direct: direct.map(Arc::new) })
    }
}

struct Allocation {
    socket: UdpSocket,
    relayed: SocketAddr,
    username: String,
    realm: String,
    nonce: String,
    credential: String,
}

impl Allocation {
    async fn make(server: SocketAddr, (username, credential): (String, String)) -> Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        socket.connect(server).await?;
        let transport = || RequestedTransport { protocol: PROTO_UDP };
        let refused = ask(&socket, METHOD_ALLOCATE, vec![Box::new(transport())]).await?;
        let text = |attribute| TextAttribute::get_from_as(&refused, attribute).map(|found| found.text);
        let mut allocation = Self {
            socket,
            relayed: server,
            username,
            realm: text(ATTR_REALM).context("the first answer names no realm")?,
            nonce: text(ATTR_NONCE).context("the first answer holds no nonce")?,
            credential,
        };
        let answer = allocation.ask(METHOD_ALLOCATE, vec![Box::new(transport())]).await?;
        let mut relayed = RelayedAddress::default();
        stun::message::Getter::get_from(&mut relayed, &answer)?;
        allocation.relayed = SocketAddr::new(relayed.ip, relayed.port);
        Ok(allocation)
    }

    async fn bind(&mut self, peer: SocketAddr) -> Result<()> {
        let peer = PeerAddress { ip: peer.ip(), port: peer.port() };
        self.ask(METHOD_CHANNEL_BIND, vec![Box::new(ChannelNumber(CHANNEL)), Box::new(peer)]).await.map(drop)
    }

    /// Asks with credentials; anything but success is an error.
    async fn ask(&self, method: Method, mut attributes: Vec<Box<dyn Setter>>) -> Result<Message> {
        let text = |attribute, text: &str| Box::new(TextAttribute::new(attribute, text.to_owned()));
        attributes.push(text(ATTR_USERNAME, &self.username));
        attributes.push(text(ATTR_REALM, &self.realm));
        attributes.push(text(ATTR_NONCE, &self.nonce));
        let key = (self.username.clone(), self.realm.clone(), self.credential.clone());
        attributes.push(Box::new(MessageIntegrity::new_long_term_integrity(key.0, key.1, key.2)));
        let answer = ask(&self.socket, method, attributes).await?;
        ensure!(answer.typ.class == CLASS_SUCCESS_RESPONSE, "the server refused {method}: {answer}");
        Ok(answer)
    }
}

async fn ask(socket: &UdpSocket, method: Method, attributes: Vec<Box<dyn Setter>>) -> Result<Message> {
    let mut request = Message::new();
    let mut setters: Vec<Box<dyn Setter>> =
        vec![Box::new(TransactionId::new()), Box::new(MessageType::new(method, CLASS_REQUEST))];
    setters.extend(attributes);
    request.build(&setters)?;
    socket.send(&request.raw).await?;
    let mut buffer = [0; 1500];
    let read = timeout(ANSWER, socket.recv(&mut buffer)).await.context("the server does not answer")??;
    let mut answer = Message::new();
    answer.write(&buffer[..read])?;
    Ok(answer)
}

#[derive(Default)]
struct Arrived(Mutex<Vec<u32>>);

async fn run(pairs: &[Pair], rate: u32, seconds: u32) -> Result<serde_json::Value> {
    let start = Instant::now();
    let (relayed, direct) = (Arc::new(Arrived::default()), Arc::new(Arrived::default()));
    let mut readers = tokio::task::JoinSet::new();
    let (mut relays, mut wires) = (Vec::new(), Vec::new());
    for pair in pairs {
        for socket in &pair.relayed {
            readers.spawn(read(socket.clone(), HEADER, start, relayed.clone()));
            relays.push(socket.clone());
        }
        for socket in &pair.direct {
            readers.spawn(read(socket.clone(), 0, start, direct.clone()));
            wires.push(socket.clone());
        }
    }
    // One after the other, as calls that have nothing to do with each other send: in bursts they would wait for themselves.
    let total = u64::from(rate) * u64::from(seconds) * relays.len() as u64;
    let mut tick = interval(Duration::from_millis(1));
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (mut sent, mut next) = (0, 0);
    while sent < total {
        tick.tick().await;
        let due = (start.elapsed().as_secs_f64() * f64::from(rate) * relays.len() as f64) as u64;
        while sent < due.min(total) {
            let now = u32::try_from(start.elapsed().as_micros())?;
            relays[next].send(&packet(HEADER, now)).await?;
            wires[next].send(&packet(0, u32::try_from(start.elapsed().as_micros())?)).await?;
            next = (next + 1) % relays.len();
            sent += 1;
        }
    }
    sleep(LAST).await;
    readers.abort_all();
    let (relayed, direct) = (relayed.figures(), direct.figures());
    Ok(json!({
        "sent": sent, "seconds": start.elapsed().as_secs_f64(), "relayed": relayed, "direct": direct,
    }))
}

fn packet(header: usize, now: u32) -> Vec<u8> {
    let mut packet = vec![0; header + PAYLOAD];
    if header == HEADER {
        packet[..2].copy_from_slice(&CHANNEL.to_be_bytes());
        packet[2..4].copy_from_slice(&(PAYLOAD as u16).to_be_bytes());
    }
    packet[header..header + 4].copy_from_slice(&now.to_be_bytes());
    packet
}

async fn read(socket: Arc<UdpSocket>, header: usize, start: Instant, arrived: Arc<Arrived>) {
    let mut buffer = [0; 1500];
    while let Ok(read) = socket.recv(&mut buffer).await {
        let Some(stamp) = buffer[..read].get(header..header + 4) else { continue };
        let now = u32::try_from(start.elapsed().as_micros()).unwrap_or(u32::MAX);
        let sent = u32::from_be_bytes([stamp[0], stamp[1], stamp[2], stamp[3]]);
        arrived.0.lock().unwrap_or_else(PoisonError::into_inner).push(now.saturating_sub(sent));
    }
}

impl Arrived {
    fn figures(&self) -> serde_json::Value {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.sort_unstable();
        let at = |share: f64| all.get((all.len().saturating_sub(1) as f64 * share) as usize).copied();
        json!({ "packets": all.len(), "median_us": at(0.5), "p99_us": at(0.99) })
    }
}
