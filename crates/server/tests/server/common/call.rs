//! The steps of a call, as two apps would take them.

use super::Party;
use super::party::id;
use bellwire_signaling::*;

pub const FINGERPRINT: &str = "a=fingerprint:sha-256 \
    00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF";

/// A description as a library makes it; `mark` tells it from others.
pub fn sdp_text(mark: &str) -> String {
    [
        "v=0",
        &format!("o=- {mark} 2 IN IP4 127.0.0.1"),
        "s=-",
        "t=0 0",
        "a=group:BUNDLE 0",
        FINGERPRINT,
        "m=audio 9 UDP/TLS/RTP/SAVPF 111",
        "c=IN IP4 0.0.0.0",
        "a=mid:0",
        "a=rtpmap:111 opus/48000/2",
        "a=sendrecv",
        "",
    ]
    .join("\r\n")
}

pub fn sdp(mark: &str) -> Sdp {
    Sdp::new(sdp_text(mark)).expect("a description")
}

pub fn candidate(address: &str) -> Candidate {
    let line = format!("candidate:1 1 udp 2130706431 {address} 50000 typ host");
    Candidate {
        candidate: CandidateLine::new(line).expect("a candidate"),
        sdp_mid: Some("0".into()),
        sdp_m_line_index: 0,
    }
}

pub fn attempt() -> AttemptId {
    AttemptId::from_bits(rand::random())
}

pub async fn invite(caller: &mut Party, booking: &BookingId) -> CallId {
    match caller.ok(Command::Invite { booking: booking.clone(), attempt: attempt() }).await {
        Reply::Call { call } => call,
        other => panic!("{other:?}"),
    }
}

/// Invites, and lets the callee's app ring.
pub async fn ring(caller: &mut Party, callee: &mut Party, booking: &BookingId) -> CallId {
    let call = invite(caller, booking).await;
    let seen = callee.view("an invite", |phase| matches!(phase, Phase::Inviting { .. })).await;
    assert_eq!((&seen.call, seen.you), (&call, Side::Callee));
    callee.ok(Command::Ringing { call: call.clone() }).await;
    caller.view("ringing", |phase| matches!(phase, Phase::Ringing { .. })).await;
    call
}

/// Accepts, and does what both apps do until sound flows both ways.
pub async fn accept(caller: &mut Party, callee: &mut Party, call: &CallId) {
    callee.ok(Command::Accept { call: call.clone() }).await;
    let mut offers = [false; 2];
    for (n, party) in [&mut *caller, &mut *callee].into_iter().enumerate() {
        let view = party.view("connecting", |phase| matches!(phase, Phase::Connecting { .. })).await;
        let Phase::Connecting { connection } = view.phase else { panic!("connecting") };
        assert_eq!(connection.generation, 1);
        offers[n] = connection.offers;
    }
    assert!(offers[0] != offers[1], "one side offers");
    for party in [&mut *caller, &mut *callee] {
        party.ok(Command::Ready { call: call.clone(), generation: 1 }).await;
    }
    let (offerer, answerer) = if offers[0] { (&mut *caller, &mut *callee) } else { (&mut *callee, &mut *caller) };
    let go = |phase: &Phase| matches!(phase, Phase::Connecting { connection } if connection.go);
    offerer.view("go", go).await;
    describe(offerer, answerer, call, DescriptionKind::Offer).await;
    describe(answerer, offerer, call, DescriptionKind::Answer).await;
    let candidates = vec![candidate("192.0.2.7"), candidate("127.0.0.1"), candidate("169.254.169.254")];
    offerer.ok(Command::Candidates { call: call.clone(), generation: 1, candidates, done: true }).await;
    let relayed = answerer.event("candidates", |event| match event {
        Event::Candidates { candidates, done: true, .. } => Some(candidates.clone()),
        _ => None,
    });
    // A development server relays this machine's own addresses, and never those of the link.
    assert_eq!(relayed.await, [candidate("192.0.2.7"), candidate("127.0.0.1")]);
    for party in [&mut *caller, &mut *callee] {
        party.ok(Command::Hearing { call: call.clone(), generation: 1, hearing: true }).await;
    }
    for party in [caller, callee] {
        party.view("connected", |phase| matches!(phase, Phase::Connected { .. })).await;
    }
}

pub async fn describe(from: &mut Party, to: &mut Party, call: &CallId, kind: DescriptionKind) {
    let said = sdp(&format!("{}", rand::random::<u32>()));
    from.ok(Command::Describe { call: call.clone(), generation: 1, kind, sdp: said.clone() }).await;
    let heard = to.event("a description", |event| match event {
        Event::Description { sdp, kind: k, .. } if *k == kind => Some(sdp.clone()),
        _ => None,
    });
    assert_eq!(heard.await, said);
}

/// From the button to sound both ways.
pub async fn connect(caller: &mut Party, callee: &mut Party, booking: &BookingId) -> CallId {
    let call = ring(caller, callee, booking).await;
    accept(caller, callee, &call).await;
    call
}

pub async fn hang_up(by: &mut Party, other: &mut Party, call: &CallId) -> Ending {
    by.ok(Command::HangUp { call: call.clone() }).await;
    let (mine, theirs) = (by.ended(call).await, other.ended(call).await);
    assert_eq!(mine, theirs, "both sides see one end");
    mine
}

pub fn some_call() -> CallId {
    id(&format!("c{:032x}", rand::random::<u128>()))
}
