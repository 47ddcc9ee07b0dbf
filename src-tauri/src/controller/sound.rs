//! The loop's part for devices and processing: what is chosen is kept, used from now on, and told to the client.

use super::Controller;
use crate::view_model::{Pick, ProcessingChoice};
use bellwire_client::{DeviceChoice, Processing, Request};

impl Controller {
    pub(super) fn set_input(&mut self, pick: Pick) {
        if let Some(choice) = chosen(pick) {
            self.media.input = choice.clone();
            self.settings.change(|settings| settings.input = choice.clone());
            self.request(Request::SetInput(choice));
        }
    }

    pub(super) fn set_output(&mut self, pick: Pick) {
        if let Some(choice) = chosen(pick) {
            self.media.output = choice.clone();
            self.settings.change(|settings| settings.output = choice.clone());
            self.request(Request::SetOutput(choice));
        }
    }

    pub(super) fn set_ring(&mut self, pick: Pick) {
        let choice = match pick {
            Pick::OfCalls {} => None,
            Pick::Default {} | Pick::Named { .. } | Pick::File {} => match chosen(pick) {
                Some(choice) => Some(choice),
                None => return,
            },
        };
        self.media.ring = choice.clone();
        self.settings.change(|settings| settings.ring = choice.clone());
        self.request(Request::SetRing(choice));
    }

    pub(super) fn set_processing(&mut self, choice: ProcessingChoice) {
        let ProcessingChoice { echo_cancellation, noise_suppression, gain_control, original_sound } = choice;
        let processing = Processing { echo_cancellation, noise_suppression, gain_control, original_sound };
        self.media.processing = processing;
        self.settings.change(|settings| settings.processing = processing);
        self.request(Request::SetProcessing(processing));
    }
}

fn chosen(pick: Pick) -> Option<DeviceChoice> {
    match pick {
        Pick::Default {} => Some(DeviceChoice::Default),
        Pick::Named { name } => Some(DeviceChoice::Named(name)),
        Pick::OfCalls {} | Pick::File {} => None,
    }
}
