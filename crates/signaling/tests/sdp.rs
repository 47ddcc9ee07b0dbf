//! What passes for a description or a candidate, and what does not.

use bellwire_signaling::limits;
use bellwire_signaling::{BadSdp, CandidateLine, Reach, Sdp};

const AUDIO: &str = "m=audio 9 UDP/TLS/RTP/SAVPF 111";
const PRINT: &str = "a=fingerprint:sha-256 AB:CD";

fn sdp(lines: &[&str]) -> String {
    lines.iter().map(|line| format!("{line}\r\n")).collect()
}

#[test]
fn descriptions_pass_or_fail_for_a_reason() {
    let long = format!("a={}", "x".repeat(limits::SDP));
    let table: &[(&str, &[&str], Result<(), BadSdp>)] = &[
        ("plain", &["v=0", AUDIO, PRINT], Ok(())),
        ("audio and data channel", &["v=0", AUDIO, PRINT, "m=application 9 DTLS/SCTP 5000"], Ok(())),
        ("upper-case hash name", &["v=0", AUDIO, "a=fingerprint:SHA-256 AB"], Ok(())),
        ("no version", &[AUDIO, PRINT], Err(BadSdp::NoVersion)),
        ("empty", &[], Err(BadSdp::NoVersion)),
        ("no audio", &["v=0", PRINT], Err(BadSdp::AudioSections(0))),
        ("two audio sections", &["v=0", AUDIO, PRINT, AUDIO], Err(BadSdp::AudioSections(2))),
        ("video", &["v=0", AUDIO, PRINT, "m=video 9 X 96"], Err(BadSdp::ForeignSection)),
        (
            "two data channels",
            &["v=0", AUDIO, PRINT, "m=application 9", "m=application 9"],
            Err(BadSdp::ForeignSection),
        ),
        ("no fingerprint", &["v=0", AUDIO], Err(BadSdp::NoFingerprint)),
        ("weak fingerprint", &["v=0", AUDIO, "a=fingerprint:sha-1 AB"], Err(BadSdp::NoFingerprint)),
        ("a line without a letter", &["v=0", "=audio", AUDIO, PRINT], Err(BadSdp::BadLine(2))),
        ("an empty line", &["v=0", "", AUDIO, PRINT], Err(BadSdp::BadLine(2))),
        ("a lone return inside", &["v=0", "a=x\ry", AUDIO, PRINT], Err(BadSdp::BadLine(2))),
        ("a null byte", &["v=0", "a=x\0", AUDIO, PRINT], Err(BadSdp::BadLine(2))),
        ("huge", &["v=0", AUDIO, PRINT, &long], Err(BadSdp::TooLarge)),
    ];
    for (name, lines, expected) in table {
        assert_eq!(&Sdp::new(sdp(lines)).map(drop), expected, "{name}");
    }
}

#[test]
fn what_browsers_offer_passes_where_it_may() {
    let video = "m=video 9 UDP/TLS/RTP/SAVPF 96";
    let check = |lines: &[&str], expected| {
        assert_eq!(Sdp::with_any_sections(sdp(lines)).map(drop), expected, "{lines:?}");
    };
    check(&["v=0", AUDIO, PRINT, video], Ok(()));
    check(&["v=0", AUDIO, PRINT, AUDIO, video, "m=application 9"], Ok(()));
    check(&["v=0", PRINT, video], Err(BadSdp::AudioSections(0)));
    check(&["v=0", AUDIO, video], Err(BadSdp::NoFingerprint));
}

#[test]
fn a_description_is_never_printed() {
    let sdp = Sdp::new(sdp(&["v=0", AUDIO, PRINT])).expect("a description");
    assert_eq!(format!("{sdp:?}"), "Sdp(67 bytes)");
}

#[test]
fn candidates_pass_with_their_reach_or_fail() {
    let table = [
        ("candidate:1 1 udp 2130706431 192.168.1.7 50000 typ host", Some(Reach::Network)),
        ("candidate:1 1 UDP 2130706431 203.0.113.7 50000 typ srflx raddr 10.0.0.1 rport 9", Some(Reach::Network)),
        ("candidate:1 1 tcp 1 192.168.1.7 9 typ host tcptype active", Some(Reach::Network)),
        ("candidate:1 1 udp 1 127.0.0.1 5000 typ host", Some(Reach::Machine)),
        ("candidate:1 1 udp 1 ::1 5000 typ host", Some(Reach::Machine)),
        ("candidate:1 1 udp 1 ::ffff:127.0.0.1 5000 typ host", Some(Reach::Machine)),
        ("candidate:1 1 udp 1 0.0.0.0 5000 typ host", Some(Reach::Machine)),
        ("candidate:1 1 udp 1 169.254.169.254 80 typ host", Some(Reach::Link)),
        ("candidate:1 1 udp 1 ::ffff:169.254.169.254 80 typ host", Some(Reach::Link)),
        ("candidate:1 1 udp 1 fe80::1 80 typ host", Some(Reach::Link)),
        ("candidate:1 1 udp 1 0c2b7f7e-aaaa-4bbb-8ccc-1234567890ab.local 80 typ host", Some(Reach::Name)),
        ("candidate:1 1 udp 1 internal.example.com 80 typ host", None),
        ("candidate:1 1 udp 1 .local 80 typ host", None),
        ("candidate:1 1 udp 1 10.0.0.1 70000 typ host", None),
        ("candidate:1 1 udp 99999999999 10.0.0.1 7 typ host", None),
        ("candidate:1 1 sctp 1 10.0.0.1 7 typ host", None),
        ("candidate:1 1 udp 1 10.0.0.1 7 typ anything", None),
        ("candidate:1 1 udp 1 10.0.0.1 7", None),
        ("candidate:1 1 udp 1 10.0.0.1 7 typ host\r\na=evil", None),
        ("", None),
    ];
    for (line, expected) in table {
        assert_eq!(CandidateLine::new(line).map(|c| c.reach()).ok(), expected, "{line}");
    }
    let long = format!("candidate:1 1 udp 1 10.0.0.1 7 typ host {}", "x".repeat(limits::CANDIDATE));
    assert!(CandidateLine::new(long).is_err());
}
