//! The ids of all that the app says, with what each speaks of. The words stand in `ui/messages.en.js`, one entry for each
//! id; a test compares the two.

use serde::Serialize;
use ts_rs::TS;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, TS)]
#[serde(tag = "id", rename_all = "snake_case")]
pub enum Sentence {
    // signing in
    SigningIn {},
    LinkNotALink {},
    LinkNotBellwire {},
    LinkIncomplete {},
    LinkBadServer {},
    LinkWaits {},
    ServerAddressBad {},
    NoPeople {},
    TokenExpired {},
    TokenNotYetValid {},
    TokenRefused {},
    Replaced {},
    VersionUnsupported {},
    RoleClient {},
    RoleProvider {},

    // the server
    ServerUnreachable {
        retry_s: Option<u32>,
    },
    ServerCertificate {
        retry_s: Option<u32>,
    },
    ServerNotBellwire {
        retry_s: Option<u32>,
    },
    ServerSilent {
        retry_s: Option<u32>,
    },
    ServerBusy {
        retry_s: Option<u32>,
    },
    ServerRefused {
        retry_s: Option<u32>,
    },
    /// In a call: the sound goes on.
    ServerLostInCall {},
    /// In a call that has no sound of its own yet.
    ServerLostBeforeCall {},
    ServerLostInRoom {},

    // what was refused
    RefusedTooEarly {},
    RefusedTooLate {},
    RefusedBookingCancelled {},
    RefusedNotFound {},
    RefusedInAnotherCall {},
    RefusedOnAnotherDevice {},
    RefusedRateLimited {
        retry_s: Option<u32>,
    },
    RefusedRoomFull {},
    RefusedInRoom {},
    RefusedAlreadySearching {},
    RefusedTooLong {},
    RefusedUnavailable {},
    RefusedOutOfDate {},
    RefusedFault {},

    // bookings
    NoBookings {},

    WindowOpensIn {
        seconds: u32,
    },
    WindowOpensAt {
        at: u64,
    },
    WindowOpenUntil {
        at: u64,
    },
    WindowOver {
        name: String,
    },
    BookingCancelled {
        name: String,
    },
    BookingDone {},
    BookingMissedByYou {},
    BookingMissedByPeer {
        name: String,
    },
    PeerHere {
        name: String,
    },
    PeerInAnotherCall {
        name: String,
    },
    PeerAwaySince {
        name: String,
        at: u64,
    },
    PeerAway {
        name: String,
    },
    PeerReady {
        name: String,
    },
    PeerHasProblem {
        name: String,
    },
    YouReady {},
    YouHaveProblem {},

    // checking the sound
    CheckListening {},
    CheckHeard {},
    CheckSilent {},
    CheckNoMicrophone {},
    CheckPermission {},
    CheckInUse {},
    CheckFault {
        why: String,
    },
    SpeakerTry {},
    SpeakerPlaying {},
    SpeakerNone {},
    SpeakerInUse {},
    SpeakerFault {
        why: String,
    },

    // checking sound and network
    TrialBegins {},
    TrialDevices {},
    TrialDirect {},
    TrialRelay {},
    TrialSpeak {},
    TrialListen {},
    TrialBroke {},
    TrialReady {},
    TrialRemarks {
        count: u32,
    },
    TrialProblems {
        count: u32,
    },
    StepDevices {},
    StepDirect {},
    StepRelay {},
    StepSpeak {},
    StepListen {},
    StepWaits {},
    StepNow {},
    StepDone {},
    FaultNoNetwork {},
    FaultNoMicrophone {},
    FaultMicrophoneRefused {},
    FaultMicrophoneInUse {},
    FaultMicrophoneSilent {},
    FaultNoSpeaker {},
    FaultNoVoice {},
    FaultTooQuiet {},
    FaultClipping {},
    FaultEcho {},
    FaultLoss {
        percent: Option<u32>,
    },
    FaultDelay {
        ms: Option<u32>,
    },
    FaultJitter {},
    FaultUdpBlocked {},
    FaultNoisy {},
    FaultOnlyRelay {},
    FaultNotTested {},
    FixNetwork {},
    FixNoMicrophone {},
    FixMicrophoneRefused {},
    FixMicrophoneInUse {},
    FixMicrophoneSilent {},
    FixNoSpeaker {},
    FixTooQuiet {},
    FixClipping {},
    FixEcho {},
    FixLoss {},
    FixJitter {},
    FixUdpBlocked {},
    FixNoisy {},
    FixOnlyRelay {},
    FixNotTested {},
    PathReached {
        ms: Option<u32>,
        percent: u32,
    },
    PathNotReached {},

    // calling
    CallingPeer {
        name: String,
    },
    PeerRings {
        name: String,
    },
    CallFrom {
        name: String,
    },
    CallConnecting {
        name: String,
    },
    InCallWith {
        name: String,
    },
    ReasonInTwoMinutes {},
    ReasonWrongTime {},
    ReasonUnwell {},

    // talking
    RemainingTime {
        seconds: u32,
    },
    OverTime {
        seconds: u32,
    },
    YouAreMuted {},
    YouTalkWhileHeld {},
    PeerMuted {
        name: String,
    },
    BothMuted {
        name: String,
    },
    SoundLost {
        name: String,
    },
    SoundLostOtherWay {
        name: String,
    },
    QualityExcellent {},
    QualityGood {},
    QualityFair {},
    QualityPoor {},
    CloseEndsCall {},
    CloseLeavesRoom {},

    // why sound is bad: on this side, on the other one, or on the way
    WhyNothingComesHere {},
    WhyNothingComesThere {},
    WhyNothingComes {},
    WhyNothingGoesHere {},
    WhyNothingGoesThere {},
    WhyNothingGoes {},
    WhyMicrophoneSilentHere {},
    WhyMicrophoneSilentThere {},
    WhyMicrophoneSilent {},
    WhyMicrophoneMissingHere {},
    WhyMicrophoneMissingThere {},
    WhyMicrophoneMissing {},
    WhySpeakerMissingHere {},
    WhySpeakerMissingThere {},
    WhySpeakerMissing {},
    WhyLossHere {
        percent: Option<u32>,
    },
    WhyLossThere {
        percent: Option<u32>,
    },
    WhyLoss {
        percent: Option<u32>,
    },
    WhyDelayHere {
        ms: Option<u32>,
    },
    WhyDelayThere {
        ms: Option<u32>,
    },
    WhyDelay {
        ms: Option<u32>,
    },
    WhyJitterHere {},
    WhyJitterThere {},
    WhyJitter {},
    WhyNarrowHere {},
    WhyNarrowThere {},
    WhyNarrow {},
    WhyEchoHere {},
    WhyEchoThere {},
    WhyEcho {},
    WhyOverloadHere {},
    WhyOverloadThere {},
    WhyOverload {},

    // what to do about it
    AdviceMicrophoneSwitch {},
    AdviceAllowMicrophone {},
    AdviceChooseMicrophone {},
    AdviceChooseSpeaker {},
    AdviceTellMicrophone {},
    AdviceTellSpeaker {},
    AdviceWifi {},
    AdviceCable {},
    AdviceClosePrograms {},
    AdvicePauseDownloads {},
    AdviceTellNetwork {},
    AdviceChangeNetwork {},
    AdviceHeadset {},
    AdviceTheirHeadset {},
    AdviceWait {},
    AdviceSwitchingPath {},
    AdviceSendingTwice {},

    // the queue for the next partner
    QueuePlace {
        place: u32,
    },
    Matched {
        name: String,
    },
    TalkWith {
        name: String,
    },
    PartedByYou {
        name: String,
    },
    PartedLeft {
        name: String,
    },
    PartedSkipped {
        name: String,
    },
    PartedLost {
        name: String,
    },
    PartedBlocked {
        name: String,
    },
    PartedReplaced {},
    PartedClosed {
        name: String,
    },
    BlockOpen {
        name: String,
    },
    BlockWhat {
        name: String,
    },
    DoBlock {
        name: String,
    },
    ComplaintAbusive {},
    ComplaintUnsafe {},
    ComplaintSpam {},
    ComplaintOther {},
    Reported {},

    // rooms
    EnteringRoom {},
    RoomRefused {},
    RoomFull {},
    InRoom {
        topic: String,
    },
    RoomEmpty {},
    RoomLocked {},
    RoomUnlocked {},
    MemberYou {},
    MemberHost {},
    MemberMuted {},
    MemberConnecting {},
    MemberNotHeard {},
    MemberAway {},
    MemberCame {
        name: String,
    },
    MemberWent {
        name: String,
    },
    RemoveOpen {
        name: String,
    },
    RemoveWhat {
        name: String,
    },
    DoRemove {
        name: String,
    },
    RoomOverLeft {},
    RoomOverRemoved {},
    RoomOverLost {},
    RoomOverReplaced {},
    RoomOverClosed {},
    AcceptLeavesRoom {},

    // text beside the voice
    TextByYou {},
    TextBy {
        name: String,
    },
    TextDelivered {},
    TextUndelivered {},
    TextEmpty {},
    TextConnecting {},
    TextNoChannel {
        name: String,
    },
    TextNobodyHere {},
    TextUnread {
        name: String,
        others: u32,
    },
    TextCame {
        name: String,
    },
    KeepNeither {
        name: String,
    },
    KeepYours {
        name: String,
    },
    KeepTheirs {
        name: String,
    },
    KeepBoth {},

    // figures
    FigureRoundTrip {},
    FigureLossIn {},
    FigureLossOut {},
    FigureJitterIn {},
    FigureJitterOut {},
    FigureConcealed {},
    FigureBuffer {},
    FigureBitrateIn {},
    FigureBitrateOut {},
    FigureMos {},
    FigurePath {},
    FigureNetwork {},
    FigureCandidates {},
    /// As it is measured.
    Amount {
        text: String,
    },
    PathDirect {},
    PathRelayUdp {},
    PathRelayTcp {},
    PathRelayTls {},
    /// It is the other one's relay.
    PathRelayTheirs {},
    NetworkIpv6 {},
    NetworkIpv4 {},

    // after a call
    EndedByYou {},
    EndedByPeer {
        name: String,
    },
    EndedHungUp {},
    EndedCancelledByYou {},
    EndedCancelledByPeer {
        name: String,
    },
    EndedDeclinedByYou {},
    EndedDeclined {
        name: String,
    },
    EndedDeclinedInTwoMinutes {
        name: String,
    },
    EndedDeclinedWrongTime {
        name: String,
    },
    EndedDeclinedUnwell {
        name: String,
    },
    EndedNoAnswer {
        name: String,
    },
    EndedMissed {
        name: String,
    },
    EndedBusy {
        name: String,
    },
    EndedWhileYouWereBusy {
        name: String,
    },
    EndedMediaFailed {},
    EndedMediaLost {},
    EndedBookingCancelled {},
    CallQualityGood {},
    CallQualityFair {},
    CallQualityPoor {},
    ReportSaved {
        path: String,
    },
    ReportFailed {
        why: String,
    },
    AnsweredElsewhere {
        name: String,
    },

    // the history
    PastCalledYou {},
    PastYouCalled {},
    PastMissed {},
    PastNoAnswer {},
    PastDeclinedByYou {},
    PastDeclinedByPeer {},
    PastCancelled {},
    PastBusy {},
    PastFailed {},
    PastSoundGood {},
    PastSoundFair {},
    PastSoundPoor {},
    PastSoundLost {
        times: u32,
        seconds: u32,
    },
    PastLossIn {},
    PastLossOut {},
    PastDelay {},
    PastJitter {},
    PastNarrow {},
    PastNothingCame {},
    PastNothingWent {},
    PastMicrophoneSilent {},
    PastMicrophoneMissing {},
    PastSpeakerMissing {},
    PastEcho {},
    PastOverload {},

    // devices
    MicrophoneMissing {},
    MicrophoneUnplugged {},
    MicrophonePermission {},
    MicrophoneInUse {},
    MicrophoneSilent {},
    MicrophoneFault {
        why: String,
    },
    FileFault {
        why: String,
    },
    MicrophoneFallback {
        device: String,
    },
    SpeakerMissing {},
    SpeakerBusy {},
    SpeakerBroken {
        why: String,
    },
    SpeakerFallback {
        device: String,
    },
    DevicesUnknown {},
    DeviceDefault {},
    DeviceNamed {
        device: String,
    },
    DeviceFile {},

    // buttons
    DoSignIn {},
    DoStopSigningIn {},
    DoCall {
        name: String,
    },
    DoCheck {},
    DoCheckDone {},
    DoTestSound {},
    DoStartCheck {},
    DoCheckAgain {},
    DoStopCheck {},
    DoCheckOver {},
    DoCancel {},
    DoAccept {},
    DoDecline {},
    DoMute {},
    DoHangUp {},
    DoCallAgain {},
    DoDismiss {},
    DoSearch {},
    DoStopSearching {},
    DoNextPerson {},
    DoFindNext {},
    DoBack {},
    DoLeave {},
    DoEnterAgain {},
    DoTryAgain {},
    DoText {
        unread: u32,
    },
}
