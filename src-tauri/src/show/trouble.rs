//! Why sound is bad, in words: a sentence for each cause on each side, an advice for each action.

use super::Shown;
use crate::sentence::Sentence;
use crate::view_model::{Remedy, Trouble};
use bellwire_client::signaling::Cause;
use bellwire_client::{Action, Blame, Explanation, Figure};

impl Shown<'_> {
    pub(super) fn trouble(&self, why: &Explanation) -> Trouble {
        Trouble { text: cause(why), advice: advice(why.action), remedy: self.remedy(why.action) }
    }

    fn remedy(&self, action: Action) -> Option<Remedy> {
        match action {
            Action::ChooseMicrophone => Some(Remedy::Microphone),
            Action::ChooseSpeaker => Some(Remedy::Speaker),
            Action::AllowMicrophone => self.known.permission_page.then_some(Remedy::Permission),
            Action::CheckMicrophoneSwitch
            | Action::TellThemMicrophone
            | Action::TellThemSpeaker
            | Action::MoveCloserToWifi
            | Action::UseCable
            | Action::CloseOtherPrograms
            | Action::PauseDownloads
            | Action::TellThemNetwork
            | Action::ChangeNetwork
            | Action::WearHeadset
            | Action::AskThemToWearHeadset
            | Action::TheyAreTold
            | Action::Wait
            | Action::SwitchingPath
            | Action::SendingCopies => None,
        }
    }
}

/// As it is read out: without the figure, so that it is not said again when only that changes.
pub(super) fn spoken(why: &Explanation) -> Sentence {
    cause(&Explanation { figure: None, ..*why })
}

/// Whether this person's own devices are the cause, of which the notices speak.
pub(super) fn is_own_device(why: &Explanation) -> bool {
    match (why.cause, why.side) {
        (Cause::MicrophoneSilent | Cause::MicrophoneMissing | Cause::SpeakerMissing, Blame::Here) => true,
        (Cause::MicrophoneSilent | Cause::MicrophoneMissing | Cause::SpeakerMissing, Blame::There | Blame::Between)
        | (
            Cause::NothingComes
            | Cause::NothingGoes
            | Cause::Loss
            | Cause::Delay
            | Cause::Jitter
            | Cause::Narrow
            | Cause::Echo
            | Cause::Overload,
            Blame::Here | Blame::There | Blame::Between,
        ) => false,
    }
}

fn cause(why: &Explanation) -> Sentence {
    use Blame::{Between, Here, There};
    let percent = match why.figure {
        Some(Figure::Percent(percent)) => Some(u32::from(percent)),
        Some(Figure::Milliseconds(_) | Figure::Kilobits(_)) | None => None,
    };
    let ms = match why.figure {
        Some(Figure::Milliseconds(ms)) => Some(u32::from(ms)),
        Some(Figure::Percent(_) | Figure::Kilobits(_)) | None => None,
    };
    match (why.cause, why.side) {
        (Cause::NothingComes, Here) => Sentence::WhyNothingComesHere {},
        (Cause::NothingComes, There) => Sentence::WhyNothingComesThere {},
        (Cause::NothingComes, Between) => Sentence::WhyNothingComes {},
        (Cause::NothingGoes, Here) => Sentence::WhyNothingGoesHere {},
        (Cause::NothingGoes, There) => Sentence::WhyNothingGoesThere {},
        (Cause::NothingGoes, Between) => Sentence::WhyNothingGoes {},
        (Cause::MicrophoneSilent, Here) => Sentence::WhyMicrophoneSilentHere {},
        (Cause::MicrophoneSilent, There) => Sentence::WhyMicrophoneSilentThere {},
        (Cause::MicrophoneSilent, Between) => Sentence::WhyMicrophoneSilent {},
        (Cause::MicrophoneMissing, Here) => Sentence::WhyMicrophoneMissingHere {},
        (Cause::MicrophoneMissing, There) => Sentence::WhyMicrophoneMissingThere {},
        (Cause::MicrophoneMissing, Between) => Sentence::WhyMicrophoneMissing {},
        (Cause::SpeakerMissing, Here) => Sentence::WhySpeakerMissingHere {},
        (Cause::SpeakerMissing, There) => Sentence::WhySpeakerMissingThere {},
        (Cause::SpeakerMissing, Between) => Sentence::WhySpeakerMissing {},
        (Cause::Loss, Here) => Sentence::WhyLossHere { percent },
        (Cause::Loss, There) => Sentence::WhyLossThere { percent },
        (Cause::Loss, Between) => Sentence::WhyLoss { percent },
        (Cause::Delay, Here) => Sentence::WhyDelayHere { ms },
        (Cause::Delay, There) => Sentence::WhyDelayThere { ms },
        (Cause::Delay, Between) => Sentence::WhyDelay { ms },
        (Cause::Jitter, Here) => Sentence::WhyJitterHere {},
        (Cause::Jitter, There) => Sentence::WhyJitterThere {},
        (Cause::Jitter, Between) => Sentence::WhyJitter {},
        (Cause::Narrow, Here) => Sentence::WhyNarrowHere {},
        (Cause::Narrow, There) => Sentence::WhyNarrowThere {},
        (Cause::Narrow, Between) => Sentence::WhyNarrow {},
        (Cause::Echo, Here) => Sentence::WhyEchoHere {},
        (Cause::Echo, There) => Sentence::WhyEchoThere {},
        (Cause::Echo, Between) => Sentence::WhyEcho {},
        (Cause::Overload, Here) => Sentence::WhyOverloadHere {},
        (Cause::Overload, There) => Sentence::WhyOverloadThere {},
        (Cause::Overload, Between) => Sentence::WhyOverload {},
    }
}

fn advice(action: Action) -> Sentence {
    match action {
        Action::CheckMicrophoneSwitch => Sentence::AdviceMicrophoneSwitch {},
        Action::AllowMicrophone => Sentence::AdviceAllowMicrophone {},
        Action::ChooseMicrophone => Sentence::AdviceChooseMicrophone {},
        Action::ChooseSpeaker => Sentence::AdviceChooseSpeaker {},
        Action::TellThemMicrophone => Sentence::AdviceTellMicrophone {},
        Action::TellThemSpeaker => Sentence::AdviceTellSpeaker {},
        Action::MoveCloserToWifi => Sentence::AdviceWifi {},
        Action::UseCable => Sentence::AdviceCable {},
        Action::CloseOtherPrograms => Sentence::AdviceClosePrograms {},
        Action::PauseDownloads => Sentence::AdvicePauseDownloads {},
        Action::TellThemNetwork => Sentence::AdviceTellNetwork {},
        Action::ChangeNetwork => Sentence::AdviceChangeNetwork {},
        Action::WearHeadset => Sentence::AdviceHeadset {},
        Action::AskThemToWearHeadset => Sentence::AdviceTheirHeadset {},
        Action::TheyAreTold => Sentence::AdviceTheyAreTold {},
        Action::Wait => Sentence::AdviceWait {},
        Action::SwitchingPath => Sentence::AdviceSwitchingPath {},
        Action::SendingCopies => Sentence::AdviceSendingCopies {},
    }
}
