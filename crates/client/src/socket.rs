//! One WebSocket that speaks the native protocol: made, written to and read from, each within a time.
//!
//! TCP is connected here, to each address of the server a quarter of a second after the one before, families in turn
//! (RFC 8305): an IPv6 that leads nowhere costs that much and no more.

use crate::LinkFault;
use crate::fault::{self, Lost};
use crate::join::socket_url;
use bellwire_signaling::{ClientFrame, SUBPROTOCOL, ServerFrame, limits};
use futures_util::stream::FuturesUnordered;
use futures_util::{SinkExt, StreamExt};
use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::Duration;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::SEC_WEBSOCKET_PROTOCOL;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, client_async_tls_with_config};
use url::{Host, Url};

pub(crate) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Between the beginnings of attempts at one address and at the next (RFC 8305, section 5).
const NEXT_ADDRESS: Duration = Duration::from_millis(250);
/// Names that take longer are looked for where they were found last.
const NAME_LOOKED_UP: Duration = Duration::from_secs(1);

/// Where sockets are made to. Clones share what they learn.
#[derive(Clone)]
pub(crate) struct Server {
    url: Url,
    host: Host<String>,
    port: u16,
    /// Where the name led when it was last asked for.
    found: Arc<Mutex<Vec<SocketAddr>>>,
}

impl Server {
    /// None if this is no address of a server.
    pub(crate) fn at(server: &Url) -> Option<Self> {
        let url = socket_url(server)?;
        let host = url.host()?.to_owned();
        let port = url.port_or_known_default()?;
        Some(Self { url, host, port, found: Arc::default() })
    }

    /// A TCP connection, to whichever of its addresses takes one first. Takes as long as the system lets it.
    pub(crate) async fn tcp(&self) -> Result<TcpStream, Lost> {
        let mut addresses = in_turn(self.addresses().await?);
        let mut attempts = FuturesUnordered::new();
        loop {
            match addresses.pop_front() {
                Some(address) => attempts.push(TcpStream::connect(address)),
                None if attempts.is_empty() => return Err(LinkFault::Unreachable.into()),
                None => {}
            }
            let next = async {
                match addresses.is_empty() {
                    true => std::future::pending().await,
                    false => sleep(NEXT_ADDRESS).await,
                }
            };
            tokio::select! {
                Some(connected) = attempts.next() => match connected {
                    Ok(stream) => {
                        stream.set_nodelay(true).ok();
                        return Ok(stream);
                    }
                    Err(error) => tracing::debug!(kind = ?error.kind(), "no connection"),
                },
                () = next => {}
            }
        }
    }

    /// TLS where the address wants it, then the WebSocket.
    pub(crate) async fn upgrade(&self, stream: TcpStream) -> Result<Socket, Lost> {
        install_cryptography();
        let mut request = self.url.as_str().into_client_request().map_err(fault::while_connecting)?;
        request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
        let config =
            WebSocketConfig::default().max_message_size(Some(limits::FRAME)).max_frame_size(Some(limits::FRAME));
        let upgraded = client_async_tls_with_config(request, stream, Some(config), None).await;
        upgraded.map(|(socket, _)| socket).map_err(fault::while_connecting)
    }

    async fn addresses(&self) -> Result<Vec<SocketAddr>, Lost> {
        let name = match &self.host {
            Host::Ipv4(address) => return Ok(vec![SocketAddr::new(IpAddr::V4(*address), self.port)]),
            Host::Ipv6(address) => return Ok(vec![SocketAddr::new(IpAddr::V6(*address), self.port)]),
            Host::Domain(name) => name,
        };
        let looked_up =
            async { Ok::<_, io::Error>(lookup_host((name.as_str(), self.port)).await?.collect::<Vec<_>>()) };
        let mut looked_up = std::pin::pin!(looked_up);
        let found = match timeout(NAME_LOOKED_UP, &mut looked_up).await {
            Ok(found) => found,
            Err(_) => match self.found() {
                known if known.is_empty() => looked_up.await,
                known => return Ok(known),
            },
        };
        match found {
            Ok(found) if !found.is_empty() => {
                self.found.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&found);
                Ok(found)
            }
            Ok(_) | Err(_) => Some(self.found()).filter(|known| !known.is_empty()).ok_or(LinkFault::Unreachable.into()),
        }
    }

    fn found(&self) -> Vec<SocketAddr> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// One of each family in turn, the family that the system prefers first, each otherwise in the system's order.
fn in_turn(addresses: Vec<SocketAddr>) -> VecDeque<SocketAddr> {
    let prefers_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (preferred, other): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|a| a.is_ipv6() == prefers_v6);
    let longest = preferred.len().max(other.len());
    (0..longest).flat_map(|n| [preferred.get(n), other.get(n)]).flatten().copied().collect()
}

/// rustls asks for one choice a process; another library may have made it already.
fn install_cryptography() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

fn tcp_of(socket: &Socket) -> Option<&TcpStream> {
    match socket.get_ref() {
        MaybeTlsStream::Plain(stream) => Some(stream),
        MaybeTlsStream::Rustls(stream) => Some(stream.get_ref().0),
        _ => None,
    }
}

pub(crate) fn server_address(socket: &Socket) -> Option<SocketAddr> {
    tcp_of(socket)?.peer_addr().ok()
}

/// Drops the socket so that nothing of what it was given is delivered later: a hello that arrives after that of the next
/// socket would take the session from it.
pub(crate) fn abandon(socket: Socket) {
    if let Some(stream) = tcp_of(&socket) {
        stream.set_zero_linger().ok();
    }
}

/// Whether it was taken in that time.
pub(crate) async fn ping(socket: &mut Socket, within: Duration) -> bool {
    matches!(timeout(within, socket.send(Message::Ping(Default::default()))).await, Ok(Ok(())))
}

pub(crate) async fn send(socket: &mut Socket, frame: &ClientFrame, within: Duration) -> Result<(), Lost> {
    let text = match serde_json::to_string(frame) {
        Ok(text) if text.len() <= limits::FRAME => Utf8Bytes::from(text),
        Ok(_) | Err(_) => {
            tracing::warn!("a frame was too large to be sent");
            return Ok(());
        }
    };
    match timeout(within, socket.send(Message::Text(text))).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => {
            tracing::debug!(%error, "sending failed");
            Err(LinkFault::Closed.into())
        }
        Err(_) => Err(LinkFault::Silent.into()),
    }
}

pub(crate) type Heard =
    Result<Option<Result<Message, tokio_tungstenite::tungstenite::Error>>, tokio::time::error::Elapsed>;

pub(crate) fn message(heard: Heard) -> Result<Message, Lost> {
    match heard {
        Ok(Some(Ok(message))) => Ok(message),
        Ok(Some(Err(error))) => {
            tracing::debug!(%error, "receiving failed");
            Err(LinkFault::Closed.into())
        }
        Ok(None) => Err(LinkFault::Closed.into()),
        Err(_) => Err(LinkFault::Silent.into()),
    }
}

/// The next frame that is one.
pub(crate) async fn receive(socket: &mut Socket, deadline: Instant) -> Result<ServerFrame, Lost> {
    loop {
        if let Message::Text(text) = message(timeout_at(deadline, socket.next()).await)?
            && let Some(frame) = parse(&text)
        {
            return Ok(frame);
        }
    }
}

pub(crate) fn parse(text: &str) -> Option<ServerFrame> {
    match serde_json::from_str(text) {
        Ok(frame) => Some(frame),
        Err(error) => {
            tracing::warn!(line = error.line(), column = error.column(), "a frame of the server is none; passed over");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[test]
    fn families_are_tried_in_turn_beginning_with_the_systems_first() {
        let check = |given: &[&str], expected: &[&str]| {
            let parse = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<SocketAddr>>();
            assert_eq!(in_turn(parse(given)), parse(expected));
        };
        let (a6, b6, c6) = ("[2001:db8::1]:1", "[2001:db8::2]:1", "[2001:db8::3]:1");
        let (a4, b4) = ("192.0.2.1:1", "192.0.2.2:1");
        check(&[a6, b6, c6, a4, b4], &[a6, a4, b6, b4, c6]);
        check(&[a4, a6, b6], &[a4, a6, b6]);
        check(&[a4, b4], &[a4, b4]);
        check(&[], &[]);
    }

    #[tokio::test]
    async fn an_address_that_leads_nowhere_is_passed_over() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = listener.local_addr().unwrap();
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let server = Server::at(&Url::parse("ws://no-such-name.invalid:1").unwrap()).unwrap();
        assert_eq!(server.tcp().await.unwrap_err().why, LinkFault::Unreachable);
        // The name is known from before, and is not found now.
        *server.found.lock().unwrap() = vec!["[100::1]:9".parse().unwrap(), closed, here];
        let stream = server.tcp().await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), here);
    }
}
