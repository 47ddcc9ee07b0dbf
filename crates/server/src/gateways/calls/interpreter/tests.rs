//! What the interpreter makes of each side's words, as lines of text: `> event` to the app, `! command` to the exchange.

use super::*;
use bellwire_signaling::{Candidate, CandidateLine, Handle, KeepChat, Peer, Role, UnixMs};

struct Stage {
    interpreter: Interpreter,
    you: Side,
    version: u32,
    sent: Vec<CommandId>,
}

impl Stage {
    fn new(you: Side) -> Self {
        Self { interpreter: Interpreter::default(), you, version: 0, sent: Vec::new() }
    }

    fn lines(&mut self) -> String {
        let mut lines = Vec::new();
        while let Some(action) = self.interpreter.poll_action() {
            lines.push(match action {
                Action::Emit { event, body } => format!("> {event}{}", detail(&body)),
                Action::Ack { body, .. } => format!("> ack {body}"),
                Action::Command { id, command } => {
                    self.sent.push(id);
                    format!("! {}", brief(&command))
                }
            });
        }
        lines.join("; ")
    }

    fn event(&mut self, event: Event) -> String {
        self.interpreter.told(ServerFrame::Event { seq: 1, event });
        self.lines()
    }

    fn phase(&mut self, phase: Phase) -> String {
        self.version += 1;
        let peer = Peer { handle: id("h1"), name: "Ana".into(), role: Role::Client };
        let view = CallView {
            call: id("c1"),
            booking: id("b1"),
            version: self.version,
            you: self.you,
            peer,
            keep_chat: KeepChat::default(),
            phase,
        };
        self.event(Event::Call { view })
    }

    fn connecting(&mut self, generation: u32, go: bool) -> String {
        let offers = self.you == Side::Caller;
        self.phase(Phase::Connecting { connection: Connection { generation, offers, go } })
    }

    fn says(&mut self, event: &str, mut body: Value) -> String {
        body["bookingId"] = json!("b1");
        self.interpreter.said(event, &body.to_string(), None);
        self.lines()
    }

    fn described(&mut self, generation: u32, kind: DescriptionKind, mark: &str) -> String {
        let sdp = Sdp::new(sdp(mark)).expect("a description");
        self.event(Event::Description { call: id("c1"), generation, kind, sdp })
    }

    fn trickled(&mut self, generation: u32, port: u16) -> String {
        let line = CandidateLine::new(line(port)).expect("a candidate");
        let candidates = vec![Candidate { candidate: line, sdp_mid: None, sdp_m_line_index: 0 }];
        self.event(Event::Candidates { call: id("c1"), generation, candidates, done: false })
    }

    /// All that was sent is answered.
    fn acked(&mut self) -> String {
        for id in std::mem::take(&mut self.sent) {
            self.interpreter.told(ServerFrame::Ack { id, reply: Reply::Done {} });
        }
        self.lines()
    }
}

fn id<T: TryFrom<String>>(text: &str) -> T {
    T::try_from(text.to_owned()).unwrap_or_else(|_| panic!("{text} is no id"))
}

/// The mark is the description's ICE user fragment.
fn sdp(mark: &str) -> String {
    format!("v=0\r\na=fingerprint:sha-256 00\r\nm=audio 9 X 1\r\na=ice-ufrag:{mark}\r\n")
}

fn line(port: u16) -> String {
    format!("candidate:1 1 udp 1 192.0.2.1 {port} typ host")
}

fn offer(mark: &str) -> Value {
    json!({ "offer": { "type": "offer", "sdp": sdp(mark) } })
}

fn answer(mark: &str) -> Value {
    json!({ "answer": { "type": "answer", "sdp": sdp(mark) } })
}

fn ice(port: u16, ufrag: Option<&str>) -> Value {
    json!({ "candidate": { "candidate": line(port), "sdpMid": "0", "usernameFragment": ufrag } })
}

fn mark_of(sdp: &str) -> String {
    sdp.lines().find_map(|line| line.strip_prefix("a=ice-ufrag:")).unwrap_or_default().to_owned()
}

fn detail(body: &Value) -> String {
    if let Some(sdp) = body["offer"]["sdp"].as_str().or_else(|| body["answer"]["sdp"].as_str()) {
        return format!(" {}", mark_of(sdp));
    }
    if let Some(line) = body["candidate"]["candidate"].as_str() {
        return format!(" {}", line.split(' ').nth(5).unwrap_or_default());
    }
    body["code"].as_str().map(|code| format!(" {code}")).unwrap_or_default()
}

fn brief(command: &Command) -> String {
    let ports = |candidates: &[Candidate]| {
        let port = |c: &Candidate| c.candidate.as_str().split(' ').nth(5).unwrap_or_default().to_owned();
        candidates.iter().map(port).collect::<Vec<_>>().join(",")
    };
    match command {
        Command::Describe { generation, kind, sdp, .. } => {
            let kind = format!("{kind:?}").to_lowercase();
            format!("{kind} {generation} {}", mark_of(sdp.as_str()))
        }
        Command::Candidates { generation, candidates, .. } => format!("candidates {generation} {}", ports(candidates)),
        Command::Ready { generation, .. } => format!("ready {generation}"),
        Command::Hearing { generation, hearing, .. } => format!("hearing {generation} {hearing}"),
        Command::Renew { generation, .. } => format!("renew {generation}"),
        Command::Bookings {} => "bookings".into(),
        Command::Invite { .. } => "invite".into(),
        Command::Ringing { .. } => "ringing".into(),
        other => panic!("{other:?}"),
    }
}

/// A caller whose offer A is out.
fn offered() -> Stage {
    let mut caller = Stage::new(Side::Caller);
    assert_eq!(caller.phase(Phase::Ringing { since: UnixMs(1) }), "> call:ringing");
    assert_eq!(caller.connecting(1, false), "> call:accepted; ! ready 1");
    assert_eq!(caller.connecting(1, true), "");
    assert_eq!(caller.says("call:offer", offer("A")), "! offer 1 A");
    caller
}

/// A callee who has the offer A and has answered it.
fn answered() -> Stage {
    let mut callee = Stage::new(Side::Callee);
    assert_eq!(callee.phase(Phase::Inviting { since: UnixMs(1) }), "> call:incoming; ! ringing");
    assert_eq!(callee.connecting(1, false), "! ready 1");
    assert_eq!(callee.described(1, DescriptionKind::Offer, "A"), "> call:offer A");
    assert_eq!(callee.says("call:answer", answer("B")), "! answer 1 B");
    assert_eq!(callee.acked(), "! hearing 1 true");
    callee
}

#[test]
fn offer_waits_until_both_are_ready_and_its_candidates_follow_it() {
    let mut caller = Stage::new(Side::Caller);
    caller.connecting(1, false);
    assert_eq!(caller.says("call:offer", offer("A")), "");
    assert_eq!(caller.says("call:ice-candidate", ice(1, None)), "");
    assert_eq!(caller.says("call:ice-candidate", ice(2, Some("A"))), "");
    assert_eq!(caller.connecting(1, true), "! offer 1 A; ! candidates 1 1,2");
    assert_eq!(caller.says("call:ice-candidate", ice(3, None)), "! candidates 1 3");
    assert_eq!(caller.described(1, DescriptionKind::Answer, "B"), "> call:answer B; ! hearing 1 true");
}

#[test]
fn candidates_of_the_connection_before_are_never_sent_in_the_next() {
    let mut caller = offered();
    assert_eq!(caller.connecting(2, false), "> call:reconnect; ! ready 2");
    // Still of the first: one says so, of the other nobody can tell.
    assert_eq!(caller.says("call:ice-candidate", ice(1, Some("A"))), "");
    assert_eq!(caller.says("call:ice-candidate", ice(2, None)), "");
    // Of the second, ahead of its offer.
    assert_eq!(caller.says("call:ice-candidate", ice(3, Some("C"))), "");
    caller.connecting(2, true);
    assert_eq!(caller.says("call:offer", offer("C")), "! offer 2 C; ! candidates 2 3");
    assert_eq!(caller.says("call:ice-candidate", ice(4, Some("A"))), "");
    assert_eq!(caller.says("call:ice-candidate", ice(5, Some("C"))), "! candidates 2 5");

    let mut callee = answered();
    assert_eq!(callee.connecting(2, false), "> call:reconnect; ! ready 2");
    assert_eq!(callee.says("call:answer", answer("B")), "> call:error wrong_state");
    assert_eq!(callee.described(2, DescriptionKind::Offer, "C"), "> call:offer C");
    assert_eq!(callee.says("call:ice-candidate", ice(6, Some("B"))), "");
    assert_eq!(callee.says("call:answer", answer("D")), "! answer 2 D");
    // What the other side sent in the first comes too late.
    assert_eq!(callee.trickled(1, 7), "");
    assert_eq!(callee.trickled(2, 8), "> call:ice-candidate 8");
}

#[test]
fn another_offer_of_the_app_asks_for_a_new_connection_and_the_same_is_a_repeat() {
    let mut caller = offered();
    assert_eq!(caller.says("call:offer", offer("A")), "");
    assert_eq!(caller.says("call:offer", offer("C")), "! renew 1");
    assert_eq!(caller.says("call:ice-candidate", ice(1, None)), "");
    assert_eq!(caller.connecting(2, false), "! ready 2");
    assert_eq!(caller.connecting(2, true), "! offer 2 C; ! candidates 2 1");
}

#[test]
fn refused_offer_can_be_made_again() {
    let mut caller = offered();
    let id = caller.sent.pop().expect("the offer");
    let error = refusal(ErrorCode::WrongState);
    caller.interpreter.told(ServerFrame::Refused { id: Some(id), error });
    assert_eq!(caller.lines(), "> call:error wrong_state");
    assert_eq!(caller.says("call:offer", offer("A")), "! offer 1 A");
}

#[test]
fn next_connection_of_the_app_is_told_what_it_may_have_missed() {
    let mut callee = Stage::new(Side::Callee);
    callee.phase(Phase::Inviting { since: UnixMs(1) });
    callee.interpreter.move_over();
    assert_eq!(callee.lines(), "> call:incoming");
    callee.connecting(1, true);
    callee.trickled(1, 1);
    callee.described(1, DescriptionKind::Offer, "A");
    callee.trickled(1, 2);
    callee.interpreter.move_over();
    assert_eq!(callee.lines(), "> call:offer A; > call:ice-candidate 1; > call:ice-candidate 2");
    callee.says("call:answer", answer("B"));
    callee.interpreter.move_over();
    assert_eq!(callee.lines(), "", "it has what it needs");

    let mut caller = Stage::new(Side::Caller);
    caller.connecting(1, true);
    caller.interpreter.move_over();
    assert_eq!(caller.lines(), "> call:accepted");
}

#[test]
fn what_was_not_answered_is_asked_again_on_the_next_link_by_the_same_id() {
    let mut caller = offered();
    caller.acked();
    caller.says("call:ice-candidate", ice(1, None));
    let before = caller.sent.clone();
    caller.interpreter.open();
    assert_eq!(caller.lines(), "! candidates 1 1; ! bookings");
    assert_eq!(caller.sent[1], before[0]);
    assert!(!caller.interpreter.is_open());
    caller.acked();
    assert!(caller.interpreter.is_open());
}

#[test]
fn older_views_change_nothing() {
    let mut callee = answered();
    callee.version = 0;
    assert_eq!(callee.phase(Phase::Inviting { since: UnixMs(1) }), "");
    assert_eq!(callee.says("call:mute", json!({ "muted": 1 })), "> call:error bad_frame");
}

#[test]
fn handle_of_the_peer_is_all_that_the_app_learns_of_whom_it_talks_to() {
    let mut callee = Stage::new(Side::Callee);
    callee.version += 1;
    callee.phase(Phase::Ringing { since: UnixMs(5) });
    callee.interpreter.move_over();
    let Some(Action::Emit { body, .. }) = callee.interpreter.poll_action() else { panic!("an event") };
    assert_eq!(body["from"], json!(id::<Handle>("h1")));
    assert_eq!((&body["callerName"], &body["startedAt"]), (&json!("Ana"), &json!(5)));
}
