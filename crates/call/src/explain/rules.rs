//! From findings to one explanation: the first rule of a table that has something to say.

use super::{Action, Blame, Explanation, Figure, Second, Stage};
use bellwire_signaling::{Cause, Health, MicrophoneHealth, Receives, SpeakerHealth};

/// What the windows say of a call now, beside its newest second.
#[derive(Clone, Copy, Debug)]
pub struct Findings<'a> {
    pub second: &'a Second,
    /// No packet came for two seconds.
    pub silent: bool,
    /// The other party's device has said for two seconds that no packet comes.
    pub unheard: bool,
    /// The call stands as it does for long enough to judge it.
    pub settled: bool,
    /// Shares, 0 to 1.
    pub loss_in: Option<f32>,
    pub loss_out: Option<f32>,
    /// The way back and forth has become much longer than it was: a queue has filled up.
    pub queued: bool,
    pub jitter_in_ms: Option<f32>,
    pub jitter_out_ms: Option<f32>,
    /// Share of what was played that was made up because packets came too late.
    pub too_late: Option<f32>,
    pub round_trip_ms: Option<f32>,
    /// From mouth to ear, one way.
    pub delay_ms: Option<f32>,
    pub overloaded: bool,
}

/// In the order in which they count; the first that applies is shown.
const RULES: [fn(&Findings) -> Option<Explanation>; 10] =
    [nothing_comes, nothing_goes, microphone, speaker, overload, loss, narrow, jitter, echo, delay];

pub fn explain(findings: &Findings) -> Option<Explanation> {
    if !findings.settled {
        return nothing_comes(findings);
    }
    RULES.iter().find_map(|rule| rule(findings))
}

/// A way to the server that loses this many of 100 probes carries nothing to speak of.
const DEAD_PERCENT: u8 = 50;
/// A way to the server that loses fewer is clean.
const CLEAN_PERCENT: u8 = 2;
/// A way to the server that takes longer has its share in a delay of twice as much.
const SLOW_MS: u16 = 200;

fn nothing_comes(f: &Findings) -> Option<Explanation> {
    let second = f.second;
    if !f.silent {
        return None;
    }
    let hears_us = second.peer.is_some_and(|peer| peer.receives != Receives::Nothing);
    if second.link_up && hears_us && their_microphone(second).is_some() {
        return None;
    }
    let (side, action) = if !second.link_up || is_dead(Some(second.own)) {
        (Blame::Here, switching_or(second, Action::MoveCloserToWifi))
    } else if is_dead(second.peer) {
        (Blame::There, switching_or(second, Action::TellThemNetwork))
    } else if hears_us {
        (Blame::Between, switching_or(second, Action::ChangeNetwork))
    } else {
        (Blame::Between, switching_or(second, Action::Wait))
    };
    said(Cause::NothingComes, side, action, None)
}

fn nothing_goes(f: &Findings) -> Option<Explanation> {
    let second = f.second;
    if !f.unheard || f.silent || !second.link_up || our_microphone(second).is_some() {
        return None;
    }
    let (side, action) = if is_dead(Some(second.own)) {
        (Blame::Here, Action::MoveCloserToWifi)
    } else if is_dead(second.peer) {
        (Blame::There, Action::TellThemNetwork)
    } else {
        (Blame::Between, Action::ChangeNetwork)
    };
    said(Cause::NothingGoes, side, switching_or(second, action), None)
}

fn microphone(f: &Findings) -> Option<Explanation> {
    let second = f.second;
    if let Some((cause, mend)) = our_microphone(second) {
        let action = if second.microphone_refused { Action::AllowMicrophone } else { mend };
        return said(cause, Blame::Here, action, None);
    }
    said(their_microphone(second)?.0, Blame::There, Action::TellThemMicrophone, None)
}

fn speaker(f: &Findings) -> Option<Explanation> {
    let missing = |health: Health| health.speaker == SpeakerHealth::Missing;
    if missing(f.second.own) {
        return said(Cause::SpeakerMissing, Blame::Here, Action::ChooseSpeaker, None);
    }
    f.second.peer.filter(|peer| missing(*peer))?;
    said(Cause::SpeakerMissing, Blame::There, Action::TellThemSpeaker, None)
}

fn overload(f: &Findings) -> Option<Explanation> {
    f.overloaded.then_some(())?;
    said(Cause::Overload, Blame::Here, Action::CloseOtherPrograms, None)
}

fn loss(f: &Findings) -> Option<Explanation> {
    let (share, outward) = worse_loss(f)?;
    if f.queued {
        return None;
    }
    let side = side_of_loss(f.second, share);
    let action = if outward && f.second.sending_copies {
        Action::SendingCopies
    } else {
        by_side(side, Action::MoveCloserToWifi, Action::Wait)
    };
    said(Cause::Loss, side, action, Some(percent(share)))
}

/// Loss from a queue that is full, as distinct from loss on the air.
fn narrow(f: &Findings) -> Option<Explanation> {
    let (share, outward) = worse_loss(f)?;
    f.queued.then_some(())?;
    let side = side_of_loss(f.second, share);
    let sent = f.second.bitrate_out.map(|bits| bits as f32 * (1.0 - share));
    let came = f.second.bitrate_in.map(|bits| bits as f32);
    let carried = if outward { sent } else { came };
    let figure = carried.map_or(percent(share), |bits| Figure::Kilobits((bits / 1000.0).round() as u16));
    said(Cause::Narrow, side, by_side(side, Action::PauseDownloads, Action::Wait), Some(figure))
}

fn jitter(f: &Findings) -> Option<Explanation> {
    let worst = [f.jitter_in_ms, f.jitter_out_ms].into_iter().flatten().reduce(f32::max);
    let figure = match (worst, f.too_late) {
        (Some(ms), _) => milliseconds(ms, 1.0),
        (None, Some(share)) => percent(share),
        (None, None) => return None,
    };
    let uneven = |health: Health| {
        health.access.map(|access| access.loss_percent >= CLEAN_PERCENT || access.round_trip_ms >= SLOW_MS)
    };
    let side = match (uneven(f.second.own), f.second.peer.and_then(uneven)) {
        (Some(true), Some(false) | None) => Blame::Here,
        (Some(false) | None, Some(true)) => Blame::There,
        (Some(true), Some(true)) | (Some(false) | None, Some(false) | None) => Blame::Between,
    };
    said(Cause::Jitter, side, by_side(side, Action::UseCable, Action::Wait), Some(figure))
}

/// Whoever hears themselves cannot mend it: it is told to the side that causes it, and there it counts first.
fn echo(f: &Findings) -> Option<Explanation> {
    let peer = f.second.peer;
    if peer.is_some_and(|peer| peer.hears_itself) {
        return said(Cause::Echo, Blame::Here, Action::WearHeadset, None);
    }
    f.second.hears_itself.then_some(())?;
    let action = if peer.is_some() { Action::TheyAreTold } else { Action::AskThemToWearHeadset };
    said(Cause::Echo, Blame::There, action, None)
}

fn delay(f: &Findings) -> Option<Explanation> {
    f.round_trip_ms.or(f.delay_ms)?;
    let round_trip = f.second.round_trip_ms?;
    let of = |health: Health| health.access.map(|access| access.round_trip_ms);
    let (ours, theirs) = (of(f.second.own), f.second.peer.and_then(of));
    let slow = |ms: Option<u16>| ms.filter(|ms| *ms >= SLOW_MS);
    let side = match (slow(ours), slow(theirs)) {
        (Some(_), None) => Blame::Here,
        (None, Some(_)) => Blame::There,
        (Some(ours), Some(theirs)) if ours > theirs.saturating_mul(2) => Blame::Here,
        (Some(ours), Some(theirs)) if theirs > ours.saturating_mul(2) => Blame::There,
        (Some(_), Some(_)) | (None, None) => Blame::Between,
    };
    let figure = milliseconds(round_trip + f.second.buffer_ms.unwrap_or(0.0), 10.0);
    said(Cause::Delay, side, by_side(side, Action::UseCable, Action::ChangeNetwork), Some(figure))
}

fn said(cause: Cause, side: Blame, action: Action, figure: Option<Figure>) -> Option<Explanation> {
    Some(Explanation { cause, side, action, figure })
}

fn switching_or(second: &Second, otherwise: Action) -> Action {
    match second.stage {
        Stage::Reconnecting => Action::SwitchingPath,
        Stage::Connecting | Stage::Connected => otherwise,
    }
}

fn by_side(side: Blame, here: Action, between: Action) -> Action {
    match side {
        Blame::Here => here,
        Blame::There => Action::TellThemNetwork,
        Blame::Between => between,
    }
}

fn is_dead(health: Option<Health>) -> bool {
    health.and_then(|health| health.access).is_some_and(|access| access.loss_percent >= DEAD_PERCENT)
}

/// What is wrong with it, and what mends it where it is. Being muted is shown elsewhere, and is no fault.
fn our_microphone(second: &Second) -> Option<(Cause, Action)> {
    fault_of(second.own.microphone).filter(|_| !second.muted)
}

fn their_microphone(second: &Second) -> Option<(Cause, Action)> {
    fault_of(second.peer?.microphone).filter(|_| !second.peer_muted)
}

fn fault_of(microphone: MicrophoneHealth) -> Option<(Cause, Action)> {
    match microphone {
        MicrophoneHealth::Unknown | MicrophoneHealth::Works => None,
        MicrophoneHealth::Silent => Some((Cause::MicrophoneSilent, Action::CheckMicrophoneSwitch)),
        MicrophoneHealth::Missing => Some((Cause::MicrophoneMissing, Action::ChooseMicrophone)),
    }
}

/// The share, and whether it is ours on the way to them.
fn worse_loss(f: &Findings) -> Option<(f32, bool)> {
    match (f.loss_in, f.loss_out) {
        (Some(comes), Some(goes)) if goes > comes => Some((goes, true)),
        (Some(comes), _) => Some((comes, false)),
        (None, Some(goes)) => Some((goes, true)),
        (None, None) => None,
    }
}

/// Each side's own way to the server tells: the one that loses a quarter or more of what is lost in all is the culprit. One that
/// is known to be clean leaves the other, also where that one is unknown.
fn side_of_loss(second: &Second, share: f32) -> Blame {
    let enough = (share * 25.0).max(f32::from(CLEAN_PERCENT));
    let of = |health: Health| health.access.map(|access| f32::from(access.loss_percent));
    let (ours, theirs) = (of(second.own), second.peer.and_then(of));
    let is_bad = |percent: f32| percent >= enough;
    match (ours, theirs) {
        (Some(ours), Some(theirs)) => match (is_bad(ours), is_bad(theirs)) {
            (true, true) if ours > 2.0 * theirs => Blame::Here,
            (true, true) if theirs > 2.0 * ours => Blame::There,
            (true, true) | (false, false) => Blame::Between,
            (true, false) => Blame::Here,
            (false, true) => Blame::There,
        },
        (Some(ours), None) if is_bad(ours) => Blame::Here,
        (Some(_), None) => Blame::There,
        (None, Some(theirs)) if is_bad(theirs) => Blame::There,
        (None, Some(_)) => Blame::Here,
        (None, None) => Blame::Between,
    }
}

fn percent(share: f32) -> Figure {
    Figure::Percent((share * 100.0).round().clamp(1.0, 100.0) as u8)
}

fn milliseconds(ms: f32, step: f32) -> Figure {
    Figure::Milliseconds(((ms / step).round() * step).clamp(0.0, 60_000.0) as u16)
}
