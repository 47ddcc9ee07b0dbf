//! The native protocol alone, for programs of ours that take part in no call: the echo peer.
//!
//! A [`Wire`] keeps the socket up as a [`Client`](crate::Client) does, and hands its owner what comes.

use crate::link::{Identity, Link, LinkEvent, Patience};
use crate::{Stop, Url};
use bellwire_signaling::{ClientFrame, Command, CommandId, DeviceId, Event, Token, WireError};
use tokio::sync::mpsc;

/// What comes by a wire.
#[derive(Debug)]
pub enum WireEvent {
    /// Signed in, for the first time or again.
    Up,
    Event(Event),
    /// A command was refused.
    Refused(WireError),
    /// For good; nothing follows.
    Stopped(Stop),
}

pub struct Wire {
    link: Link,
    frames: Option<mpsc::Sender<ClientFrame>>,
}

impl Wire {
    /// To be called within a tokio runtime.
    pub fn start(server: Url, token: Token, device: DeviceId) -> Self {
        Self { link: Link::start(Identity { server, token, device }, Patience::default()), frames: None }
    }

    /// Safe to cancel.
    pub async fn next(&mut self) -> Option<WireEvent> {
        loop {
            match self.link.events.recv().await? {
                LinkEvent::Up { frames, .. } => {
                    self.frames = Some(frames);
                    return Some(WireEvent::Up);
                }
                LinkEvent::Event(event) => return Some(WireEvent::Event(event)),
                LinkEvent::Reply { result: Err(error), .. } => return Some(WireEvent::Refused(error)),
                LinkEvent::Reply { result: Ok(_), .. } | LinkEvent::Connecting => {}
                LinkEvent::Down { .. } => self.frames = None,
                LinkEvent::Stopped(stop) => return Some(WireEvent::Stopped(stop)),
            }
        }
    }

    /// Lost while the socket is down, or takes nothing more.
    pub fn send(&self, command: Command) {
        let frame = ClientFrame::Command { id: CommandId::from_bits(rand::random()), command };
        let sent = self.frames.as_ref().is_some_and(|frames| frames.try_send(frame).is_ok());
        if !sent {
            tracing::debug!("a command found no socket");
        }
    }
}
