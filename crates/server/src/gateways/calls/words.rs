//! What an older app says of a call, read leniently: it is a browser's or a phone's object, with whatever else that has.

use crate::closing::{refusal, word};
use bellwire_signaling::{Because, BookingId, Candidate, CandidateLine, ErrorCode, Sdp, WireError, limits};
use serde::Deserialize;
use serde_json::{Value, json};
use std::borrow::Cow;

/// The events of this gateway that an app may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    Start,
    Ringing,
    Accept,
    Reject,
    End,
    Offer,
    Answer,
    IceCandidate,
    Mute,
    Reconnect,
}

impl Name {
    pub fn of(event: &str) -> Option<Self> {
        let all = [
            Self::Start,
            Self::Ringing,
            Self::Accept,
            Self::Reject,
            Self::End,
            Self::Offer,
            Self::Answer,
            Self::IceCandidate,
            Self::Mute,
            Self::Reconnect,
        ];
        all.into_iter().find(|name| name.as_str() == event)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "call:start",
            Self::Ringing => "call:ringing",
            Self::Accept => "call:accept",
            Self::Reject => "call:reject",
            Self::End => "call:end",
            Self::Offer => "call:offer",
            Self::Answer => "call:answer",
            Self::IceCandidate => "call:ice-candidate",
            Self::Mute => "call:mute",
            Self::Reconnect => "call:reconnect",
        }
    }
}

/// One event of an app, understood.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    Start,
    Ringing,
    Accept,
    Reject(Because),
    End,
    Offer(Sdp),
    Answer(Sdp),
    Candidate(Trickled),
    /// After the last candidate.
    NoMoreCandidates,
    Mute(bool),
    Reconnect,
}

/// A candidate, and the ICE user fragment of the description it belongs to, where the app tells it.
#[derive(Clone, Debug, PartialEq)]
pub struct Trickled {
    pub candidate: Candidate,
    pub ufrag: Option<String>,
}

/// Why something was not done, as the app is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    pub code: Cow<'static, str>,
    pub message: String,
    pub retry_after_ms: Option<u64>,
}

impl Fault {
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), retry_after_ms: None }
    }

    pub fn not_found() -> Self {
        refusal(ErrorCode::NotFound).into()
    }

    pub fn wrong_state(message: &'static str) -> Self {
        Self::new("wrong_state", message)
    }

    /// What an ack with an error carries.
    pub fn body(&self) -> Value {
        let mut body = json!({ "code": self.code, "message": self.message });
        if let Some(ms) = self.retry_after_ms {
            body["retryAfter"] = json!(ms);
        }
        body
    }
}

impl From<WireError> for Fault {
    fn from(error: WireError) -> Self {
        Self { code: word(error.code).into(), message: error.message, retry_after_ms: error.retry_after_ms }
    }
}

/// Names the booking, where that can be read, whatever else is wrong.
#[derive(Debug)]
pub struct Unread {
    pub booking: Option<String>,
    pub fault: Fault,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    #[serde(default)]
    booking_id: Value,
    #[serde(default)]
    reason: Value,
    #[serde(default)]
    offer: Value,
    #[serde(default)]
    answer: Value,
    #[serde(default)]
    candidate: Value,
    #[serde(default)]
    muted: Value,
}

/// Reads the first argument of an event.
pub fn read(name: Name, argument: &str) -> Result<(BookingId, Said), Unread> {
    let nothing = |fault| Unread { booking: None, fault };
    let body: Body = serde_json::from_str(argument)
        .map_err(|_| nothing(Fault::new("bad_frame", "the first argument is an object with a bookingId")))?;
    let booking = match &body.booking_id {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
            return Err(nothing(Fault::new("bad_frame", "bookingId is missing")));
        }
    };
    // A text that can be no id names nothing, like an id that is unknown; it is not repeated.
    let id = BookingId::new(&booking).map_err(|_| nothing(Fault::not_found()))?;
    let said = said(name, &body).map_err(|fault| Unread { booking: Some(booking), fault })?;
    Ok((id, said))
}

fn said(name: Name, body: &Body) -> Result<Said, Fault> {
    Ok(match name {
        Name::Start => Said::Start,
        Name::Ringing => Said::Ringing,
        Name::Accept => Said::Accept,
        Name::Reject => Said::Reject(because(body.reason.as_str().unwrap_or_default())),
        Name::End => Said::End,
        Name::Offer => Said::Offer(description(&body.offer, "offer")?),
        Name::Answer => Said::Answer(description(&body.answer, "answer")?),
        Name::IceCandidate => candidate(&body.candidate)?.map_or(Said::NoMoreCandidates, Said::Candidate),
        Name::Mute => {
            Said::Mute(body.muted.as_bool().ok_or_else(|| Fault::new("bad_frame", "muted is true or false"))?)
        }
        Name::Reconnect => Said::Reconnect,
    })
}

fn because(reason: &str) -> Because {
    match reason {
        "in_two_minutes" => Because::InTwoMinutes,
        "wrong_time" => Because::WrongTime,
        "unwell" => Because::Unwell,
        // The old apps' reasons are their own words: all of them mean this.
        _ => Because::NotNow,
    }
}

/// `{type, sdp}`, or the SDP alone.
fn description(value: &Value, kind: &str) -> Result<Sdp, Fault> {
    let bad = |message: String| Fault { code: "bad_description".into(), message, retry_after_ms: None };
    if value["type"].as_str().is_some_and(|said| said != kind) {
        return Err(bad(format!("the description is not of type {kind}")));
    }
    let text = value.as_str().or_else(|| value["sdp"].as_str());
    let text = text.ok_or_else(|| bad(format!("{kind} is an object with type and sdp")))?;
    Sdp::new(text).map_err(|e| bad(e.to_string()))
}

/// None for the end of candidates.
fn candidate(value: &Value) -> Result<Option<Trickled>, Fault> {
    let bad = |message: &'static str| Fault::new("bad_candidate", message);
    let line = match value {
        Value::Null => return Ok(None),
        Value::String(line) => line,
        Value::Object(fields) => match fields.get("candidate") {
            Some(Value::String(line)) => line,
            Some(Value::Null) => return Ok(None),
            Some(_) | None => return Err(bad("the candidate has no line")),
        },
        Value::Bool(_) | Value::Number(_) | Value::Array(_) => return Err(bad("the candidate is no object")),
    };
    if line.is_empty() {
        return Ok(None);
    }
    let line = line.strip_prefix("a=").unwrap_or(line);
    let text = |field: &str| match &value[field] {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    let mid = text("sdpMid").filter(|mid| !mid.is_empty());
    if mid.as_ref().is_some_and(|mid| mid.len() > limits::ID || !mid.bytes().all(|b| b.is_ascii_graphic())) {
        return Err(bad("a sdpMid is at most 128 printable letters"));
    }
    let index = match &value["sdpMLineIndex"] {
        Value::Null if mid.is_some() => 0,
        index => {
            let index = index.as_u64().and_then(|index| u16::try_from(index).ok());
            index.ok_or_else(|| bad("the candidate has neither sdpMid nor sdpMLineIndex"))?
        }
    };
    let ufrag = text("usernameFragment").or_else(|| {
        let mut fields = line.split(' ').skip_while(|field| *field != "ufrag");
        fields.nth(1).map(str::to_owned)
    });
    let line = CandidateLine::new(line).map_err(|e| Fault { message: e.to_string(), ..bad("") })?;
    let candidate = Candidate { candidate: line, sdp_mid: mid, sdp_m_line_index: index };
    Ok(Some(Trickled { candidate, ufrag: ufrag.filter(|ufrag| !ufrag.is_empty()) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "candidate:1 1 udp 2130706431 192.0.2.7 50000 typ host generation 0 ufrag AbCd network-cost 999";

    fn check(name: Name, body: Value, expected: &str) {
        let said = match read(name, &body.to_string()) {
            Ok((booking, said)) => format!("{booking}: {said:?}"),
            Err(unread) => format!("{:?}: {}, {}", unread.booking, unread.fault.code, unread.fault.message),
        };
        assert_eq!(said, expected, "{body}");
    }

    #[test]
    fn booking_is_named_or_nothing_is() {
        check(Name::End, json!({"bookingId": "b1", "to": "u2", "extra": [1]}), "b1: End");
        check(Name::End, json!({"bookingId": 42}), "42: End");
        check(Name::End, json!({"to": "u2"}), "None: bad_frame, bookingId is missing");
        check(Name::End, json!("b1"), "None: bad_frame, the first argument is an object with a bookingId");
        check(Name::End, json!({"bookingId": "no id"}), "None: not_found, there is no such thing for this person");
    }

    #[test]
    fn reasons_of_old_apps_are_words_of_their_own() {
        check(Name::Reject, json!({"bookingId": "b1", "reason": "unwell"}), "b1: Reject(Unwell)");
        check(Name::Reject, json!({"bookingId": "b1", "reason": "user_busy"}), "b1: Reject(NotNow)");
        check(Name::Reject, json!({"bookingId": "b1"}), "b1: Reject(NotNow)");
    }

    #[test]
    fn candidates_are_read_as_browsers_and_phones_write_them() {
        let ice = |candidate: Value| json!({"bookingId": "b1", "candidate": candidate});
        let read = |candidate: Value| match read(Name::IceCandidate, &ice(candidate).to_string()).expect("read").1 {
            Said::Candidate(trickled) => trickled,
            other => panic!("{other:?}"),
        };
        let full = json!({"candidate": LINE, "sdpMid": "0", "sdpMLineIndex": 0, "usernameFragment": "EfGh", "foundation": "1"});
        assert_eq!(read(full).ufrag.as_deref(), Some("EfGh"));
        let bare = read(json!({"candidate": LINE, "sdpMid": "audio", "sdpMLineIndex": null}));
        assert_eq!((bare.ufrag.as_deref(), bare.candidate.sdp_m_line_index), (Some("AbCd"), 0));
        for end in [Value::Null, json!(""), json!({"candidate": "", "sdpMid": "0"}), json!({"candidate": null})] {
            check(Name::IceCandidate, ice(end), "b1: NoMoreCandidates");
        }
        check(
            Name::IceCandidate,
            ice(json!({"candidate": LINE})),
            r#"Some("b1"): bad_candidate, the candidate has neither sdpMid nor sdpMLineIndex"#,
        );
        check(
            Name::IceCandidate,
            ice(json!({"candidate": "candidate:rubbish", "sdpMid": "0"})),
            r#"Some("b1"): bad_candidate, a candidate is one line of at most 512 bytes of the form of RFC 8839, 5.1"#,
        );
    }

    #[test]
    fn descriptions_that_are_no_audio_calls_are_refused_with_a_sentence() {
        let offer = |offer: Value| json!({"bookingId": "b1", "offer": offer});
        let bad = |said: &str| format!(r#"Some("b1"): bad_description, {said}"#);
        check(Name::Offer, offer(Value::Null), &bad("offer is an object with type and sdp"));
        check(
            Name::Offer,
            offer(json!({"type": "answer", "sdp": "v=0"})),
            &bad("the description is not of type offer"),
        );
        let video = "v=0\r\nm=audio 9 X 1\r\nm=video 9 X 2\r\na=fingerprint:sha-256 00\r\n";
        let sentence = "the description has a section that is neither audio nor a data channel";
        check(Name::Offer, offer(json!({"type": "offer", "sdp": video})), &bad(sentence));
    }
}
