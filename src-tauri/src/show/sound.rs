//! Microphone and speaker: their check, their choice, and what is wrong with them.

use super::{Shown, bare, button, notice, plain};
use crate::sentence::Sentence;
use crate::view_model::*;
use bellwire_client::{DeviceChoice, DeviceFault, DeviceKind, DeviceState};
use std::time::Duration;

/// The engine says it again at most each 10 s.
const SPOKEN_MUTED_SHOWN: Duration = Duration::from_secs(5);

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
            DeviceState::Open { silent: false, .. } | DeviceState::Closed | DeviceState::Held { .. } => {
                (Sentence::CheckListening {}, Mood::Calm)
            }
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
            DeviceState::Held { .. } => Sentence::SpeakerHeld {},
            DeviceState::Open { .. } | DeviceState::Closed if self.known.sound_played => Sentence::SpeakerPlaying {},
            DeviceState::Open { .. } | DeviceState::Closed => Sentence::SpeakerTry {},
        }
    }

    pub(super) fn sound(&self) -> Sound {
        let processing = &self.snapshot.processing;
        Sound {
            inputs: self.options(DeviceKind::Input, &self.snapshot.input_choice),
            outputs: self.options(DeviceKind::Output, &self.snapshot.output_choice),
            rings: self.ring_options(),
            echo_cancellation: processing.echo_cancellation,
            noise_suppression: processing.noise_suppression,
            gain_control: processing.gain_control,
            original_sound: processing.original_sound,
        }
    }

    /// The speaker of calls is the first choice; a speaker of its own that is gone stays in the list.
    fn ring_options(&self) -> Vec<DeviceOption> {
        let choice = self.snapshot.ring_choice.as_ref();
        let of_calls =
            DeviceOption { pick: Pick::OfCalls {}, label: Sentence::DeviceOfCalls {}, chosen: choice.is_none() };
        let others = self.options(DeviceKind::Output, choice.unwrap_or(&DeviceChoice::Default));
        let others =
            others.into_iter().map(|option| DeviceOption { chosen: option.chosen && choice.is_some(), ..option });
        std::iter::once(of_calls).chain(others).collect()
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
            let permission = self.microphone_notice(false).filter(|notice| checking && notice.offer.is_some());
            let unlisted = checking && matches!(self.known.devices, Some(Err(_)));
            let unlisted = unlisted.then(|| notice(Mood::Calm, Sentence::DevicesUnknown {}));
            return permission.into_iter().chain(unlisted).collect();
        };
        let microphone = self.microphone_notice(muted);
        let news = self.device_news().map(|text| notice(Mood::Calm, text));
        microphone.into_iter().chain(self.speaker_notice()).chain(news).collect()
    }

    /// What became of the devices a moment ago.
    pub(super) fn device_news(&self) -> impl Iterator<Item = Sentence> {
        let muted = self.known.muted();
        let fresh = self.known.devices_seen.news(self.now.at).filter(move |news| match news.kind {
            DeviceKind::Input => muted.is_some_and(|muted| self.microphone_notice(muted).is_none()),
            DeviceKind::Output => muted.is_some() && self.speaker_notice().is_none(),
        });
        fresh.map(|news| {
            let device = plain(news.device);
            match (news.kind, news.back) {
                (DeviceKind::Input, false) => Sentence::MicrophoneNow { device },
                (DeviceKind::Input, true) => Sentence::MicrophoneBack { device },
                (DeviceKind::Output, false) => Sentence::SpeakerNow { device },
                (DeviceKind::Output, true) => Sentence::SpeakerBack { device },
            }
        })
    }

    /// This person speaks, and nobody hears it.
    pub(super) fn muted_notice(&self) -> Option<Notice> {
        let spoke_at = self.known.spoke_muted_at.filter(|_| self.known.muted() == Some(true))?;
        let now = self.now.at.saturating_duration_since(spoke_at) < SPOKEN_MUTED_SHOWN;
        let offer = Offer { act: OfferAct::Unmute, label: Sentence::DoUnmute {} };
        now.then_some(Notice { mood: Mood::Warning, text: Sentence::YouSpeakMuted {}, offer: Some(offer) })
    }

    fn microphone_notice(&self, muted: bool) -> Option<Notice> {
        let (mood, text, permission) = match &self.snapshot.input {
            DeviceState::Closed
            | DeviceState::Held { .. }
            | DeviceState::Open { fallback: false, silent: false, .. } => return None,
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
        let offered = permission && self.known.permission_page;
        let offer = offered.then_some(Offer { act: OfferAct::OpenSettings, label: Sentence::DoOpenSettings {} });
        Some(Notice { mood, text, offer })
    }

    fn speaker_notice(&self) -> Option<Notice> {
        match &self.snapshot.output {
            DeviceState::Closed | DeviceState::Open { fallback: false, .. } => None,
            DeviceState::Open { fallback: true, name, .. } => {
                Some(notice(Mood::Calm, Sentence::SpeakerFallback { device: plain(name) }))
            }
            DeviceState::Held { name } => {
                let label = Sentence::DoPlayOn { device: plain(name) };
                let offer = Some(Offer { act: OfferAct::PlayAloud, label });
                Some(Notice { mood: Mood::Warning, text: Sentence::SpeakerHeld {}, offer })
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
