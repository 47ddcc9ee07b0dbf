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
    QualityExcellent {},
    QualityGood {},
    QualityFair {},
    QualityPoor {},
    TroubleLossIn {
        name: String,
    },
    TroubleLossOut {
        name: String,
    },
    TroubleDelay {},
    TroubleJitter {
        name: String,
    },
    CloseEndsCall {},
    CloseLeavesRoom {},

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
