// Made from src-tauri/src/view_model.rs and sentence.rs; see src-tauri/src/generated.rs.

export type Action = { press: Press, label: Sentence, color: Color, primary: boolean, enabled: boolean, 
/**
 * The booking to call.
 */
booking: string | null, 
/**
 * Of a button that stays pressed.
 */
pressed: boolean | null, };

export type Because = "not_now" | "in_two_minutes" | "wrong_time" | "unwell";

export type Calling = { peer: Peer, topic: string, line: Sentence, };

export type Card = { booking: string, peer: Peer, topic: string, starts_at: number, ends_at: number, 
/**
 * Where its join window stands: opens in, open, over, cancelled.
 */
window: Sentence, open: boolean, 
/**
 * Whether the other one is there; only where it matters.
 */
presence: Presence | null, 
/**
 * What the other one's app found; no details.
 */
readiness: Sentence | null, 
/**
 * What this one found by itself.
 */
own_check: OwnCheck | null, 
/**
 * It has a call button of its own.
 */
call: boolean, };

export type Check = { verdict: Sentence, mood: Mood, 
/**
 * What to do about the speaker.
 */
speaker: Sentence, 
/**
 * Calls go by the relay alone, so that the other person does not learn this machine's address.
 */
relay_only: boolean, };

export type Color = "accent" | "green" | "red" | "plain";

export type Complaint = "abusive" | "unsafe" | "spam" | "other";

export type ComplaintChoice = { complaint: Complaint, text: Sentence, };

export type Confirm = { open: Sentence, what: Sentence, act: Sentence, };

export type Connecting = { peer: Peer, line: Sentence, trouble: Trouble | null, };

export type Conversation = { peer: Peer, 
/**
 * Nothing before the other one is heard.
 */
elapsed_s: number | null, 
/**
 * What to know about the sound, while the other one is not heard.
 */
line: Sentence | null, mute_line: Sentence | null, 
/**
 * Blocking and reporting; not before it is known who the other one is.
 */
partner: PartnerMenu | null, };

export type DeviceOption = { pick: Pick, label: Sentence, chosen: boolean, };

export type Door = { line: Sentence, 
/**
 * The server has not answered yet.
 */
busy: boolean, };

export type Elsewhere = { peer: Peer, line: Sentence, };

export type Ended = { peer: Peer, topic: string, reason: Sentence, 
/**
 * The reason as the server stores it, the same on both sides.
 */
code: string, 
/**
 * Nothing if the two were never connected.
 */
duration_s: number | null, quality: Sentence | null, };

export type Fault = { what: Sentence, fix: Sentence, };

export type Figure = { label: Sentence, value: Sentence, };

export type Home = { next: Card | null, 
/**
 * Instead of a next booking: what to do.
 */
empty: Sentence | null, later: Array<Card>, history: Array<Past>, 
/**
 * There may be more.
 */
more_history: boolean, };

export type Incoming = { peer: Peer, topic: string, starts_at: number | null, 
/**
 * Why one may decline, beside "not now".
 */
reasons: Array<Reason>, 
/**
 * What accepting ends.
 */
leaves: Sentence | null, };

export type KeepText = { on: boolean, line: Sentence, };

export type Level = { input: number, output: number, };

export type Member = { 
/**
 * Their handle in this room; empty for this person.
 */
member: string, own: boolean, peer: Peer, 
/**
 * What to know about them, most important first.
 */
tags: Array<Sentence>, speaking: boolean, 
/**
 * Hosts can take them out of the room.
 */
remove: Confirm | null, };

export type Mood = "calm" | "good" | "warning" | "bad";

export type Notice = { mood: Mood, text: Sentence, 
/**
 * The one thing that helps.
 */
offer: Offer | null, };

export type Offer = { act: OfferAct, label: Sentence, };

export type OfferAct = "open-settings" | "unmute" | "play-aloud";

export type OwnCheck = { text: Sentence, 
/**
 * What was found first; there is more to look at.
 */
fault: Sentence | null, };

export type Parted = { peer: Peer, what: Sentence, 
/**
 * Why, as the server says it.
 */
code: string, partner: PartnerMenu | null, };

export type PartnerMenu = { block: Confirm | null, 
/**
 * Instead of the complaints.
 */
reported: Sentence | null, complaints: Array<ComplaintChoice>, };

export type Past = { call: string, peer: Peer, topic: string, at: number, what: Sentence, missed: boolean, duration_s: number | null, 
/**
 * How it sounded here.
 */
quality: Sentence | null, 
/**
 * The text that both wanted kept.
 */
text: Array<TextLine>, };

export type PathTried = { label: Sentence, result: Sentence, };

export type Peer = { name: string, 
/**
 * One or two letters.
 */
initials: string, };

export type Person = { name: string, role: Sentence, };

export type Pick = { "kind": "default", } | { "kind": "named", name: string, } | { "kind": "of_calls", } | { "kind": "file", };

export type Presence = { here: boolean, text: Sentence, };

export type Press = "sign-in" | "cancel-sign-in" | "call" | "check" | "check-done" | "test-sound" | "start-check" | "stop-check" | "cancel" | "accept" | "decline" | "mute" | "hang-up" | "call-again" | "dismiss" | "search" | "stop-searching" | "next-person" | "find-next" | "back" | "leave" | "enter-room" | "turn-back" | "text";

export type ProcessingChoice = { echo_cancellation: boolean, noise_suppression: "off" | "standard" | "strong", gain_control: boolean, original_sound: boolean, };

export type Queue = { place: Sentence, since: number, };

export type Reason = { because: Because, text: Sentence, };

export type Remedy = "microphone" | "speaker" | "permission";

export type ReportPart = { 
/**
 * Where it is, or why it is nowhere.
 */
saved: Sentence | null, };

export type Room = { topic: string, elapsed_s: number, 
/**
 * Instead of other members.
 */
empty: Sentence | null, 
/**
 * This person first, then the others in the order in which they came.
 */
members: Array<Member>, mute_line: Sentence | null, 
/**
 * Who may enter, where that is worth saying.
 */
door: Sentence | null, 
/**
 * Hosts only: the room can be locked (`false`) or unlocked (`true`).
 */
locked: boolean | null, };

export type RoomOver = { topic: string, reason: Sentence, 
/**
 * Why, as the server says it.
 */
code: string, };

export type Screen = { "name": "sign-in" } & SignIn | { "name": "home" } & Home | { "name": "check" } & Check | { "name": "trial" } & Trial | { "name": "calling" } & Calling | { "name": "incoming" } & Incoming | { "name": "connecting" } & Connecting | { "name": "in-call" } & Talk | { "name": "reconnecting" } & Talk | { "name": "elsewhere" } & Elsewhere | { "name": "ended" } & Ended | { "name": "queue" } & Queue | { "name": "match" } & Conversation | { "name": "match-over" } & Parted | { "name": "door" } & Door | { "name": "room" } & Room | { "name": "room-over" } & RoomOver;

export type Sentence = { "id": "signing_in", } | { "id": "link_not_a_link", } | { "id": "link_not_bellwire", } | { "id": "link_incomplete", } | { "id": "link_bad_server", } | { "id": "link_waits", } | { "id": "server_address_bad", } | { "id": "no_people", } | { "id": "token_expired", } | { "id": "token_not_yet_valid", } | { "id": "token_refused", } | { "id": "replaced", } | { "id": "version_unsupported", } | { "id": "role_client", } | { "id": "role_provider", } | { "id": "server_unreachable", retry_s: number | null, } | { "id": "server_certificate", retry_s: number | null, } | { "id": "server_not_bellwire", retry_s: number | null, } | { "id": "server_silent", retry_s: number | null, } | { "id": "server_busy", retry_s: number | null, } | { "id": "server_refused", retry_s: number | null, } | { "id": "server_lost_in_call", } | { "id": "server_lost_before_call", } | { "id": "server_lost_in_room", } | { "id": "refused_too_early", } | { "id": "refused_too_late", } | { "id": "refused_booking_cancelled", } | { "id": "refused_not_found", } | { "id": "refused_in_another_call", } | { "id": "refused_on_another_device", } | { "id": "refused_rate_limited", retry_s: number | null, } | { "id": "refused_room_full", } | { "id": "refused_in_room", } | { "id": "refused_already_searching", } | { "id": "refused_too_long", } | { "id": "refused_unavailable", } | { "id": "refused_out_of_date", } | { "id": "refused_fault", } | { "id": "no_bookings", } | { "id": "window_opens_in", seconds: number, } | { "id": "window_opens_at", at: number, } | { "id": "window_open_until", at: number, } | { "id": "window_over", name: string, } | { "id": "booking_cancelled", name: string, } | { "id": "booking_done", } | { "id": "booking_missed_by_you", } | { "id": "booking_missed_by_peer", name: string, } | { "id": "peer_here", name: string, } | { "id": "peer_in_another_call", name: string, } | { "id": "peer_away_since", name: string, at: number, } | { "id": "peer_away", name: string, } | { "id": "peer_ready", name: string, } | { "id": "peer_has_problem", name: string, } | { "id": "you_ready", } | { "id": "you_have_problem", } | { "id": "check_listening", } | { "id": "check_heard", } | { "id": "check_silent", } | { "id": "check_no_microphone", } | { "id": "check_permission", } | { "id": "check_in_use", } | { "id": "check_fault", why: string, } | { "id": "speaker_try", } | { "id": "speaker_playing", } | { "id": "speaker_none", } | { "id": "speaker_in_use", } | { "id": "speaker_fault", why: string, } | { "id": "trial_begins", } | { "id": "trial_devices", } | { "id": "trial_direct", } | { "id": "trial_relay", } | { "id": "trial_speak", } | { "id": "trial_listen", } | { "id": "trial_broke", } | { "id": "trial_ready", } | { "id": "trial_remarks", count: number, } | { "id": "trial_problems", count: number, } | { "id": "step_devices", } | { "id": "step_direct", } | { "id": "step_relay", } | { "id": "step_speak", } | { "id": "step_listen", } | { "id": "step_waits", } | { "id": "step_now", } | { "id": "step_done", } | { "id": "fault_no_network", } | { "id": "fault_no_microphone", } | { "id": "fault_microphone_refused", } | { "id": "fault_microphone_in_use", } | { "id": "fault_microphone_silent", } | { "id": "fault_no_speaker", } | { "id": "fault_no_voice", } | { "id": "fault_too_quiet", } | { "id": "fault_clipping", } | { "id": "fault_echo", } | { "id": "fault_loss", percent: number | null, } | { "id": "fault_delay", ms: number | null, } | { "id": "fault_jitter", } | { "id": "fault_udp_blocked", } | { "id": "fault_noisy", } | { "id": "fault_only_relay", } | { "id": "fault_not_tested", } | { "id": "fix_network", } | { "id": "fix_no_microphone", } | { "id": "fix_microphone_refused", } | { "id": "fix_microphone_in_use", } | { "id": "fix_microphone_silent", } | { "id": "fix_no_speaker", } | { "id": "fix_too_quiet", } | { "id": "fix_clipping", } | { "id": "fix_echo", } | { "id": "fix_loss", } | { "id": "fix_jitter", } | { "id": "fix_udp_blocked", } | { "id": "fix_noisy", } | { "id": "fix_only_relay", } | { "id": "fix_not_tested", } | { "id": "path_reached", ms: number | null, percent: number, } | { "id": "path_not_reached", } | { "id": "calling_peer", name: string, } | { "id": "peer_rings", name: string, } | { "id": "call_from", name: string, } | { "id": "call_connecting", name: string, } | { "id": "in_call_with", name: string, } | { "id": "reason_in_two_minutes", } | { "id": "reason_wrong_time", } | { "id": "reason_unwell", } | { "id": "remaining_time", seconds: number, } | { "id": "over_time", seconds: number, } | { "id": "you_are_muted", } | { "id": "you_talk_while_held", } | { "id": "you_speak_muted", } | { "id": "peer_muted", name: string, } | { "id": "both_muted", name: string, } | { "id": "sound_lost", name: string, } | { "id": "sound_lost_other_way", name: string, } | { "id": "quality_excellent", } | { "id": "quality_good", } | { "id": "quality_fair", } | { "id": "quality_poor", } | { "id": "close_ends_call", } | { "id": "close_leaves_room", } | { "id": "why_nothing_comes_here", } | { "id": "why_nothing_comes_there", } | { "id": "why_nothing_comes", } | { "id": "why_nothing_goes_here", } | { "id": "why_nothing_goes_there", } | { "id": "why_nothing_goes", } | { "id": "why_microphone_silent_here", } | { "id": "why_microphone_silent_there", } | { "id": "why_microphone_silent", } | { "id": "why_microphone_missing_here", } | { "id": "why_microphone_missing_there", } | { "id": "why_microphone_missing", } | { "id": "why_speaker_missing_here", } | { "id": "why_speaker_missing_there", } | { "id": "why_speaker_missing", } | { "id": "why_loss_here", percent: number | null, } | { "id": "why_loss_there", percent: number | null, } | { "id": "why_loss", percent: number | null, } | { "id": "why_delay_here", ms: number | null, } | { "id": "why_delay_there", ms: number | null, } | { "id": "why_delay", ms: number | null, } | { "id": "why_jitter_here", } | { "id": "why_jitter_there", } | { "id": "why_jitter", } | { "id": "why_narrow_here", } | { "id": "why_narrow_there", } | { "id": "why_narrow", } | { "id": "why_echo_here", } | { "id": "why_echo_there", } | { "id": "why_echo", } | { "id": "why_overload_here", } | { "id": "why_overload_there", } | { "id": "why_overload", } | { "id": "advice_microphone_switch", } | { "id": "advice_allow_microphone", } | { "id": "advice_choose_microphone", } | { "id": "advice_choose_speaker", } | { "id": "advice_tell_microphone", } | { "id": "advice_tell_speaker", } | { "id": "advice_wifi", } | { "id": "advice_cable", } | { "id": "advice_close_programs", } | { "id": "advice_pause_downloads", } | { "id": "advice_tell_network", } | { "id": "advice_change_network", } | { "id": "advice_headset", } | { "id": "advice_their_headset", } | { "id": "advice_they_are_told", } | { "id": "advice_wait", } | { "id": "advice_switching_path", } | { "id": "advice_sending_copies", } | { "id": "queue_place", place: number, } | { "id": "matched", name: string, } | { "id": "talk_with", name: string, } | { "id": "parted_by_you", name: string, } | { "id": "parted_left", name: string, } | { "id": "parted_skipped", name: string, } | { "id": "parted_lost", name: string, } | { "id": "parted_blocked", name: string, } | { "id": "parted_replaced", } | { "id": "parted_closed", name: string, } | { "id": "block_open", name: string, } | { "id": "block_what", name: string, } | { "id": "do_block", name: string, } | { "id": "complaint_abusive", } | { "id": "complaint_unsafe", } | { "id": "complaint_spam", } | { "id": "complaint_other", } | { "id": "reported", } | { "id": "entering_room", } | { "id": "room_refused", } | { "id": "room_full", } | { "id": "in_room", topic: string, } | { "id": "room_empty", } | { "id": "room_locked", } | { "id": "room_unlocked", } | { "id": "member_you", } | { "id": "member_host", } | { "id": "member_muted", } | { "id": "member_connecting", } | { "id": "member_not_heard", } | { "id": "member_away", } | { "id": "member_came", name: string, } | { "id": "member_went", name: string, } | { "id": "remove_open", name: string, } | { "id": "remove_what", name: string, } | { "id": "do_remove", name: string, } | { "id": "room_over_left", } | { "id": "room_over_removed", } | { "id": "room_over_lost", } | { "id": "room_over_replaced", } | { "id": "room_over_closed", } | { "id": "accept_leaves_room", } | { "id": "text_by_you", } | { "id": "text_by", name: string, } | { "id": "text_delivered", } | { "id": "text_undelivered", } | { "id": "text_empty", } | { "id": "text_connecting", } | { "id": "text_no_channel", name: string, } | { "id": "text_nobody_here", } | { "id": "text_unread", name: string, others: number, } | { "id": "text_came", name: string, } | { "id": "keep_neither", name: string, } | { "id": "keep_yours", name: string, } | { "id": "keep_theirs", name: string, } | { "id": "keep_both", } | { "id": "figure_round_trip", } | { "id": "figure_loss_in", } | { "id": "figure_loss_out", } | { "id": "figure_jitter_in", } | { "id": "figure_jitter_out", } | { "id": "figure_concealed", } | { "id": "figure_buffer", } | { "id": "figure_bitrate_in", } | { "id": "figure_bitrate_out", } | { "id": "figure_burst", } | { "id": "figure_recovered", } | { "id": "figure_bandwidth", } | { "id": "figure_echo", } | { "id": "figure_protection", } | { "id": "figure_mos", } | { "id": "figure_path", } | { "id": "figure_network", } | { "id": "figure_candidates", } | { "id": "amount", text: string, } | { "id": "protection_clean", resending: boolean, copies: number, fec: boolean, dred_ms: number, } | { "id": "protection_loss", resending: boolean, copies: number, fec: boolean, dred_ms: number, } | { "id": "protection_bursts", resending: boolean, copies: number, fec: boolean, dred_ms: number, } | { "id": "protection_narrow", resending: boolean, copies: number, fec: boolean, dred_ms: number, } | { "id": "path_direct", } | { "id": "path_relay_udp", } | { "id": "path_relay_tcp", } | { "id": "path_relay_tls", } | { "id": "path_relay_theirs", } | { "id": "network_ipv6", } | { "id": "network_ipv4", } | { "id": "ended_by_you", } | { "id": "ended_by_peer", name: string, } | { "id": "ended_hung_up", } | { "id": "ended_cancelled_by_you", } | { "id": "ended_cancelled_by_peer", name: string, } | { "id": "ended_declined_by_you", } | { "id": "ended_declined", name: string, } | { "id": "ended_declined_in_two_minutes", name: string, } | { "id": "ended_declined_wrong_time", name: string, } | { "id": "ended_declined_unwell", name: string, } | { "id": "ended_no_answer", name: string, } | { "id": "ended_missed", name: string, } | { "id": "ended_busy", name: string, } | { "id": "ended_while_you_were_busy", name: string, } | { "id": "ended_media_failed", } | { "id": "ended_media_lost", } | { "id": "ended_booking_cancelled", } | { "id": "call_quality_good", } | { "id": "call_quality_fair", } | { "id": "call_quality_poor", } | { "id": "report_saved", path: string, } | { "id": "report_failed", why: string, } | { "id": "answered_elsewhere", name: string, } | { "id": "past_called_you", } | { "id": "past_you_called", } | { "id": "past_missed", } | { "id": "past_no_answer", } | { "id": "past_declined_by_you", } | { "id": "past_declined_by_peer", } | { "id": "past_cancelled", } | { "id": "past_busy", } | { "id": "past_failed", } | { "id": "past_sound_good", } | { "id": "past_sound_fair", } | { "id": "past_sound_poor", } | { "id": "past_sound_lost", times: number, seconds: number, } | { "id": "past_loss_in", } | { "id": "past_loss_out", } | { "id": "past_delay", } | { "id": "past_jitter", } | { "id": "past_narrow", } | { "id": "past_nothing_came", } | { "id": "past_nothing_went", } | { "id": "past_microphone_silent", } | { "id": "past_microphone_missing", } | { "id": "past_speaker_missing", } | { "id": "past_echo", } | { "id": "past_overload", } | { "id": "microphone_missing", } | { "id": "microphone_unplugged", } | { "id": "microphone_permission", } | { "id": "microphone_in_use", } | { "id": "microphone_silent", } | { "id": "microphone_fault", why: string, } | { "id": "file_fault", why: string, } | { "id": "microphone_fallback", device: string, } | { "id": "speaker_missing", } | { "id": "speaker_busy", } | { "id": "speaker_broken", why: string, } | { "id": "speaker_fallback", device: string, } | { "id": "microphone_now", device: string, } | { "id": "microphone_back", device: string, } | { "id": "speaker_now", device: string, } | { "id": "speaker_back", device: string, } | { "id": "speaker_held", } | { "id": "devices_unknown", } | { "id": "device_default", } | { "id": "device_named", device: string, } | { "id": "device_file", } | { "id": "device_of_calls", } | { "id": "do_sign_in", } | { "id": "do_stop_signing_in", } | { "id": "do_call", name: string, } | { "id": "do_check", } | { "id": "do_check_done", } | { "id": "do_test_sound", } | { "id": "do_start_check", } | { "id": "do_check_again", } | { "id": "do_stop_check", } | { "id": "do_check_over", } | { "id": "do_cancel", } | { "id": "do_accept", } | { "id": "do_decline", } | { "id": "do_mute", } | { "id": "do_unmute", } | { "id": "do_play_on", device: string, } | { "id": "do_open_settings", } | { "id": "do_hang_up", } | { "id": "do_call_again", } | { "id": "do_dismiss", } | { "id": "do_search", } | { "id": "do_stop_searching", } | { "id": "do_next_person", } | { "id": "do_find_next", } | { "id": "do_back", } | { "id": "do_leave", } | { "id": "do_enter_again", } | { "id": "do_try_again", } | { "id": "do_text", unread: number, };

export type SignIn = { 
/**
 * Signing in goes on: nothing can be typed meanwhile.
 */
busy: boolean, problem: Sentence | null, 
/**
 * Development only: who can be picked, in the order of [`Ask::SignInAs`](crate::controller::Ask).
 */
people: Array<Person>, 
/**
 * Development only: the server whose people can be asked for.
 */
server: string | null, };

export type Sound = { inputs: Array<DeviceOption>, outputs: Array<DeviceOption>, 
/**
 * Where it rings.
 */
rings: Array<DeviceOption>, echo_cancellation: boolean, noise_suppression: "off" | "standard" | "strong", gain_control: boolean, 
/**
 * While it is on, nothing of the three above applies.
 */
original_sound: boolean, };

export type Step = { label: Sentence, state: StepState, 
/**
 * The same in words, for those who do not see the mark.
 */
said: Sentence, };

export type StepState = "waits" | "now" | "done";

export type Talk = { peer: Peer, topic: string, elapsed_s: number, remaining: Sentence | null, muted: boolean, 
/**
 * What to know about who is muted.
 */
mute_line: Sentence | null, 
/**
 * Sound has been lost for so many seconds.
 */
lost_s: number | null, lost: Sentence | null, quality: Sentence | null, mood: Mood, 
/**
 * Nothing while all is well, or while the sound is lost.
 */
trouble: Trouble | null, figures: Array<Figure>, };

export type TextLine = { 
/**
 * Grows with each line; those that were forgotten keep theirs.
 */
number: number, own: boolean, who: Sentence, text: string, 
/**
 * Of one's own lines: whether it has been delivered.
 */
state: Sentence | null, };

export type TextPanel = { open: boolean, lines: Array<TextLine>, 
/**
 * Instead of lines.
 */
empty: Sentence | null, can_write: boolean, 
/**
 * Who cannot read, or why nothing can be written.
 */
problem: Sentence | null, 
/**
 * Characters of one line.
 */
longest: number, 
/**
 * In a call: whether its record keeps the text.
 */
keep: KeepText | null, };

export type Trial = { 
/**
 * What happens now, or the verdict.
 */
line: Sentence, mood: Mood, 
/**
 * One's own level moves: one is asked to speak.
 */
speak: boolean, 
/**
 * How far it is; nothing once there is a verdict, as of the steps.
 */
percent: number | null, steps: Array<Step>, faults: Array<Fault>, paths: Array<PathTried>, };

export type Trouble = { text: Sentence, advice: Sentence, 
/**
 * The button beside it, where the app can help.
 */
remedy: Remedy | null, };

export type View = { screen: Screen, 
/**
 * Read out by a screen reader when it changes.
 */
announce: Sentence | null, 
/**
 * Small strips above the screen, most important first.
 */
notices: Array<Notice>, 
/**
 * The bar at the bottom, in reading order. At most one is primary.
 */
actions: Array<Action>, 
/**
 * Who is signed in, and may sign out.
 */
you: You | null, 
/**
 * Devices and processing, where they can be chosen.
 */
sound: Sound | null, 
/**
 * Text beside the voice, where there is any.
 */
text: TextPanel | null, 
/**
 * Where there is a call to report on.
 */
report: ReportPart | null, };

export type You = { name: string, 
/**
 * Signing out is offered.
 */
sign_out: boolean, };
