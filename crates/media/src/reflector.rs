//! The far side of a check: it sends each packet back as it came.
//!
//! No codec, no device, nothing kept: a payload is looked at by nobody. The reflector numbers its packets by itself
//! without gaps, whatever is missing of those that came, so that each direction's losses can be told apart.

use crate::check::line::{Line, LineEvent};
use crate::pipeline::{Form, Outbound};
use crate::{DescriptionKind, IceServer, Route};
use std::net::IpAddr;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

/// How a reflector's work ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReflectorEnd {
    /// It was told to, or its time was over.
    Told,
    /// No connection came about, or it was lost.
    Failed,
}

/// One connection that reflects.
pub struct Reflector {
    answer: Option<oneshot::Receiver<String>>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<ReflectorEnd>,
}

impl Reflector {
    /// Answers the offer, which holds all its candidates. Ends by itself after `longest`, or when this is dropped.
    ///
    /// Whoever comes by a relay alone should be met by a relay alone (`route`): a relay that serves only its own allocations
    /// refuses every other address, among them those of a reflector that stands beside it.
    pub fn start(
        offer: String,
        servers: Vec<IceServer>,
        bind: Option<IpAddr>,
        route: Route,
        longest: Duration,
    ) -> Self {
        let (tell, answer) = oneshot::channel();
        let stop = CancellationToken::new();
        let task = tokio::spawn(reflect(
            offer,
            Line::open(servers, bind, route),
            Instant::now() + longest,
            tell,
            stop.clone(),
        ));
        Self { answer: Some(answer), stop, task }
    }

    /// Our description with all its candidates; `None` if there is none to be had, or it was taken before.
    pub async fn answer(&mut self) -> Option<String> {
        self.answer.take()?.await.ok()
    }

    /// A handle that ends it, from elsewhere.
    pub fn stopper(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Waits for the end.
    pub async fn ended(mut self) -> ReflectorEnd {
        (&mut self.task).await.unwrap_or(ReflectorEnd::Failed)
    }
}

impl Drop for Reflector {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn reflect(
    offer: String,
    mut line: Line,
    until: Instant,
    tell: oneshot::Sender<String>,
    stop: CancellationToken,
) -> ReflectorEnd {
    line.set_remote(DescriptionKind::Offer, &offer);
    let mut tell = Some(tell);
    let end = loop {
        let event = tokio::select! {
            event = line.next() => event,
            () = stop.cancelled() => break ReflectorEnd::Told,
            () = sleep_until(until) => break ReflectorEnd::Told,
        };
        match event {
            LineEvent::Described(sdp) => {
                if let Some(tell) = tell.take() {
                    let _ = tell.send(sdp);
                }
            }
            LineEvent::Connected => {}
            LineEvent::Packet(packet) => {
                let (timestamp, payload) = (packet.timestamp, packet.payload);
                let packet = Outbound { form: Form::Opus, sequence: 0, timestamp, marker: false, payload };
                if timeout_at(until, line.send(&packet)).await.is_err() {
                    break ReflectorEnd::Told;
                }
            }
            LineEvent::Failed(why) => {
                tracing::debug!(why, "a reflected connection failed");
                break ReflectorEnd::Failed;
            }
        }
    };
    line.close().await;
    end
}
