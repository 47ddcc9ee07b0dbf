//! The details of a call's connection, for whoever opens them.

use crate::sentence::Sentence;
use crate::view_model::Figure;
use bellwire_client::{PathInfo, Protection, ProtectionReason, RelayTransport, Stats};

/// What could not be measured yet is left out.
pub(super) fn figures(stats: &Stats, path: Option<&PathInfo>) -> Vec<Figure> {
    let ms = |value: f32| format!("{value:.0} ms");
    let share = |value: f32| format!("{:.1} %", value * 100.0);
    let rate = |value: u32| format!("{:.0} kbit/s", f64::from(value) / 1000.0);
    let ends = stats.local_candidate.as_ref().zip(stats.remote_candidate.as_ref());
    let measured = [
        (Sentence::FigureRoundTrip {}, stats.round_trip_ms.map(ms)),
        (Sentence::FigureLossIn {}, Some(share(stats.loss_in))),
        (Sentence::FigureLossOut {}, stats.loss_out.map(share)),
        (Sentence::FigureJitterIn {}, Some(ms(stats.jitter_in_ms))),
        (Sentence::FigureJitterOut {}, stats.jitter_out_ms.map(ms)),
        (Sentence::FigureBurst {}, Some(stats.burst_in_ms).filter(|ms| *ms > 0.0).map(ms)),
        (Sentence::FigureRecovered {}, Some(share(stats.recovered))),
        (Sentence::FigureConcealed {}, Some(share(stats.concealed))),
        (Sentence::FigureBuffer {}, Some(format!("{}, {}", ms(stats.buffer_ms), ms(stats.target_ms)))),
        (Sentence::FigureBitrateIn {}, Some(rate(stats.bitrate_in))),
        (Sentence::FigureBitrateOut {}, Some(rate(stats.bitrate_out))),
        (Sentence::FigureBandwidth {}, stats.bandwidth_out.map(rate)),
        (Sentence::FigureEcho {}, stats.echo_return_loss_db.map(|db| format!("{db:.0} dB"))),
        (Sentence::FigureMos {}, stats.mos.map(|mos| format!("{mos:.1}"))),
        (Sentence::FigureCandidates {}, ends.map(|(local, remote)| format!("{local} \u{2013} {remote}"))),
    ];
    let measured = measured
        .into_iter()
        .filter_map(|(label, text)| text.map(|text| Figure { label, value: Sentence::Amount { text } }));
    let protection = Figure { label: Sentence::FigureProtection {}, value: protection(&stats.protection) };
    path.into_iter().flat_map(way).chain([protection]).chain(measured).collect()
}

/// What is done against loss, and why.
fn protection(protection: &Protection) -> Sentence {
    let Protection { why, resending, copies, reach_ms: _, fec, dred_ms, packet_ms: _, codec_bitrate: _ } = *protection;
    let (copies, dred_ms) = (u32::from(copies), u32::from(dred_ms));
    match why {
        ProtectionReason::Clean => Sentence::ProtectionClean { resending, copies, fec, dred_ms },
        ProtectionReason::Loss => Sentence::ProtectionLoss { resending, copies, fec, dred_ms },
        ProtectionReason::Bursts => Sentence::ProtectionBursts { resending, copies, fec, dred_ms },
        ProtectionReason::Narrow => Sentence::ProtectionNarrow { resending, copies, fec, dred_ms },
    }
}

/// The way that sound goes.
fn way(path: &PathInfo) -> [Figure; 2] {
    let way = match path.relay {
        Some(RelayTransport::Udp) => Sentence::PathRelayUdp {},
        Some(RelayTransport::Tcp) => Sentence::PathRelayTcp {},
        Some(RelayTransport::Tls) => Sentence::PathRelayTls {},
        None if path.is_relayed() => Sentence::PathRelayTheirs {},
        None => Sentence::PathDirect {},
    };
    let network = if path.ipv6 { Sentence::NetworkIpv6 {} } else { Sentence::NetworkIpv4 {} };
    [
        Figure { label: Sentence::FigurePath {}, value: way },
        Figure { label: Sentence::FigureNetwork {}, value: network },
    ]
}
