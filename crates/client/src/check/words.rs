//! Between the words of the check's machine and those of the sound.

use bellwire_call::check::{
    CheckHeard, CheckOrder, DeviceState, EchoMeasured, MicrophoneMeasured, PathMeasured, SpeakerMeasured,
};
use bellwire_media::check::{CheckCommand, CheckEvent, CheckRoute, MicrophoneFigures};
use bellwire_media::{DeviceFault, IceServer, RelayTransport};
use bellwire_signaling::{self as signaling, CheckPath, Sdp};

/// `None` for what the sound has no word for: it closes all when it is dropped.
pub(super) fn command_for_sound(order: CheckOrder) -> Option<CheckCommand> {
    Some(match order {
        CheckOrder::OpenDevices => CheckCommand::OpenDevices,
        CheckOrder::OpenPath { path, servers } => {
            let servers = servers.into_iter().map(server_for_sound).collect();
            CheckCommand::OpenPath { route: route_of(path), servers }
        }
        CheckOrder::Answer { path, sdp } => CheckCommand::Answer { route: route_of(path), sdp: sdp.into() },
        CheckOrder::ClosePath { path } => CheckCommand::ClosePath { route: route_of(path) },
        CheckOrder::Speak { path } => CheckCommand::Speak { route: route_of(path) },
        CheckOrder::Listen => CheckCommand::Listen,
        CheckOrder::Close => return None,
    })
}

/// `None` for a description of ours that may not travel: the way then fails by its deadline. And for what is only shown.
pub(super) fn heard_from_sound(event: CheckEvent) -> Option<CheckHeard> {
    Some(match event {
        CheckEvent::Devices { microphone, speaker } => CheckHeard::Devices {
            microphone: match microphone {
                Ok(figures) => measured(figures),
                Err(why) => MicrophoneMeasured { state: state_of(&why), ..MicrophoneMeasured::default() },
            },
            speaker: SpeakerMeasured { state: speaker.map_or_else(|why| state_of(&why), |()| DeviceState::Opened) },
        },
        CheckEvent::Offer { route, sdp } => match Sdp::new(sdp) {
            Ok(sdp) => CheckHeard::Offer { path: path_of(route), sdp },
            Err(fault) => {
                tracing::warn!(%fault, "an offer of a check is not fit to be sent");
                return None;
            }
        },
        CheckEvent::Path { route, figures } => CheckHeard::Path(PathMeasured {
            path: path_of(route),
            connected: figures.connected,
            setup_ms: figures.setup_ms,
            loss_up: figures.loss_up,
            loss_down: figures.loss_down,
            round_trip_ms: figures.round_trip_ms,
            jitter_ms: figures.jitter_ms,
        }),
        CheckEvent::Level(_) => return None,
        CheckEvent::Spoke(figures) => CheckHeard::Spoke(measured(figures)),
        CheckEvent::Listened(echo) => CheckHeard::Listened(echo.map(|echo| EchoMeasured {
            return_loss_db: echo.return_loss_db,
            cancelled_loss_db: echo.cancelled_loss_db,
        })),
    })
}

fn measured(figures: MicrophoneFigures) -> MicrophoneMeasured {
    MicrophoneMeasured {
        state: DeviceState::Opened,
        zeros_only: figures.zeros_only,
        speech_dbfs: figures.speech_dbfs,
        clipped: figures.clipped,
        noise_dbfs: figures.noise_dbfs,
    }
}

fn state_of(why: &DeviceFault) -> DeviceState {
    match why {
        DeviceFault::PermissionRefused => DeviceState::Refused,
        DeviceFault::InUse => DeviceState::InUse,
        DeviceFault::NoDevice | DeviceFault::File(_) | DeviceFault::Other(_) => DeviceState::Missing,
    }
}

fn route_of(path: CheckPath) -> CheckRoute {
    match path {
        CheckPath::Direct => CheckRoute::Direct,
        CheckPath::RelayUdp => CheckRoute::Relay(RelayTransport::Udp),
        CheckPath::RelayTcp => CheckRoute::Relay(RelayTransport::Tcp),
        CheckPath::RelayTls => CheckRoute::Relay(RelayTransport::Tls),
    }
}

fn path_of(route: CheckRoute) -> CheckPath {
    match route {
        CheckRoute::Direct => CheckPath::Direct,
        CheckRoute::Relay(RelayTransport::Udp) => CheckPath::RelayUdp,
        CheckRoute::Relay(RelayTransport::Tcp) => CheckPath::RelayTcp,
        CheckRoute::Relay(RelayTransport::Tls) => CheckPath::RelayTls,
    }
}

fn server_for_sound(server: signaling::IceServer) -> IceServer {
    IceServer {
        urls: server.urls,
        username: server.username.unwrap_or_default(),
        credential: server.credential.map(|credential| credential.reveal().to_owned()).unwrap_or_default(),
    }
}
