//! Microphone and speaker: their check, their choice, and what is wrong with them.

use super::{Shown, bare, button, notice, plain};
use crate::sentence::Sentence;
use crate::view_model::*;
use bellwire_client::{DeviceChoice, DeviceFault, DeviceKind, DeviceState};

impl Shown<'_> {
    pub(super) fn check(&self) -> View {
        let (verdict, mood) = self.verdict();
        let relay_only = self.snapshot.relay_only;
        let screen = Screen::Check(Check { verdict: verdict.clone(), mood, speaker: self.speaker_line(), relay_only });
        let actions = vec![
            button(Press::TestSound, Sentence::DoTestSound {}),
            self.start_check().enabled(self.linked()),
            button(Press::CheckDone, Sentence::DoCheckDone {}).primary(Color::Accent),
        ];
        View { sound: Some(self.sound()), ..bare(screen, Some(verdict), actions) }
    }

    fn verdict(&self) -> (Sentence, Mood) {
        match &self.snapshot.input {
            DeviceState::Missing { why } => {
                let text = match why {
                    DeviceFault::NoDevice => Sentence::CheckNoMicrophone {},
                    DeviceFault::PermissionRefused => Sentence::CheckPermission {},
                    DeviceFault::InUse => Sentence::CheckInUse {},
                    DeviceFault::File(why) => Sentence::FileFault { why: plain(why) },
                    DeviceFault::Other(why) => Sentence::CheckFault { why: plain(why) },
                };
                (text, Mood::Bad)
            }
            DeviceState::Open { silent: true, .. } => (Sentence::CheckSilent {}, Mood::Bad),
            DeviceState::Open { silent: false, .. } if self.known.heard.speech() => {
                (Sentence::CheckHeard {}, Mood::Good)
            }
            DeviceState::Open { silent: false, .. } | DeviceState::Closed => (Sentence::CheckListening {}, Mood::Calm),
        }
    }

    fn speaker_line(&self) -> Sentence {
        match &self.snapshot.output {
            DeviceState::Missing { why } => match why {
                DeviceFault::NoDevice | DeviceFault::PermissionRefused => Sentence::SpeakerNone {},
                DeviceFault::InUse => Sentence::SpeakerInUse {},
                DeviceFault::File(why) => Sentence::FileFault { why: plain(why) },
                DeviceFault::Other(why) => Sentence::SpeakerFault { why: plain(why) },
            },
            DeviceState::Open { .. } | DeviceState::Closed if self.known.sound_played => Sentence::SpeakerPlaying {},
            DeviceState::Open { .. } | DeviceState::Closed => Sentence::SpeakerTry {},
        }
    }

    pub(super) fn sound(&self) -> Sound {
        let processing = &self.snapshot.processing;
        Sound {
            inputs: self.options(DeviceKind::Input, &self.snapshot.input_choice),
            outputs: self.options(DeviceKind::Output, &self.snapshot.output_choice),
            echo_cancellation: processing.echo_cancellation,
            noise_suppression: processing.noise_suppression,
            gain_control: processing.gain_control,
            original_sound: processing.original_sound,
        }
    }

    /// The system's default, what there is, and what was chosen though it is not there.
    fn options(&self, kind: DeviceKind, choice: &DeviceChoice) -> Vec<DeviceOption> {
        let listed = self.known.devices.as_ref().and_then(|devices| devices.as_ref().ok());
        let mut names: Vec<&str> = Vec::new();
        let there =
            listed.into_iter().flatten().filter(|device| device.kind == kind).map(|device| device.name.as_str());
        let chosen = match choice {
            DeviceChoice::Named(name) => Some(name.as_str()),
            DeviceChoice::Default | DeviceChoice::Wav(_) => None,
        };
        for name in there.chain(chosen) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let default = DeviceOption {
            pick: Pick::Default {},
            label: Sentence::DeviceDefault {},
            chosen: *choice == DeviceChoice::Default,
        };
        let named = names.into_iter().map(|name| DeviceOption {
            pick: Pick::Named { name: name.to_owned() },
            label: Sentence::DeviceNamed { device: plain(name) },
            chosen: chosen == Some(name),
        });
        let file = matches!(choice, DeviceChoice::Wav(_)).then_some(DeviceOption {
            pick: Pick::File {},
            label: Sentence::DeviceFile {},
            chosen: true,
        });
        std::iter::once(default).chain(named).chain(file).collect()
    }

    /// What is wrong with the devices of a call, or which other is in use.
    pub(super) fn device_notices(&self) -> Vec<Notice> {
        let Some(muted) = self.known.muted() else {
            let checking = self.known.checking && self.snapshot.call.is_none();
            // The verdict says what is wrong; here is the way to the system's page.
            let permission = self.microphone_notice(false).filter(|notice| checking && notice.settings);
            let unlisted = checking && matches!(self.known.devices, Some(Err(_)));
            let unlisted = unlisted.then(|| notice(Mood::Calm, Sentence::DevicesUnknown {}));
            return permission.into_iter().chain(unlisted).collect();
        };
        let microphone = self.microphone_notice(muted);
        microphone.into_iter().chain(self.speaker_notice()).collect()
    }

    fn microphone_notice(&self, muted: bool) -> Option<Notice> {
        let (mood, text, permission) = match &self.snapshot.input {
            DeviceState::Closed | DeviceState::Open { fallback: false, silent: false, .. } => return None,
            DeviceState::Open { silent: true, .. } if muted => return None,
            DeviceState::Open { silent: true, .. } => (Mood::Bad, Sentence::MicrophoneSilent {}, true),
            DeviceState::Open { fallback: true, name, .. } => {
                (Mood::Calm, Sentence::MicrophoneFallback { device: plain(name) }, false)
            }
            DeviceState::Missing { why } => {
                let (text, permission) = match why {
                    DeviceFault::NoDevice if self.known.microphone_was_open => {
                        (Sentence::MicrophoneUnplugged {}, false)
                    }
                    DeviceFault::NoDevice => (Sentence::MicrophoneMissing {}, false),
                    DeviceFault::PermissionRefused => (Sentence::MicrophonePermission {}, true),
                    DeviceFault::InUse => (Sentence::MicrophoneInUse {}, false),
                    DeviceFault::File(why) => (Sentence::FileFault { why: plain(why) }, false),
                    DeviceFault::Other(why) => (Sentence::MicrophoneFault { why: plain(why) }, false),
                };
                (Mood::Bad, text, permission)
            }
        };
        Some(Notice { mood, text, settings: permission && self.known.permission_page })
    }

    fn speaker_notice(&self) -> Option<Notice> {
        match &self.snapshot.output {
            DeviceState::Closed | DeviceState::Open { fallback: false, .. } => None,
            DeviceState::Open { fallback: true, name, .. } => {
                Some(notice(Mood::Calm, Sentence::SpeakerFallback { device: plain(name) }))
            }
            DeviceState::Missing { why } => {
                let text = match why {
                    DeviceFault::NoDevice | DeviceFault::PermissionRefused => Sentence::SpeakerMissing {},
                    DeviceFault::InUse => Sentence::SpeakerBusy {},
                    DeviceFault::File(why) => Sentence::FileFault { why: plain(why) },
                    DeviceFault::Other(why) => Sentence::SpeakerBroken { why: plain(why) },
                };
                Some(notice(Mood::Bad, text))
            }
        }
    }
}
