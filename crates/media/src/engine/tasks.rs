//! What runs beside the engine's loop, or in place of it.

use crate::audio::{ConnectionId, Sent};
use crate::peer::Outgoing;
use crate::{Command, Event};
use std::collections::BTreeMap;
use tokio::sync::{mpsc, oneshot, watch};

/// Where packets go now.
pub type Targets = BTreeMap<ConnectionId, Outgoing>;

/// Gives what the sound thread has for a connection to it, if it still stands. While two of a leg overlap, both get each
/// packet, and the far side misses none.
pub async fn send(mut sent: mpsc::Receiver<Sent>, targets: watch::Receiver<Targets>) {
    while let Some(sent) = sent.recv().await {
        let (Sent::Packet(id, _) | Sent::Missing(id, _) | Sent::Feedback(id, _)) = &sent;
        let Some(target) = targets.borrow().get(id).cloned() else { continue };
        match sent {
            Sent::Packet(_, packet) => target.send(&packet).await,
            Sent::Missing(_, sequences) => target.ask(&sequences).await,
            Sent::Feedback(_, feedback) => target.tell(&feedback).await,
        }
    }
}

/// A machine on which the sound thread cannot even start: every connection fails with the reason.
pub async fn refuse(
    why: &str,
    mut commands: mpsc::Receiver<Command>,
    mut stopped: oneshot::Receiver<()>,
    events: mpsc::Sender<Event>,
) {
    tracing::warn!(why, "no sound");
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                Some(Command::Open { leg, generation, .. }) => {
                    let _ = events.send(Event::Failed { leg, generation, why: why.to_owned() }).await;
                }
                Some(Command::Drop { leg }) => {
                    let _ = events.send(Event::Dropped { leg }).await;
                }
                Some(Command::Close) => {
                    let _ = events.send(Event::Closed).await;
                }
                Some(_) => {}
                None => return,
            },
            _ = &mut stopped => return,
        }
    }
}
