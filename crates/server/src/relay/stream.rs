//! TURN on a TCP or TLS connection: packets are cut from the stream, and each side goes at its own pace.

use super::hub::{Hub, Stream};
use super::stun::{CHANNEL_HEADER, PACKET_MOST, Packet};
use crate::config::waits;
use crate::stalling::Stalling;
use bytes::{Buf, Bytes, BytesMut};
use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tracing::debug;

/// For the next packet of a client that has an allocation: then it is looked whether it still has one.
const IDLE: Duration = Duration::from_secs(60);
/// Packets written in one go.
const BATCH: usize = 32;

/// Serves one connection until it ends, by its own fault or because nothing is allocated for it for a while.
pub async fn serve<S: AsyncRead + AsyncWrite + Unpin>(hub: Arc<Hub>, stream: S, from: SocketAddr) {
    let from = SocketAddr::new(from.ip().to_canonical(), from.port());
    let (reader, writer) = tokio::io::split(Stalling::new(stream, waits::WRITE));
    let (place, queue) = hub.enter();
    let ended = tokio::select! {
        ended = read(&hub, &place, reader, from) => ended,
        ended = write(writer, queue) => ended,
    };
    if let Err(e) = ended {
        debug!(error = %e, "a relay connection ended");
    }
}

async fn read(hub: &Hub, place: &Stream, mut reader: impl AsyncRead + Unpin, from: SocketAddr) -> Result<()> {
    let mut buffer = BytesMut::with_capacity(PACKET_MOST);
    let mut out = Vec::with_capacity(PACKET_MOST);
    let mut begun = Instant::now();
    loop {
        while let Some((length, whole)) = first_packet(&buffer)? {
            if let Some(to) = hub.gate.packet(place.way, from, &buffer[..length], &mut out) {
                hub.deliver(to, &out);
            }
            buffer.advance(whole);
            begun = Instant::now();
        }
        let is_between = buffer.is_empty();
        let may_wait = is_between && hub.gate.has(place.way);
        buffer.reserve(PACKET_MOST);
        let limit = if may_wait { IDLE } else { waits::HEADER };
        match timeout_at(begun + limit, reader.read_buf(&mut buffer)).await {
            Ok(Ok(0)) => return Ok(()),
            Ok(Ok(_)) if is_between => begun = Instant::now(),
            Ok(Ok(_)) => {}
            Ok(Err(e)) => return Err(e),
            Err(_) if may_wait => begun = Instant::now(),
            Err(_) => return Err(Error::new(ErrorKind::TimedOut, "nothing came in time")),
        }
    }
}

/// The length of the packet at the front, and with its padding, once all of it is there.
fn first_packet(buffer: &[u8]) -> Result<Option<(usize, usize)>> {
    let Some(first) = buffer.first_chunk::<CHANNEL_HEADER>() else { return Ok(None) };
    let Some((length, padding)) = Packet::length_in_stream(*first) else {
        return Err(Error::new(ErrorKind::InvalidData, "this is no TURN"));
    };
    let whole = length + padding;
    Ok((buffer.len() >= whole).then_some((length, whole)))
}

async fn write(mut writer: impl AsyncWrite + Unpin, mut queue: mpsc::Receiver<Bytes>) -> Result<()> {
    let mut packets = Vec::with_capacity(BATCH);
    let mut all = BytesMut::new();
    while queue.recv_many(&mut packets, BATCH).await > 0 {
        packets.drain(..).for_each(|packet| all.extend_from_slice(&packet));
        writer.write_all(&all).await?;
        writer.flush().await?;
        all.clear();
    }
    Ok(())
}
