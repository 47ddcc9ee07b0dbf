//! Load on a server of this machine, for `cargo xtask bench`; it speaks the protocol and nothing else of ours.
//!
//! `load idle ADDRESS OPERATOR-KEY PEOPLE` says `booked`, waits for a line, signs that many people in and holds them. `load relay ADDRESS OPERATOR-KEY
//! CALLS MESSAGES` brings up calls to the point where candidates may travel, then has both sides of each send that many
//! messages. Either makes its bookings itself, says `ready` and waits for a line on standard input; `relay` then prints
//! `{"relayed","seconds"}`. It ends with its input.

use anyhow::{Context, Result, bail, ensure};
use bellwire_signaling::{
    AttemptId, BookingId, CallId, Candidate, CandidateLine, ClientFrame, Command, CommandId, DescriptionKind, DeviceId,
    Event, Phase, Presence, Sdp, ServerFrame, Side, Token,
};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest, http::HeaderValue};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// Requests, and sign-ins, that are under way at once.
const AT_ONCE: usize = 32;
/// Commands that wait for their acks, as in an app that does not wait for each.
const WINDOW: u32 = 16;
const CAP: Duration = Duration::from_secs(120);

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["idle", address, key, people] => idle(address, key, people.parse()?).await,
        ["relay", address, key, calls, messages] => relay(address, key, calls.parse()?, messages.parse()?).await,
        _ => bail!("idle ADDRESS OPERATOR-KEY PEOPLE, or relay ADDRESS OPERATOR-KEY CALLS MESSAGES"),
    }
}

async fn idle(address: &str, key: &str, people: usize) -> Result<()> {
    let pairs = pairs(address, key, people.div_ceil(2)).await?;
    say("booked")?;
    next_line().await?;
    let tokens = pairs.into_iter().flat_map(|pair| [pair.client, pair.provider]).take(people);
    let mut held = JoinSet::new();
    let mut signing_in = JoinSet::new();
    for token in tokens {
        if signing_in.len() >= AT_ONCE {
            hold(&mut signing_in, &mut held).await?;
        }
        let address = address.to_owned();
        signing_in.spawn(async move { Peer::sign_in(&address, &token).await });
    }
    while !signing_in.is_empty() {
        hold(&mut signing_in, &mut held).await?;
    }
    say("ready")?;
    // What the server sends (presence, pings) is read until there is no more input.
    next_line().await?;
    Ok(())
}

async fn hold(signing_in: &mut JoinSet<Result<Peer>>, held: &mut JoinSet<()>) -> Result<()> {
    let mut peer = signing_in.join_next().await.context("nobody signs in")???;
    held.spawn(async move { while matches!(peer.socket.next().await, Some(Ok(_))) {} });
    Ok(())
}

async fn relay(address: &str, key: &str, calls: usize, messages: u32) -> Result<()> {
    let (up, mut came_up) = mpsc::channel(2 * calls);
    let (begin, begun) = watch::channel(false);
    let mut sides = JoinSet::new();
    for pair in pairs(address, key, calls).await? {
        for (token, calls_first) in [(pair.client, true), (pair.provider, false)] {
            let (address, booking, up, begun) = (address.to_owned(), pair.booking.clone(), up.clone(), begun.clone());
            sides.spawn(async move {
                let peer = Peer::sign_in(&address, &token).await?;
                peer.talk(booking, calls_first, up, begun, messages).await
            });
        }
    }
    for n in 0..2 * calls {
        tokio::select! {
            up = tokio::time::timeout(CAP, came_up.recv()) => { up.with_context(|| format!("only {n} sides came up"))?; }
            Some(ended) = sides.join_next() => { ended??; bail!("a side ended before it began"); }
        }
    }
    say("ready")?;
    next_line().await?;
    let started = Instant::now();
    begin.send(true)?;
    let mut relayed = 0;
    while let Some(side) = sides.join_next().await {
        relayed += side??;
    }
    say(&json!({ "relayed": relayed, "seconds": started.elapsed().as_secs_f64() }).to_string())?;
    next_line().await?;
    Ok(())
}

fn say(line: &str) -> Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

async fn next_line() -> Result<Option<String>> {
    Ok(tokio::io::BufReader::new(tokio::io::stdin()).lines().next_line().await?)
}

/// One signed-in device.
struct Peer {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    commands: u32,
    acked: u32,
}

impl Peer {
    async fn sign_in(address: &str, token: &str) -> Result<Self> {
        let mut request = format!("ws://{address}/v1/socket").into_client_request()?;
        request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static("bellwire.v1"));
        let (socket, _) = tokio_tungstenite::connect_async(request).await?;
        let mut peer = Self { socket, commands: 0, acked: 0 };
        let device = DeviceId::new("load")?;
        peer.send(&ClientFrame::Hello { version: 1, token: Token::new(token)?, device, resume: None }).await?;
        match peer.next().await? {
            ServerFrame::Welcome { .. } => Ok(peer),
            other => bail!("instead of a welcome: {other:?}"),
        }
    }

    async fn send(&mut self, frame: &ClientFrame) -> Result<()> {
        Ok(self.socket.send(Message::text(serde_json::to_string(frame)?)).await?)
    }

    async fn command(&mut self, command: Command) -> Result<()> {
        self.commands += 1;
        let id = CommandId::new(format!("c{}", self.commands))?;
        self.send(&ClientFrame::Command { id, command }).await
    }

    async fn next(&mut self) -> Result<ServerFrame> {
        loop {
            let message = tokio::time::timeout(CAP, self.socket.next()).await.context("the server is silent")?;
            if let Message::Text(text) = message.context("the server closed the socket")?? {
                return Ok(serde_json::from_str(&text)?);
            }
        }
    }

    /// Brings a call up, says so, waits for the word, and sends and receives its messages: how many it received.
    async fn talk(
        mut self,
        booking: BookingId,
        calls_first: bool,
        up: mpsc::Sender<()>,
        mut begin: watch::Receiver<bool>,
        messages: u32,
    ) -> Result<u32> {
        let call = self.bring_up(&booking, calls_first).await?;
        up.send(()).await?;
        begin.wait_for(|begun| *begun).await?;
        let (mut sent, mut received, before) = (0, 0, self.acked);
        while received < messages || self.acked - before < messages {
            while sent < messages && sent - (self.acked - before) < WINDOW {
                self.command(candidate(&call, sent)?).await?;
                sent += 1;
            }
            match self.next().await? {
                ServerFrame::Ack { .. } => self.acked += 1,
                ServerFrame::Event { event: Event::Candidates { .. }, .. } => received += 1,
                ServerFrame::Event { event: Event::Call { view }, .. } => {
                    ensure!(!matches!(view.phase, Phase::Ended { .. }), "the call ended under way");
                }
                ServerFrame::Event { .. } => {}
                other => bail!("while messages travelled: {other:?}"),
            }
        }
        Ok(received)
    }

    /// As far as the descriptions: from here on candidates may travel.
    async fn bring_up(&mut self, booking: &BookingId, calls_first: bool) -> Result<CallId> {
        let (mut dialled, mut said_ready, mut offered) = (false, false, false);
        loop {
            let event = match self.next().await? {
                ServerFrame::Event { event, .. } => event,
                ServerFrame::Ack { .. } => {
                    self.acked += 1;
                    continue;
                }
                other => bail!("while the call came up: {other:?}"),
            };
            match event {
                Event::Bookings { bookings } => {
                    let there = bookings.iter().any(|b| b.booking == *booking && b.presence == Presence::Online {});
                    if calls_first && there && !dialled {
                        dialled = true;
                        self.invite(booking).await?;
                    }
                }
                Event::Presence { presence: Presence::Online {}, .. } if calls_first && !dialled => {
                    dialled = true;
                    self.invite(booking).await?;
                }
                Event::Presence { .. } | Event::Candidates { .. } => {}
                Event::Room { .. }
                | Event::RoomOver { .. }
                | Event::DescriptionFrom { .. }
                | Event::CandidatesFrom { .. }
                | Event::Search { .. }
                | Event::Readiness { .. }
                | Event::Health { .. }
                | Event::CheckAnswer { .. }
                | Event::CheckOffered { .. }
                | Event::CheckOver { .. } => bail!("a room in a run of calls"),
                Event::Call { view } => {
                    let (call, callee) = (view.call, view.you == Side::Callee);
                    match view.phase {
                        Phase::Inviting { .. } if callee => self.command(Command::Ringing { call }).await?,
                        Phase::Ringing { .. } if callee => self.command(Command::Accept { call }).await?,
                        Phase::Inviting { .. } | Phase::Ringing { .. } => {}
                        Phase::Connecting { connection } => {
                            let generation = connection.generation;
                            if !said_ready {
                                said_ready = true;
                                self.command(Command::Ready { call: call.clone(), generation }).await?;
                            }
                            if connection.go && connection.offers && !offered {
                                offered = true;
                                self.command(description(call, generation, DescriptionKind::Offer)?).await?;
                            }
                        }
                        Phase::Connected { .. }
                        | Phase::Reconnecting { .. }
                        | Phase::Elsewhere {}
                        | Phase::Ended { .. } => bail!("the call went astray: {:?}", view.phase),
                    }
                }
                Event::Description { call, generation, kind: DescriptionKind::Offer, .. } => {
                    self.command(description(call.clone(), generation, DescriptionKind::Answer)?).await?;
                    return Ok(call);
                }
                Event::Description { call, kind: DescriptionKind::Answer, .. } => return Ok(call),
            }
        }
    }

    async fn invite(&mut self, booking: &BookingId) -> Result<()> {
        self.command(Command::Invite { booking: booking.clone(), attempt: AttemptId::new("load")? }).await
    }
}

fn description(call: CallId, generation: u32, kind: DescriptionKind) -> Result<Command> {
    let fingerprint = vec!["AB"; 32].join(":");
    let sdp = Sdp::new(format!(
        "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=fingerprint:sha-256 {fingerprint}\r\na=setup:actpass\r\n\
         m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=rtpmap:111 opus/48000/2\r\n"
    ))?;
    Ok(Command::Describe { call, generation, kind, sdp })
}

fn candidate(call: &CallId, n: u32) -> Result<Command> {
    let line = format!("candidate:{n} 1 udp 2130706431 192.0.2.7 {} typ host", 40_000 + n);
    let candidate =
        Candidate { candidate: CandidateLine::new(line)?, sdp_mid: Some("0".to_owned()), sdp_m_line_index: 0 };
    Ok(Command::Candidates { call: call.clone(), generation: 1, candidates: vec![candidate], done: false })
}

/// Two people and their booking.
struct Pair {
    booking: BookingId,
    client: String,
    provider: String,
}

/// Makes bookings that are open now, and the tokens of their people.
async fn pairs(address: &str, key: &str, count: usize) -> Result<Vec<Pair>> {
    let (address, key) = (Arc::<str>::from(address), Arc::<str>::from(key));
    let starts_at = time::OffsetDateTime::from(SystemTime::now())
        .replace_nanosecond(0)?
        .format(&time::format_description::well_known::Rfc3339)?;
    let mut making = JoinSet::new();
    let mut made = Vec::with_capacity(count);
    for n in 0..count {
        if making.len() >= AT_ONCE {
            made.push(making.join_next().await.context("no booking")???);
        }
        let (address, key, starts_at) = (address.clone(), key.clone(), starts_at.clone());
        making.spawn(async move { pair(&address, &key, &starts_at, n).await });
    }
    while let Some(pair) = making.join_next().await {
        made.push(pair??);
    }
    Ok(made)
}

async fn pair(address: &str, key: &str, starts_at: &str, n: usize) -> Result<Pair> {
    let person = |role: &str| json!({ "id": format!("{role}-{n}"), "name": format!("{role} {n}") });
    let new = json!({
        "client": person("client"), "provider": person("provider"), "starts_at": starts_at, "length_minutes": 60,
        "topic": "load"
    });
    let booking = post(address, key, "/v1/bookings", &new).await?;
    let id = booking["id"].as_str().context("a booking without an id")?;
    let links = post(address, key, &format!("/v1/bookings/{id}/links"), &json!({})).await?;
    let token = |role: &str| -> Result<String> {
        let link = url::Url::parse(links[role]["link"].as_str().context("no link")?)?;
        let token = link.query_pairs().find(|(name, _)| name == "token").context("a link without a token")?;
        Ok(token.1.into_owned())
    };
    Ok(Pair { booking: BookingId::new(id)?, client: token("client")?, provider: token("provider")? })
}

/// One request on a connection of its own (RFC 9112): enough for a server that is ours and near.
async fn post(address: &str, key: &str, path: &str, body: &Value) -> Result<Value> {
    let body = body.to_string();
    let mut stream = TcpStream::connect(address).await?;
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nX-Operator-Key: {key}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").context("an answer without a head")?;
    ensure!(head.starts_with("HTTP/1.1 20"), "POST {path}: {}", head.lines().next().unwrap_or_default());
    Ok(serde_json::from_str(body)?)
}
