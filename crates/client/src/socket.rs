//! One WebSocket that speaks the native protocol: made, written to and read from, each within a time.

use crate::LinkFault;
use crate::fault::{self, Lost};
use crate::join::socket_url;
use bellwire_signaling::{ClientFrame, SUBPROTOCOL, ServerFrame, limits};
use futures_util::{SinkExt, StreamExt};
use std::sync::Once;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::SEC_WEBSOCKET_PROTOCOL;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};
use url::Url;

pub(crate) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

pub(crate) async fn connect(server: &Url, within: Duration) -> Result<Socket, Lost> {
    install_cryptography();
    let url = socket_url(server).ok_or(LinkFault::BadAddress)?;
    let mut request = url.as_str().into_client_request().map_err(fault::while_connecting)?;
    request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    let config = WebSocketConfig::default().max_message_size(Some(limits::FRAME)).max_frame_size(Some(limits::FRAME));
    match timeout(within, connect_async_with_config(request, Some(config), true)).await {
        Ok(Ok((socket, _))) => Ok(socket),
        Ok(Err(error)) => Err(fault::while_connecting(error)),
        Err(_) => Err(LinkFault::Unreachable.into()),
    }
}

/// rustls asks for one choice a process; another library may have made it already.
fn install_cryptography() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
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
