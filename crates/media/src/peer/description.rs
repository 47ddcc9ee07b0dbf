//! Descriptions as text: what the far side's may hold, and how ours answers what we do not want.
//!
//! The library is shown only what is used of an offer: one audio section and, if there is one, the section of data channels.
//! Sections of video and further ones of audio are taken out before and answered as refused afterwards (RFC 8829, 5.3.1), so
//! that nothing of them is ever set up. [`Remote::read`] does the one, [`Remote::answer`] the other.
//!
//! Of the codecs of its audio section it is shown two numbers ([`Codecs::shown`]); what we say of them is put into our
//! description afterwards ([`with_codecs`]).
//!
//! All sections share the transport of the first of their group (RFC 8843), so that one is never refused: if it is one of
//! those that are not used, it is answered as inactive. Candidates of both sides are those of that section.

use super::codecs::{Codecs, Numbers};
use crate::{Candidate, DescriptionKind};

/// A candidate of ours without the address that it is derived from, which is nobody's business (RFC 8839, section 5.1).
pub fn without_base(candidate: &str) -> String {
    let mut before = "";
    let words = candidate.split(' ').map(|word| {
        let shown = match before {
            "raddr" => "0.0.0.0",
            "rport" => "0",
            _ => word,
        };
        before = word;
        shown
    });
    words.collect::<Vec<&str>>().join(" ")
}

/// A description of ours whose candidates are such.
pub fn without_bases(sdp: &str) -> String {
    let line = |line: &str| match line.strip_prefix("a=candidate:") {
        Some(candidate) => format!("a=candidate:{}\r\n", without_base(candidate)),
        None => format!("{line}\r\n"),
    };
    sdp.lines().map(line).collect()
}

/// The far side's description.
#[derive(Clone)]
pub struct Remote {
    /// What the library is shown.
    pub sdp: String,
    /// The far side's peer connection, by its `o=` line (RFC 8866, section 5.2), and which of its descriptions this is.
    pub session: String,
    pub version: u64,
    /// The credentials of ICE: others mean that it begins again.
    pub ice: Option<String>,
    /// What of ours the far side can do as well, by the numbers that it takes.
    pub codecs: Codecs,
    /// The numbers by which we take its packets.
    pub ours: Numbers,
    sections: Vec<Section>,
    audio: usize,
    /// The section whose transport is that of all.
    carrier: usize,
    /// Whether the group that shares a transport was the far side's wish.
    grouped: bool,
}

#[derive(Clone)]
struct Section {
    mid: String,
    answer: Answer,
}

#[derive(Clone)]
enum Answer {
    /// The library's.
    Ours,
    Refused(String),
    /// Inactive, to which the lines about the transport are added.
    Idle(String),
}

const GROUP: &str = "a=group:BUNDLE ";

/// Characters of a description; what is longer is refused unread.
const LONGEST: usize = 64 * 1024;
const MOST_SECTIONS: usize = 32;

impl Remote {
    /// Reads a description of at least one audio section with Opus. Of several the one named `known` is used, which was used
    /// before, or the first that is not refused itself.
    pub fn read(sdp: &str, kind: DescriptionKind, known: Option<&str>, able: Codecs) -> Result<Self, String> {
        if sdp.len() > LONGEST {
            return Err("the far side's description is too long".into());
        }
        let (head, sections) = split(sdp);
        if sections.len() > MOST_SECTIONS {
            return Err("the far side's description has too many sections".into());
        }
        let mids: Vec<&str> = sections.iter().filter_map(|section| value(section, "a=mid:")).collect();
        let twice = mids.iter().enumerate().any(|(at, mid)| mids[..at].contains(mid));
        if mids.len() != sections.len() || twice {
            return Err("the far side's description has a section without a name of its own".into());
        }
        let usable = |at: &usize| medium(sections[*at]) == "audio" && !is_refused(sections[*at]);
        let audio = (0..sections.len())
            .filter(usable)
            .find(|at| Some(mids[*at]) == known)
            .or_else(|| (0..sections.len()).find(usable))
            .ok_or("the far side's description has no audio section")?;
        let theirs = Codecs::read(sections[audio]).ok_or("the far side's description does not have Opus")?;
        let codecs = theirs.common(able);
        // What answers an offer of ours sends by the numbers of that; what we answer sends by its own (RFC 3264, section 6.1).
        let takes = match kind {
            DescriptionKind::Offer => codecs,
            DescriptionKind::Answer => able.common(theirs),
        };
        let group: Vec<&str> = value(head, GROUP).map(|mids| mids.split(' ').collect()).unwrap_or_default();
        let grouped = group.contains(&mids[audio]);
        // On a transport of its own there would be two connections.
        let shares = |at: &usize| grouped && group.contains(&mids[*at]) && !is_refused(sections[*at]);
        let data = (0..sections.len()).filter(shares).find(|at| is_data(sections[*at]));
        let in_group = |mid: &&str| mids.iter().position(|of| of == mid).filter(shares);
        let carrier = group.iter().find_map(in_group).unwrap_or(audio);
        let mut shown = head.to_owned();
        if !grouped {
            shown.push_str(&format!("{GROUP}{}\r\n", mids[audio]));
        }
        let used = |at: usize| at == audio || Some(at) == data;
        for (at, section) in sections.iter().enumerate().filter(|(at, _)| used(*at)) {
            if at == audio {
                shown.push_str(&takes.shown(section));
            } else {
                shown.push_str(section);
            }
            if at == audio && !has_direction(head) && !has_direction(section) {
                shown.push_str("a=sendrecv\r\n");
            }
        }
        let (session, version) =
            origin(head).ok_or("the far side's description does not say of which session it is")?;
        let answers = sections.iter().zip(&mids).enumerate().map(|(at, (section, mid))| {
            let answer = match () {
                () if used(at) => Answer::Ours,
                () if at == carrier => Answer::Idle(idle(section, mid)),
                () => Answer::Refused(refusal(section, mid)),
            };
            Section { mid: (*mid).to_owned(), answer }
        });
        let ice = value(sections[audio], "a=ice-ufrag:").or_else(|| value(head, "a=ice-ufrag:"));
        let (ice, sections) = (ice.map(str::to_owned), answers.collect());
        Ok(Self { sdp: shown, session, version, ice, codecs, ours: takes.numbers, sections, audio, carrier, grouped })
    }

    /// The name of the section that is used.
    pub fn audio(&self) -> &str {
        &self.sections[self.audio].mid
    }

    /// Our answer to the whole offer, from the library's to what it was shown.
    pub fn answer(&self, ours: &str) -> Option<String> {
        let (head, sections) = split(ours);
        let transport = |section: &str| -> String {
            let about =
                |line: &&str| ["a=setup:", "a=ice-ufrag:", "a=ice-pwd:"].iter().any(|key| line.starts_with(key));
            section.lines().filter(about).map(|line| format!("{line}\r\n")).collect()
        };
        let mut whole = match &self.sections[self.carrier] {
            Section { mid, answer: Answer::Idle(_) } => head.replace(GROUP, &format!("{GROUP}{mid} ")),
            Section { .. } if self.grouped => head.to_owned(),
            Section { .. } => {
                head.lines().filter(|line| !line.starts_with(GROUP)).map(|l| format!("{l}\r\n")).collect()
            }
        };
        let mut answers = sections.iter();
        for section in &self.sections {
            match &section.answer {
                Answer::Ours => whole.push_str(answers.next()?),
                Answer::Refused(refusal) => whole.push_str(refusal),
                Answer::Idle(idle) => whole.extend([idle.as_str(), &transport(sections.first()?)]),
            }
        }
        Some(whole)
    }

    /// The place of the section that candidates belong to.
    pub fn carrier(&self) -> u16 {
        self.carrier as u16
    }

    /// Whether a candidate leads to the transport that is used: those of other sections lead nowhere in the end.
    pub fn leads(&self, candidate: &Candidate) -> bool {
        let named = match &candidate.mid {
            Some(mid) => self.sections.iter().position(|section| section.mid == *mid),
            None => Some(usize::from(candidate.index)),
        };
        // One that names none of them may be meant for ours.
        named.is_none_or(|at| at == self.carrier || at >= self.sections.len())
    }
}

/// A description of ours with these codecs in its audio section.
pub fn with_codecs(sdp: &str, codecs: &Codecs) -> String {
    let (head, sections) = split(sdp);
    let sections = sections.into_iter().map(|section| {
        if medium(section) == "audio" && !is_refused(section) { codecs.write(section) } else { section.to_owned() }
    });
    std::iter::once(head.to_owned()).chain(sections).collect()
}

/// Whether this answer, or offer, makes its sender the one that waits for the handshake (RFC 8842, section 5.2).
pub fn is_passive(sdp: &str) -> bool {
    sdp.lines().any(|line| line == "a=setup:passive")
}

/// The same with the other role: it stays through the life of a connection, whoever offers later.
pub fn as_passive(sdp: &str) -> String {
    sdp.replace("a=setup:active", "a=setup:passive")
}

/// What stands before the first section, and the sections.
fn split(sdp: &str) -> (&str, Vec<&str>) {
    let starts = sdp.match_indices("m=").map(|(at, _)| at).filter(|at| *at == 0 || sdp.as_bytes()[at - 1] == b'\n');
    let mut starts: Vec<usize> = starts.collect();
    let head = &sdp[..starts.first().copied().unwrap_or(sdp.len())];
    starts.push(sdp.len());
    (head, starts.windows(2).map(|pair| &sdp[pair[0]..pair[1]]).collect())
}

pub fn value<'a>(section: &'a str, key: &str) -> Option<&'a str> {
    section.lines().find_map(|line| line.strip_prefix(key)).map(str::trim_end)
}

/// The words of a section's `m=` line: media, port, protocol, formats.
pub fn words(section: &str) -> impl Iterator<Item = &str> {
    section.lines().next().unwrap_or_default().trim_start_matches("m=").split_ascii_whitespace()
}

fn medium(section: &str) -> &str {
    words(section).next().unwrap_or_default()
}

fn is_data(section: &str) -> bool {
    medium(section) == "application" && words(section).any(|word| word == "webrtc-datachannel")
}

/// Port 0 means refused or taken back, or that the section shares the first one's transport.
fn is_refused(section: &str) -> bool {
    words(section).nth(1) == Some("0") && !section.lines().any(|line| line == "a=bundle-only")
}

fn has_direction(lines: &str) -> bool {
    lines.lines().any(|line| matches!(line, "a=sendrecv" | "a=sendonly" | "a=recvonly" | "a=inactive"))
}

fn origin(head: &str) -> Option<(String, u64)> {
    let mut words = value(head, "o=")?.split(' ');
    let (name, session, version) = (words.next()?, words.next()?, words.next()?);
    Some((format!("{name} {session}"), version.parse().ok()?))
}

fn refusal(section: &str, mid: &str) -> String {
    let mut words = words(section);
    let (kind, _, protocol) = (words.next(), words.next(), words.next());
    let (kind, protocol, format) =
        (kind.unwrap_or("video"), protocol.unwrap_or("UDP/TLS/RTP/SAVPF"), words.next().unwrap_or("0"));
    format!("m={kind} 0 {protocol} {format}\r\nc=IN IP4 0.0.0.0\r\na=mid:{mid}\r\na=inactive\r\n")
}

/// The same without sound or pictures in either direction, but with a codec, as every section has.
fn idle(section: &str, mid: &str) -> String {
    let mut words = words(section);
    let (kind, _, protocol) = (words.next(), words.next(), words.next());
    let (kind, protocol, format) =
        (kind.unwrap_or("video"), protocol.unwrap_or("UDP/TLS/RTP/SAVPF"), words.next().unwrap_or("0"));
    let codec = [format!("a=rtpmap:{format} "), format!("a=fmtp:{format} ")];
    let codec: String = section
        .lines()
        .filter(|line| codec.iter().any(|key| line.starts_with(key)))
        .map(|line| format!("{line}\r\n"))
        .collect();
    format!("m={kind} 9 {protocol} {format}\r\nc=IN IP4 0.0.0.0\r\na=mid:{mid}\r\na=inactive\r\na=rtcp-mux\r\n{codec}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "v=0\r\no=- 46117 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1 2\r\n";
    const AUDIO: &str =
        "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=sendrecv\r\na=ice-ufrag:x\r\na=rtpmap:111 opus/48000/2\r\n";
    const VIDEO: &str = "m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\na=mid:1\r\na=sendrecv\r\na=rtpmap:96 VP8/90000\r\n";
    const DATA: &str = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:2\r\n";

    fn whole(sdp: &str, known: Option<&str>) -> Result<Remote, String> {
        Remote::read(sdp, DescriptionKind::Offer, known, Codecs::OURS)
    }

    fn read(sections: &[&str]) -> Result<Remote, String> {
        whole(&format!("{HEAD}{}", sections.concat()), None)
    }

    fn refused(mid: &str) -> String {
        format!("m=video 0 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=mid:{mid}\r\na=inactive\r\n")
    }

    #[test]
    fn our_candidates_do_not_say_what_they_are_derived_from() {
        let relay = "1 1 udp 16777215 192.0.2.1 4000 typ relay raddr 10.0.0.7 rport 50123";
        let shown = "1 1 udp 16777215 192.0.2.1 4000 typ relay raddr 0.0.0.0 rport 0";
        assert_eq!(without_base(relay), shown);
        let sdp = |candidate: &str| format!("v=0\r\na=candidate:{candidate}\r\na=end-of-candidates\r\n");
        assert_eq!(without_bases(&sdp(relay)), sdp(shown));
        let host = "1 1 udp 2130706431 192.0.2.1 4000 typ host";
        assert_eq!(without_bases(&sdp(host)), sdp(host));
    }

    #[test]
    fn video_is_taken_out_and_answered_as_refused_in_its_place() {
        let offer = read(&[AUDIO, VIDEO, DATA]).unwrap();
        assert_eq!(offer.sdp, [HEAD, AUDIO, DATA].concat());
        assert_eq!((offer.audio(), offer.session.as_str(), offer.version), ("0", "- 46117", 2));
        let ours = ["v=0\r\na=group:BUNDLE 0 2\r\n", AUDIO, DATA].concat();
        let answer = ["v=0\r\na=group:BUNDLE 0 2\r\n", AUDIO, &refused("1"), DATA].concat();
        assert_eq!(offer.answer(&ours).unwrap(), answer);
        assert!(offer.answer("v=0\r\n").is_none());
    }

    #[test]
    fn video_whose_transport_all_share_is_answered_as_inactive() {
        let head = HEAD.replace("BUNDLE 0 1 2", "BUNDLE 1 0");
        let offer = whole(&[&head, VIDEO, AUDIO].concat(), None).unwrap();
        assert_eq!((offer.sdp.clone(), offer.carrier()), ([&head, AUDIO].concat(), 0));
        let answer = offer.answer(&["v=0\r\na=group:BUNDLE 0\r\n", AUDIO].concat()).unwrap();
        let idle = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=inactive\r\na=rtcp-mux\r\n\
            a=rtpmap:96 VP8/90000\r\na=ice-ufrag:x\r\n";
        assert_eq!(answer, ["v=0\r\na=group:BUNDLE 1 0\r\n", idle, AUDIO].concat());
    }

    #[test]
    fn without_a_group_sound_has_a_transport_of_its_own_and_there_is_no_text() {
        let head = HEAD.replace("a=group:BUNDLE 0 1 2\r\n", "");
        let offer = whole(&[&head, VIDEO, AUDIO, DATA].concat(), None).unwrap();
        assert_eq!(offer.sdp, [&head, "a=group:BUNDLE 0\r\n", AUDIO].concat());
        assert_eq!(offer.carrier(), 1);
        let answer = offer.answer(&["v=0\r\na=group:BUNDLE 0\r\n", AUDIO].concat()).unwrap();
        assert!(answer.starts_with(&["v=0\r\n", &refused("1"), AUDIO, "m=application 0 "].concat()));
    }

    #[test]
    fn of_two_audio_sections_the_first_is_used_or_the_one_from_before() {
        let second = AUDIO.replace("mid:0", "mid:7");
        let both = [HEAD, AUDIO, &second].concat();
        assert_eq!(whole(&both, None).unwrap().audio(), "0");
        assert_eq!(whole(&both, Some("7")).unwrap().audio(), "7");
        let first_gone = both.replacen("m=audio 9", "m=audio 0", 1);
        assert_eq!(whole(&first_gone, Some("0")).unwrap().audio(), "7");
    }

    #[test]
    fn candidates_of_another_transport_are_left_out() {
        let candidate =
            |mid: Option<&str>, index| Candidate { candidate: String::new(), mid: mid.map(Into::into), index };
        for (sections, carrier, other) in [(["0 1", AUDIO, VIDEO], "0", "1"), (["1 0", AUDIO, VIDEO], "1", "0")] {
            let head = HEAD.replace("0 1 2", sections[0]);
            let offer = whole(&[&head, sections[1], sections[2]].concat(), None).unwrap();
            let place = offer.carrier();
            let leads =
                [(Some(carrier), 0), (None, place), (Some("audio"), 0), (None, 9)].map(|(m, at)| candidate(m, at));
            assert!(leads.iter().all(|candidate| offer.leads(candidate)));
            let others = [candidate(Some(other), place), candidate(None, 1 - place)];
            assert!(others.iter().all(|candidate| !offer.leads(candidate)));
        }
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_a_reason() {
        let no_name = AUDIO.replace("a=mid:0\r\n", "");
        let other = AUDIO.replace("opus/48000", "PCMU/8000");
        for sections in [&[][..], &[VIDEO], &[DATA], &[no_name.as_str()], &[AUDIO, AUDIO], &[other.as_str()]] {
            assert!(!read(sections).err().unwrap().is_empty());
        }
        assert!(whole(&AUDIO.repeat(1000), None).is_err());
        assert!(whole(AUDIO, None).is_err());
    }

    #[test]
    fn packets_come_by_the_numbers_of_the_offer_and_go_by_those_of_the_far_side() {
        let able = Codecs { numbers: Numbers { opus: 96, red: Some(97) }, ..Codecs::OURS };
        let theirs = [HEAD, &able.write(AUDIO)].concat();
        let offer = Remote::read(&theirs, DescriptionKind::Offer, None, Codecs::OURS).unwrap();
        assert!(offer.sdp.contains("SAVPF 96 97\r\n") && offer.sdp.contains("a=rtpmap:97 red"), "{}", offer.sdp);
        assert_eq!((offer.codecs, offer.ours), (able, able.numbers));
        let answer = Remote::read(&theirs, DescriptionKind::Answer, None, Codecs::OURS).unwrap();
        assert!(answer.sdp.contains("SAVPF 111 63\r\n") && answer.sdp.contains("a=rtpmap:63 red"), "{}", answer.sdp);
        assert_eq!((answer.codecs, answer.ours), (able, Codecs::OURS.numbers));
        let plain = Remote::read(&theirs, DescriptionKind::Offer, None, Codecs::PLAIN).unwrap();
        assert!(plain.sdp.contains("SAVPF 96\r\n") && !plain.sdp.contains("red"), "{}", plain.sdp);
        assert_eq!(plain.codecs.abilities, Codecs::PLAIN.abilities);
    }

    #[test]
    fn codecs_are_written_into_the_audio_section_alone() {
        let refused = AUDIO.replace("audio 9", "audio 0");
        let ours = with_codecs(&[HEAD, AUDIO, VIDEO, &refused, DATA].concat(), &Codecs::OURS);
        assert_eq!(ours, [HEAD, &Codecs::OURS.write(AUDIO), VIDEO, &refused, DATA].concat());
    }

    #[test]
    fn a_section_that_gives_no_direction_means_both() {
        let silent = AUDIO.replace("a=sendrecv\r\n", "");
        assert!(read(&[&silent]).unwrap().sdp.ends_with("a=sendrecv\r\n"));
    }
}
