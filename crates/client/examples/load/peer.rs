//! One signed-in device.

use crate::CAP;
use anyhow::{Context, Result, bail};
use bellwire_signaling::{ClientFrame, Command, CommandId, DeviceId, ServerFrame, Token, WireError};
use futures_util::{SinkExt, StreamExt};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest, http::HeaderValue};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

pub struct Peer {
    pub socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    commands: u32,
    pub acked: u32,
}

pub enum Attempt {
    In(Box<Peer>),
    Later(Duration),
}

impl Peer {
    /// Signs in, and comes again when told to.
    pub async fn sign_in(address: &str, token: &str) -> Result<Self> {
        loop {
            match Self::attempt(address, token).await? {
                Attempt::In(peer) => return Ok(*peer),
                Attempt::Later(wait) => tokio::time::sleep(wait).await,
            }
        }
    }

    pub async fn attempt(address: &str, token: &str) -> Result<Attempt> {
        let mut request = format!("ws://{address}/v1/socket").into_client_request()?;
        request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static("bellwire.v1"));
        let (socket, _) = tokio_tungstenite::connect_async(request).await?;
        let mut peer = Self { socket, commands: 0, acked: 0 };
        let device = DeviceId::new("load")?;
        peer.send(&ClientFrame::Hello { version: 1, token: Token::new(token)?, device, resume: None }).await?;
        match peer.next().await? {
            ServerFrame::Welcome { .. } => Ok(Attempt::In(Box::new(peer))),
            ServerFrame::Refused { error: WireError { retry_after_ms: Some(wait), .. }, .. } => {
                Ok(Attempt::Later(Duration::from_millis(wait)))
            }
            other => bail!("instead of a welcome: {other:?}"),
        }
    }

    pub async fn send(&mut self, frame: &ClientFrame) -> Result<()> {
        Ok(self.socket.send(Message::text(serde_json::to_string(frame)?)).await?)
    }

    pub async fn command(&mut self, command: Command) -> Result<()> {
        self.commands += 1;
        let id = CommandId::new(format!("c{}", self.commands))?;
        self.send(&ClientFrame::Command { id, command }).await
    }

    pub async fn next(&mut self) -> Result<ServerFrame> {
        loop {
            let message = tokio::time::timeout(CAP, self.socket.next()).await.context("the server is silent")?;
            if let Message::Text(text) = message.context("the server closed the socket")?? {
                return Ok(serde_json::from_str(&text)?);
            }
        }
    }
}
