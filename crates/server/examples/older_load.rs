//! Load of older apps on a Socket.IO server of this machine, for `cargo xtask bench`: Engine.IO and Socket.IO frames as
//! text over WebSockets, with as little work of its own as can be, so that the server is what is measured.
//!
//! `older_load ADDRESS TOKENS` takes one person's token from each line of the file TOKENS, and orders, a line each, from
//! standard input:
//!
//! * `idle PEOPLE` connects that many and holds them.
//! * `pairs PAIRS` connects twice that many and puts them into rooms of two, where each sends the other an offer.
//! * `pace MESSAGES SECONDS`: all pairs together send that many candidates a second, evenly, for so long.
//! * `most MESSAGES`: each sends that many candidates as fast as they arrive.
//!
//! Each order is answered by a line of JSON, `{"relayed","seconds"}`. It ends with its input.

use anyhow::{Context, Result, bail, ensure};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::AsyncBufReadExt;
use tokio::net::TcpStream;
use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval_at, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest};

/// Connections that are being made at once.
const AT_ONCE: usize = 32;
/// Candidates of one sender that have not arrived yet.
const WINDOW: usize = 16;
const READ_BUFFER: usize = 4 * 1024;
const CAP: Duration = Duration::from_secs(120);

type Ws = WebSocketStream<TcpStream>;
type Out = Arc<Mutex<SplitSink<Ws, Message>>>;

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, tokens] = &arguments[..] else { bail!("older_load ADDRESS TOKENS") };
    let tokens: Arc<[String]> = std::fs::read_to_string(tokens)?.lines().map(str::to_owned).collect();
    let mut load = Load { address: address.as_str().into(), tokens, idle: Vec::new(), senders: Vec::new() };
    let mut orders = tokio::io::BufReader::new(tokio::io::stdin()).lines();
    while let Some(order) = orders.next_line().await? {
        let begun = Instant::now();
        let relayed = match order.split(' ').collect::<Vec<_>>()[..] {
            ["idle", people] => load.idle(people.parse()?).await?,
            ["pairs", pairs] => load.pairs(pairs.parse()?).await?,
            ["pace", messages, seconds] => load.pace(messages.parse()?, seconds.parse()?).await?,
            ["most", messages] => load.most(messages.parse()?).await?,
            _ => bail!("an unknown order: {order}"),
        };
        let mut out = std::io::stdout();
        writeln!(out, "{}", json!({ "relayed": relayed, "seconds": begun.elapsed().as_secs_f64() }))?;
        out.flush()?;
    }
    Ok(())
}

struct Load {
    address: Arc<str>,
    tokens: Arc<[String]>,
    idle: Vec<JoinSet<Result<()>>>,
    senders: Vec<Sender>,
}

/// One in a room of two.
#[derive(Clone)]
struct Sender {
    out: Out,
    room: String,
    partner: String,
    /// What came back of this one's window: given by the partner's reader.
    window: Arc<Semaphore>,
    arrived: Arc<AtomicU64>,
}

impl Load {
    async fn idle(&mut self, people: usize) -> Result<u64> {
        let mut held = JoinSet::new();
        let mut connecting = JoinSet::new();
        for n in 0..people {
            if connecting.len() >= AT_ONCE {
                hold(&mut connecting, &mut held).await?;
            }
            let (address, tokens) = (self.address.clone(), self.tokens.clone());
            connecting.spawn(async move { connect(&address, token(&tokens, n)?).await });
        }
        while !connecting.is_empty() {
            hold(&mut connecting, &mut held).await?;
        }
        self.idle.push(held);
        Ok(0)
    }

    async fn pairs(&mut self, pairs: usize) -> Result<u64> {
        for n in 0..pairs {
            let room = format!("load-{n}");
            let mut first = connect(&self.address, token(&self.tokens, 2 * n)?).await?;
            first.say(&json!(["webrtc:join-room", { "callRoomId": room }])).await?;
            first.event("webrtc:room-joined").await?;
            let mut second = connect(&self.address, token(&self.tokens, 2 * n + 1)?).await?;
            second.say(&json!(["webrtc:join-room", { "callRoomId": room }])).await?;
            let joined = first.event("webrtc:participant-joined").await?;
            let second_id = joined["participant"]["socketId"].as_str().context("no socketId")?.to_owned();
            let there = second.event("webrtc:room-joined").await?;
            let first_id = there["existingParticipants"][0]["socketId"].as_str().context("no socketId")?.to_owned();
            first.offer(&room, &second_id).await?;
            second.event("webrtc:offer").await?;
            second.offer(&room, &first_id).await?;
            first.event("webrtc:offer").await?;
            let windows = [Arc::new(Semaphore::new(WINDOW)), Arc::new(Semaphore::new(WINDOW))];
            let ends = [(first, second_id, 0, 1), (second, first_id, 1, 0)];
            for (peer, partner, mine, theirs) in ends {
                let arrived = Arc::new(AtomicU64::new(0));
                let out: Out = Arc::new(Mutex::new(peer.sink));
                tokio::spawn(read(peer.stream, out.clone(), windows[theirs].clone(), arrived.clone()));
                let window = windows[mine].clone();
                self.senders.push(Sender { out, room: room.clone(), partner, window, arrived });
            }
        }
        Ok(0)
    }

    async fn pace(&self, messages: f64, seconds: f64) -> Result<u64> {
        let senders = self.senders.len() as f64;
        let each = Duration::from_secs_f64(senders / messages);
        let count = (messages * seconds / senders).round() as u64;
        let begin = tokio::time::Instant::now();
        self.all(count, |n| {
            let mut ticks = interval_at(begin + each.mul_f64(n as f64 / senders), each);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
            Some(ticks)
        })
        .await
    }

    async fn most(&self, each: u64) -> Result<u64> {
        self.all(each, |_| None).await
    }

    /// Has every sender send `count` candidates, and waits until all have arrived.
    async fn all(&self, count: u64, pace: impl Fn(usize) -> Option<tokio::time::Interval>) -> Result<u64> {
        let before = self.arrived();
        let mut sending = JoinSet::new();
        for (n, sender) in self.senders.iter().enumerate() {
            let (sender, pace) = (sender.clone(), pace(n));
            sending.spawn(async move { sender.send(count, pace).await });
        }
        while let Some(sent) = sending.join_next().await {
            sent??;
        }
        let wanted = count * self.senders.len() as u64;
        let begun = Instant::now();
        while self.arrived() - before < wanted {
            ensure!(begun.elapsed() < CAP, "{} of {wanted} candidates arrived", self.arrived() - before);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(wanted)
    }

    fn arrived(&self) -> u64 {
        self.senders.iter().map(|sender| sender.arrived.load(Ordering::Relaxed)).sum()
    }
}

impl Sender {
    async fn send(&self, count: u64, mut pace: Option<tokio::time::Interval>) -> Result<()> {
        for n in 0..count {
            if let Some(pace) = &mut pace {
                pace.tick().await;
            }
            timeout(CAP, self.window.acquire()).await.context("nothing arrives")??.forget();
            let text = format!(
                "42[\"webrtc:ice-candidate\",{{\"callRoomId\":\"{}\",\"targetSocketId\":\"{}\",\"candidate\":{{\
                 \"candidate\":\"candidate:842163049 1 udp 1677729535 203.0.113.77 {} typ srflx raddr 192.168.1.100 \
                 rport 54321 generation 0 ufrag EEtu network-id 1 network-cost 10\",\"sdpMid\":\"0\",\
                 \"sdpMLineIndex\":0,\"usernameFragment\":\"EEtu\"}},\"sdpMid\":\"0\",\"sdpMLineIndex\":0}}]",
                self.room,
                self.partner,
                40_000 + n % 20_000,
            );
            self.out.lock().await.send(Message::text(text)).await?;
        }
        Ok(())
    }
}

fn token(tokens: &[String], n: usize) -> Result<&str> {
    tokens.get(n).map(String::as_str).context("there are too few tokens")
}

async fn hold(connecting: &mut JoinSet<Result<Peer>>, held: &mut JoinSet<Result<()>>) -> Result<()> {
    let mut peer = connecting.join_next().await.context("nobody connects")???;
    // Pings are answered as long as it runs.
    held.spawn(async move {
        loop {
            peer.next().await?;
        }
    });
    Ok(())
}

/// Counts candidates, gives the sender's window back, and answers pings.
async fn read(mut stream: SplitStream<Ws>, out: Out, window: Arc<Semaphore>, arrived: Arc<AtomicU64>) {
    while let Some(Ok(message)) = stream.next().await {
        let Message::Text(text) = message else { continue };
        if text.starts_with("42[\"webrtc:ice-candidate\"") {
            arrived.fetch_add(1, Ordering::Relaxed);
            window.add_permits(1);
        } else if text.as_str() == "2" {
            out.lock().await.send(Message::text("3")).await.ok();
        } else {
            // Whoever waits for what does not arrive says so.
            return eprintln!("unexpected: {text}");
        }
    }
}

/// One connected app.
struct Peer {
    sink: SplitSink<Ws, Message>,
    stream: SplitStream<Ws>,
}

async fn connect(address: &str, token: &str) -> Result<Peer> {
    let request = format!("ws://{address}/socket.io/?EIO=4&transport=websocket").into_client_request()?;
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER).write_buffer_size(0);
    let (ws, _) = tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await?;
    let (sink, stream) = ws.split();
    let mut peer = Peer { sink, stream };
    let open = peer.next().await?;
    ensure!(open.starts_with("0{"), "instead of an open packet: {open}");
    peer.sink.send(Message::text(format!("40{}", json!({ "token": token })))).await?;
    let connected = peer.next().await?;
    ensure!(connected.starts_with("40{"), "instead of a CONNECT packet: {connected}");
    Ok(peer)
}

impl Peer {
    async fn say(&mut self, event: &Value) -> Result<()> {
        Ok(self.sink.send(Message::text(format!("42{event}"))).await?)
    }

    async fn offer(&mut self, room: &str, target: &str) -> Result<()> {
        let offer = json!({ "type": "offer", "sdp": "v=0\r\n" });
        self.say(&json!(["webrtc:offer", { "callRoomId": room, "targetSocketId": target, "offer": offer }])).await
    }

    /// The first argument of the next event of this name; others before it are dropped.
    async fn event(&mut self, name: &str) -> Result<Value> {
        loop {
            let text = timeout(CAP, self.next()).await.with_context(|| format!("no {name}"))??;
            let Some(event) = text.strip_prefix("42") else { continue };
            let mut event: Value = serde_json::from_str(event)?;
            if event[0] == name {
                return Ok(event[1].take());
            }
        }
    }

    async fn next(&mut self) -> Result<String> {
        loop {
            let message = self.stream.next().await.context("the server closed the socket")??;
            let Message::Text(text) = message else { continue };
            if text.as_str() != "2" {
                return Ok(text.to_string());
            }
            self.sink.send(Message::text("3")).await?;
        }
    }
}
