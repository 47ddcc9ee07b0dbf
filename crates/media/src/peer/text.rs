//! Text beside the sound: one data channel, ordered and reliable. The side that offers makes it before its offer.
//!
//! A far side that offers no data channels has no text, and one of another name is left alone.

use super::setup::{Local, Made};
use crate::{CHAT_CHANNEL, LONGEST_TEXT};
use std::sync::Arc;
use tokio::sync::mpsc;
use webrtc::Error;
use webrtc::data_channel::RTCDataChannel;
use webrtc::peer_connection::RTCPeerConnection;

/// Bytes on their way to a far side that takes none; further text is dropped before sending would have to wait.
const MOST_WAITING: usize = 64 * 1024;

/// Takes the channel that the far side makes.
pub fn accept(connection: &RTCPeerConnection, attempt: u32, local: &mpsc::Sender<Local>) {
    let to = local.clone();
    connection.on_data_channel(Box::new(move |channel| {
        if channel.label() == CHAT_CHANNEL {
            listen(&channel, attempt, &to);
        } else {
            tracing::debug!("data channel of another name left alone");
        }
        Box::pin(async {})
    }));
}

/// The callbacks hold the channel weakly: it holds them.
fn listen(channel: &Arc<RTCDataChannel>, attempt: u32, local: &mpsc::Sender<Local>) {
    let (to, of) = (local.clone(), Arc::downgrade(channel));
    channel.on_open(Box::new(move || {
        Box::pin(async move {
            if let Some(channel) = of.upgrade() {
                let _ = to.send(Local::TextOpen { attempt, channel }).await;
            }
        })
    }));
    let to = local.clone();
    channel.on_message(Box::new(move |message| {
        let to = to.clone();
        Box::pin(async move {
            let bytes = message.data.len();
            let text = (message.is_string && bytes <= LONGEST_TEXT).then(|| String::from_utf8(message.data.into()));
            match text {
                // Whoever sends more than is read waits.
                Some(Ok(text)) => drop(to.send(Local::Text { attempt, text }).await),
                Some(Err(_)) | None => tracing::debug!(bytes, "what came is no text, dropped"),
            }
        })
    }));
}

impl Made {
    /// Makes the channel, on the side that offers.
    pub async fn offer_text(&mut self, local: &mpsc::Sender<Local>) -> Result<(), Error> {
        let channel = self.connection.create_data_channel(CHAT_CHANNEL, None).await?;
        listen(&channel, self.attempt, local);
        Ok(())
    }
}

/// Sends, or drops where that would have to wait.
pub async fn send(channel: Option<&Arc<RTCDataChannel>>, text: String) {
    let Some(channel) = channel else { return tracing::debug!("text is not open, dropped") };
    let waiting = channel.buffered_amount().await;
    if waiting + text.len() > MOST_WAITING {
        return tracing::debug!(waiting, "the far side takes no text, dropped");
    }
    if let Err(error) = channel.send_text(text).await {
        tracing::debug!(%error, "text not sent");
    }
}
