//! The loop's part for what is measured of a call: the figures of each second, the probe, the summary after its end.

use super::Loop;
use crate::figures::{Figures, Here};
use crate::probe::Probe;
use crate::{Link, State};
use bellwire_call::{CallNow, Input, Monotonic, UserCommand};
use bellwire_media::Leg;

/// While a call goes on.
#[derive(Default)]
pub(super) struct Measuring {
    pub figures: Option<Figures>,
    probe: Option<Probe>,
}

impl Measuring {
    pub(super) fn due(&self) -> Option<Monotonic> {
        self.figures.as_ref().map(Figures::due)
    }

    /// The way to the server is another one.
    pub(super) fn network_changed(&mut self) {
        self.probe = self.probe.take().map(|probe| Probe::of(probe.server().to_owned()));
    }
}

impl Loop {
    /// Begins with the accept, takes in each second, and says at the end how it was.
    pub(super) fn settle_figures(&mut self) {
        let Some(call) = self.endpoint.call().cloned() else {
            self.measuring = Measuring::default();
            return;
        };
        match call.state {
            State::Connecting | State::Connected | State::Reconnecting { .. } => self.measure(&call),
            State::Ended { confirmed: true, .. } => self.sum_up(&call),
            State::Ended { confirmed: false, .. } => {}
            State::Inviting | State::Ringing | State::Elsewhere => self.measuring = Measuring::default(),
        }
    }

    fn measure(&mut self, call: &CallNow) {
        let Some(id) = &call.call else { return };
        let now = self.now();
        if self.measuring.figures.as_ref().is_none_or(|figures| figures.call != *id) {
            self.measuring = Measuring { figures: Some(Figures::of(id.clone(), now)), probe: None };
        }
        let stun_server = self.sound.stun_server();
        let Measuring { figures: Some(figures), probe } = &mut self.measuring else { return };
        if probe.as_ref().map(Probe::server) != stun_server.as_deref() {
            *probe = stun_server.map(Probe::of);
        }
        figures.follow(call, now);
        let here = Here {
            input: &self.sound.input,
            output: &self.sound.output,
            access: probe.as_ref().and_then(Probe::access),
            link_up: self.link_state == Link::Up,
        };
        if figures.second(call, &here, now) {
            let health = figures.health;
            self.endpoint.handle(Input::Command(UserCommand::Health(health)), now);
        }
    }

    fn sum_up(&mut self, call: &CallNow) {
        let now = self.now();
        let Some(mut figures) = std::mem::take(&mut self.measuring).figures else { return };
        if Some(&figures.call) != call.call.as_ref() {
            return;
        }
        figures.follow(call, now);
        let relayed = call.relayed.or(self.sound.path(Leg::CALL.0).map(|path| path.is_relayed()));
        if let Some(quality) = figures.summary(relayed.unwrap_or_default()) {
            let call = figures.call;
            self.endpoint.handle(Input::Command(UserCommand::Quality { call, quality }), now);
        }
    }
}
