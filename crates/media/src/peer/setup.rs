//! Making a connection with the WebRTC library, and listening to it.

use super::codecs::Numbers;
use super::description;
use super::reports;
use super::track::Track;
use super::tunnel::{self, Tunnel};
use super::wire::{Outgoing, Wire};
use super::{PeerSettings, text};
use crate::audio::{Audio, ConnectionId};
use crate::pipeline::{Arrival, Feedback};
use crate::{Candidate, CandidateKind, DescriptionKind, IceServer, PathInfo, RATE, Route};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use webrtc::Error;
use webrtc::api::media_engine::{MIME_TYPE_OPUS, MediaEngine};
use webrtc::api::setting_engine::SettingEngine;
use webrtc::api::{API, APIBuilder};
use webrtc::data_channel::RTCDataChannel;
use webrtc::ice::mdns::MulticastDnsMode;
use webrtc::ice::network_type::NetworkType;
use webrtc::ice_transport::ice_candidate::RTCIceCandidate;
use webrtc::ice_transport::ice_candidate_type::RTCIceCandidateType;
use webrtc::ice_transport::ice_server::RTCIceServer;
use webrtc::interceptor::registry::Registry;
use webrtc::interceptor::report::sender::SenderReport;
use webrtc::peer_connection::RTCPeerConnection;
use webrtc::peer_connection::certificate::RTCCertificate;
use webrtc::peer_connection::configuration::RTCConfiguration;
use webrtc::peer_connection::peer_connection_state::RTCPeerConnectionState;
use webrtc::peer_connection::policy::bundle_policy::RTCBundlePolicy;
use webrtc::peer_connection::policy::ice_transport_policy::RTCIceTransportPolicy;
use webrtc::rtp_transceiver::rtp_codec::{RTCRtpCodecCapability, RTCRtpCodecParameters, RTPCodecType};
use webrtc::rtp_transceiver::rtp_receiver::RTCRtpReceiver;
use webrtc::rtp_transceiver::rtp_sender::RTCRtpSender;
use webrtc::track::track_local::TrackLocal;
use webrtc::track::track_remote::TrackRemote;

/// The certificate that all connections of a call share, so that a new one is known to be the same person's.
#[derive(Clone, Default)]
pub struct Identity(Arc<Mutex<Option<RTCCertificate>>>);

/// What the library's callbacks say; `attempt` tells a connection from the one that it replaced.
pub enum Local {
    Candidate {
        attempt: u32,
        candidate: Option<Candidate>,
    },
    Connected {
        attempt: u32,
    },
    Failed {
        attempt: u32,
        why: String,
    },
    /// A relay's connection broke.
    RelayLost {
        attempt: u32,
    },
    TextOpen {
        attempt: u32,
        channel: Arc<RTCDataChannel>,
    },
    Text {
        attempt: u32,
        text: String,
    },
    Reported(Feedback),
}

pub struct Made {
    pub connection: RTCPeerConnection,
    pub attempt: u32,
    /// Our sound, once it is known who offers.
    track: Option<Arc<Track>>,
    pub wire: Arc<Wire>,
    tunnels: Vec<Tunnel>,
}

/// Direct pairs are taken at once; a relay only when nothing better shows up in this time.
const RELAY_WAIT: Duration = Duration::from_millis(500);
/// A path that is down is kept, and asked each second whether it is back, for so long, without and with the library saying
/// that it is disconnected: until then it may come back by itself, and whoever looks for another finds it beside this one.
const DISCONNECTED: Duration = Duration::from_secs(5);
const FAILED: Duration = Duration::from_secs(35);
const KEEP_ALIVE: Duration = Duration::from_secs(1);
/// The library has no name for redundant packets (RFC 2198).
const MIME_TYPE_RED: &str = "audio/red";
/// Bytes of the largest packet read: an Ethernet frame's.
const MTU: usize = 1500;

pub async fn make(
    settings: &PeerSettings,
    id: ConnectionId,
    attempt: u32,
    audio: &Audio,
    local: &mpsc::Sender<Local>,
) -> Result<Made, Error> {
    let known = settings.identity.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let tunnels = tunnel::open(&settings.ice_servers).await;
    let configuration = RTCConfiguration {
        ice_servers: servers(settings, &tunnels),
        ice_transport_policy: match settings.route {
            Route::Any => RTCIceTransportPolicy::All,
            Route::RelayOnly => RTCIceTransportPolicy::Relay,
        },
        bundle_policy: RTCBundlePolicy::MaxBundle,
        certificates: known.into_iter().collect(),
        ..RTCConfiguration::default()
    };
    let connection = api(settings)?.new_peer_connection(configuration).await?;
    if let Some(certificate) = connection.get_configuration().await.certificates.into_iter().next() {
        *settings.identity.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(certificate);
    }
    let wire = Arc::new(Wire::default());
    listen(&connection, id, attempt, audio, &wire, local);
    text::accept(&connection, attempt, local);
    for tunnel in &tunnels {
        tokio::spawn(watch(tunnel.ended(), attempt, local.clone()));
    }
    Ok(Made { connection, attempt, track: None, wire, tunnels })
}

/// Of RTCP the library sends the reports of our own packets alone; what we say of the far side's is ours.
fn api(settings: &PeerSettings) -> Result<API, Error> {
    let (bind, route) = (settings.bind, settings.route);
    let Numbers { opus, red } = settings.codecs().numbers;
    let mut media = MediaEngine::default();
    for (mime_type, payload_type) in [(MIME_TYPE_OPUS, Some(opus)), (MIME_TYPE_RED, red)] {
        let Some(payload_type) = payload_type else { continue };
        let capability = codec(mime_type);
        let parameters = RTCRtpCodecParameters { capability, payload_type, ..RTCRtpCodecParameters::default() };
        media.register_codec(parameters, RTPCodecType::Audio)?;
    }
    let mut registry = Registry::new();
    registry.add(Box::new(SenderReport::builder()));
    Ok(APIBuilder::new()
        .with_media_engine(media)
        .with_interceptor_registry(registry)
        .with_setting_engine(network(bind, route))
        .build())
}

fn codec(mime_type: &str) -> RTCRtpCodecCapability {
    RTCRtpCodecCapability {
        mime_type: mime_type.to_owned(),
        clock_rate: RATE,
        channels: 2,
        ..RTCRtpCodecCapability::default()
    }
}

fn network(bind: Option<IpAddr>, route: Route) -> SettingEngine {
    // With nothing better to wait for, there is nothing to wait for.
    let relay_wait = if route == Route::RelayOnly { Duration::ZERO } else { RELAY_WAIT };
    let mut settings = SettingEngine::default();
    settings.set_ice_multicast_dns_mode(MulticastDnsMode::Disabled);
    settings.set_host_acceptance_min_wait(Some(Duration::ZERO));
    settings.set_prflx_acceptance_min_wait(Some(Duration::ZERO));
    settings.set_srflx_acceptance_min_wait(Some(Duration::ZERO));
    settings.set_relay_acceptance_min_wait(Some(relay_wait));
    settings.set_ice_timeouts(Some(DISCONNECTED), Some(FAILED), Some(KEEP_ALIVE));
    // Two programs on a machine without a network must still be able to talk.
    settings.set_include_loopback_candidate(bind.map_or_else(only_loopback, |address| address.is_loopback()));
    settings.set_network_types(match bind {
        Some(IpAddr::V4(_)) => vec![NetworkType::Udp4],
        Some(IpAddr::V6(_)) => vec![NetworkType::Udp6],
        None => vec![NetworkType::Udp4, NetworkType::Udp6],
    });
    settings.set_ip_filter(Box::new(move |address| match bind {
        Some(bind) => address == bind,
        None => !needs_scope(address),
    }));
    settings
}

/// A link-local address cannot be bound without naming its interface.
fn needs_scope(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

fn only_loopback() -> bool {
    let usable = |address: SocketAddr| !address.ip().is_loopback() && !needs_scope(address.ip());
    match webrtc::util::ifaces::ifaces() {
        Ok(interfaces) => !interfaces.iter().filter_map(|interface| interface.addr).any(usable),
        Err(_) => false,
    }
}

/// STUN servers as they are, and tunnels in place of the TURN servers.
///
/// Bound to one address, candidates seen by a STUN server are left out: they could belong to any.
fn servers(settings: &PeerSettings, tunnels: &[Tunnel]) -> Vec<RTCIceServer> {
    let asks = settings.bind.is_none() && settings.route == Route::Any;
    let stun = settings.ice_servers.iter().filter(|_| asks).map(|server| IceServer {
        urls: server.urls.iter().filter(|url| is_stun(url)).cloned().collect(),
        ..IceServer::default()
    });
    stun.filter(|server| !server.urls.is_empty())
        .chain(tunnels.iter().map(Tunnel::server))
        .map(|IceServer { urls, username, credential }| RTCIceServer { urls, username, credential })
        .collect()
}

/// Whether the library can use it: it makes no connection at all with one that it does not understand.
fn is_stun(url: &str) -> bool {
    let understood = webrtc::ice::url::Url::parse_url(url).is_ok();
    if url.starts_with("stun:") && !understood {
        tracing::debug!("a STUN server's address is not understood");
    }
    url.starts_with("stun:") && understood
}

async fn watch(broken: impl Future<Output = bool>, attempt: u32, to: mpsc::Sender<Local>) {
    if broken.await {
        let _ = to.send(Local::RelayLost { attempt }).await;
    }
}

fn listen(
    connection: &RTCPeerConnection,
    id: ConnectionId,
    attempt: u32,
    audio: &Audio,
    wire: &Arc<Wire>,
    local: &mpsc::Sender<Local>,
) {
    let to = local.clone();
    connection.on_ice_candidate(Box::new(move |candidate| {
        let to = to.clone();
        Box::pin(async move {
            let candidate = candidate.as_ref().map(ours);
            let _ = to.send(Local::Candidate { attempt, candidate }).await;
        })
    }));
    let to = local.clone();
    connection.on_peer_connection_state_change(Box::new(move |state| {
        let to = to.clone();
        Box::pin(async move {
            tracing::debug!(?id, %state, "connection");
            let happened = match state {
                RTCPeerConnectionState::Connected => Local::Connected { attempt },
                RTCPeerConnectionState::Failed => {
                    Local::Failed { attempt, why: "no way to the far side was found, or it was lost".into() }
                }
                RTCPeerConnectionState::Unspecified
                | RTCPeerConnectionState::New
                | RTCPeerConnectionState::Connecting
                | RTCPeerConnectionState::Disconnected
                | RTCPeerConnectionState::Closed => return,
            };
            let _ = to.send(happened).await;
        })
    }));
    let (audio, wire) = (audio.clone(), Arc::clone(wire));
    connection.on_track(Box::new(move |track, receiver, _| {
        tokio::spawn(read_sound(id, track, Arc::clone(&wire), audio.clone()));
        tokio::spawn(read_sender_reports(receiver, Arc::clone(&wire)));
        Box::pin(async {})
    }));
}

async fn read_sound(id: ConnectionId, track: Arc<TrackRemote>, wire: Arc<Wire>, audio: Audio) {
    let mut buffer = vec![0; MTU];
    let mut next = None;
    while let Ok((packet, _)) = track.read(&mut buffer).await {
        let (header, payload, at) = (packet.header, packet.payload, audio.now());
        let form = wire.came(header.ssrc, header.payload_type);
        let (ssrc, sequence, timestamp) = (header.ssrc, header.sequence_number, header.timestamp);
        let in_order = next.replace(sequence.wrapping_add(1)) == Some(sequence);
        audio.packet(id, Arrival { at, ssrc, form, sequence, timestamp, payload }, in_order);
    }
}

/// Our reports answer the far side's reports of its own packets.
async fn read_sender_reports(receiver: Arc<RTCRtpReceiver>, wire: Arc<Wire>) {
    while let Ok((packets, _)) = receiver.read_rtcp().await {
        if let Some(time) = reports::sender_time(&packets) {
            wire.reported(time);
        }
    }
}

async fn read_reports(
    id: ConnectionId,
    sender: Arc<RTCRtpSender>,
    track: Arc<Track>,
    audio: Audio,
    to: mpsc::Sender<Local>,
) {
    while let Ok((packets, _)) = sender.read_rtcp().await {
        let Some(ssrc) = track.ssrc() else { continue };
        let heard = reports::about(ssrc, &packets, SystemTime::now());
        if !heard.asked.is_empty() {
            audio.asked(id, heard.asked);
        }
        if let Some(feedback) = heard.feedback {
            audio.told(id, feedback);
            // One that finds no room is made up for by the next: whoever asks for packets must not wait meanwhile.
            if let Err(TrySendError::Closed(_)) = to.try_send(Local::Reported(feedback)) {
                return;
            }
        }
    }
}

fn ours(candidate: &RTCIceCandidate) -> Candidate {
    // The library leaves the section's name empty, which browsers refuse; the index says enough.
    let candidate = candidate.to_json().map(|init| init.candidate).unwrap_or_default();
    Candidate { candidate: description::without_base(&candidate), mid: None, index: 0 }
}

fn kind(typ: RTCIceCandidateType) -> Option<CandidateKind> {
    match typ {
        RTCIceCandidateType::Unspecified => None,
        RTCIceCandidateType::Host => Some(CandidateKind::Host),
        RTCIceCandidateType::Srflx => Some(CandidateKind::Srflx),
        RTCIceCandidateType::Prflx => Some(CandidateKind::Prflx),
        RTCIceCandidateType::Relay => Some(CandidateKind::Relay),
    }
}

impl Made {
    /// Adds our sound; its ids differ between the two sides.
    pub async fn add_sound(
        &mut self,
        role: DescriptionKind,
        id: ConnectionId,
        audio: &Audio,
        local: &mpsc::Sender<Local>,
    ) -> Result<(), Error> {
        if self.track.is_some() {
            return Ok(());
        }
        let (name, stream) = match role {
            DescriptionKind::Offer => ("audio-offerer", "bellwire-offerer"),
            DescriptionKind::Answer => ("audio-answerer", "bellwire-answerer"),
        };
        let track = Arc::new(Track::new(name, stream));
        let sender = self.connection.add_track(Arc::clone(&track) as Arc<dyn TrackLocal + Send + Sync>).await?;
        tokio::spawn(read_reports(id, sender, Arc::clone(&track), audio.clone(), local.clone()));
        self.track = Some(track);
        Ok(())
    }

    /// Where our packets go, once it is known who offers.
    pub fn outgoing(&self) -> Option<Outgoing> {
        let track = Arc::clone(self.track.as_ref()?);
        Some(Outgoing::new(track, self.connection.dtls_transport(), Arc::clone(&self.wire)))
    }

    /// The way in use.
    pub async fn path(&self) -> Option<PathInfo> {
        let transport = self.connection.dtls_transport();
        let pair = transport.ice_transport().get_selected_candidate_pair().await?;
        let (local, remote) = (kind(pair.local.typ)?, kind(pair.remote.typ)?);
        let ours = |tunnel: &&Tunnel| tunnel.state().library == Some(pair.local.related_port);
        let relay = match local {
            CandidateKind::Relay => self.tunnels.iter().find(ours).and_then(|tunnel| tunnel.state().carried),
            CandidateKind::Host | CandidateKind::Srflx | CandidateKind::Prflx => None,
        };
        Some(PathInfo { local, remote, relay, ipv6: pair.local.address.contains(':') })
    }

    pub async fn close(&self) {
        match tokio::time::timeout(super::CLOSE_TIMEOUT, self.connection.close()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "connection not closed cleanly"),
            Err(_) => tracing::debug!("connection did not close in time"),
        }
    }
}
