//! The codecs of an audio section: Opus, redundant packets (RFC 2198) and what goes with them.
//!
//! The library negotiates the two payload types and nothing else. What our descriptions say beyond that is written here, and
//! here it is read what a far side's say: parameters (RFC 7587), feedback (RFC 4585, `goog-remb` by
//! draft-alvestrand-rmcat-remb) and extended reports (RFC 3611, section 5). `x-dred=1` among the parameters of Opus is a word
//! of our own: its sender decodes deep redundancy, which others skip as padding. An answer says nothing that the offer
//! does not (RFC 4585, section 4.2).

use super::description::{value, words};
use crate::pipeline::{Abilities, OPUS_PAYLOAD_TYPE, RED_PAYLOAD_TYPE};

/// Payload types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbers {
    pub opus: u8,
    pub red: Option<u8>,
}

/// What one side can do, and by which numbers. `abilities.red` is whether `numbers.red` is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Codecs {
    pub numbers: Numbers,
    pub abilities: Abilities,
}

/// What we say about Opus, the words of every browser (RFC 7587, section 6.1).
const OPUS_PARAMETERS: &str = "minptime=10;useinbandfec=1";
const DRED_PARAMETER: &str = "x-dred=1";
const NACK: &str = "nack";
const REMB: &str = "goog-remb";
const METRICS: &str = "voip-metrics";
/// Lines that say something about codecs.
const ABOUT: [&str; 4] = ["a=rtpmap:", "a=fmtp:", "a=rtcp-fb:", "a=rtcp-xr:"];

impl Codecs {
    /// All that we can do.
    pub const OURS: Self = Self {
        numbers: Numbers { opus: OPUS_PAYLOAD_TYPE, red: Some(RED_PAYLOAD_TYPE) },
        abilities: Abilities { red: true, nack: true, dred: true, reports: true },
    };
    /// Opus alone.
    pub const PLAIN: Self = Self {
        numbers: Numbers { opus: OPUS_PAYLOAD_TYPE, red: None },
        abilities: Abilities { red: false, nack: false, dred: false, reports: false },
    };

    /// What an audio section offers of it; `None` without Opus.
    pub fn read(section: &str) -> Option<Self> {
        let named = |name: &str| {
            words(section).skip(3).find(|format| {
                let map = value(section, &format!("a=rtpmap:{format} ")).unwrap_or_default();
                map.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
            })
        };
        let number = |format: &str| format.parse().ok().filter(|number| *number < 0x80);
        let opus = named("opus/48000")?;
        let parameters = |format: &str| value(section, &format!("a=fmtp:{format} ")).unwrap_or_default();
        // Redundant packets of other codecs are none of ours.
        let of_opus = |format: &&str| {
            let blocks = parameters(format);
            !blocks.is_empty() && blocks.split('/').all(|block| block.trim() == opus)
        };
        let red = named("red/48000").filter(of_opus).and_then(number);
        let feedback = |wanted: &str| {
            [opus, "*"].iter().any(|format| {
                let key = format!("a=rtcp-fb:{format} ");
                section.lines().any(|line| line.strip_prefix(&key).is_some_and(|kind| kind.trim() == wanted))
            })
        };
        let metrics = value(section, "a=rtcp-xr:").is_some_and(|kinds| kinds.split(' ').any(|kind| kind == METRICS));
        let abilities = Abilities {
            red: red.is_some(),
            nack: feedback(NACK),
            dred: parameters(opus).split(';').any(|parameter| parameter.trim() == DRED_PARAMETER),
            reports: metrics && feedback(REMB),
        };
        Some(Self { numbers: Numbers { opus: number(opus)?, red }, abilities })
    }

    /// What `other` can do as well, by our numbers.
    pub fn common(self, other: Self) -> Self {
        let (ours, theirs) = (self.abilities, other.abilities);
        let abilities = Abilities {
            red: ours.red && theirs.red,
            nack: ours.nack && theirs.nack,
            dred: ours.dred && theirs.dred,
            reports: ours.reports && theirs.reports,
        };
        Self { numbers: Numbers { red: self.numbers.red.filter(|_| abilities.red), ..self.numbers }, abilities }
    }

    /// The section with these codecs in place of those that it has.
    pub fn write(&self, section: &str) -> String {
        let Numbers { opus, red } = self.numbers;
        let Abilities { red: _, nack, dred, reports } = self.abilities;
        let mut whole = self.shown(section);
        let mut say = |line: String| whole.push_str(&format!("a={line}\r\n"));
        let parameters = if dred { [";", DRED_PARAMETER].concat() } else { String::new() };
        say(format!("fmtp:{opus} {OPUS_PARAMETERS}{parameters}"));
        if nack {
            say(format!("rtcp-fb:{opus} {NACK}"));
        }
        if reports {
            say(format!("rtcp-fb:{opus} {REMB}"));
            say(format!("rtcp-xr:{METRICS}"));
        }
        if let Some(red) = red {
            say(format!("fmtp:{red} {opus}/{opus}"));
        }
        whole
    }

    /// The same with nothing but their numbers, as the library is shown it.
    pub fn shown(&self, section: &str) -> String {
        let Numbers { opus, red } = self.numbers;
        let mut lines = section.lines();
        let first = lines.next().unwrap_or_default();
        let mut whole: String = first.split_ascii_whitespace().take(3).flat_map(|word| [word, " "]).collect();
        whole.push_str(&format!("{opus}{}\r\n", red.map(|red| format!(" {red}")).unwrap_or_default()));
        let others = lines.filter(|line| !ABOUT.iter().any(|about| line.starts_with(about)));
        others.for_each(|line| whole.push_str(&format!("{line}\r\n")));
        whole.push_str(&format!("a=rtpmap:{opus} opus/48000/2\r\n"));
        if let Some(red) = red {
            whole.push_str(&format!("a=rtpmap:{red} red/48000/2\r\n"));
        }
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BARE: &str = "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\na=sendrecv\r\n";

    #[test]
    fn what_is_written_is_read_again() {
        for codecs in [
            Codecs::OURS,
            Codecs::PLAIN,
            Codecs { numbers: Numbers { opus: 96, red: Some(97) }, ..Codecs::OURS },
            Codecs { abilities: Abilities { nack: true, ..Codecs::PLAIN.abilities }, ..Codecs::PLAIN },
        ] {
            assert_eq!(Codecs::read(&codecs.write(BARE)), Some(codecs));
        }
        let written = Codecs::OURS.write(&Codecs::OURS.write(BARE));
        let expected = "m=audio 9 UDP/TLS/RTP/SAVPF 111 63\r\na=mid:0\r\na=sendrecv\r\na=rtpmap:111 opus/48000/2\r\n\
            a=rtpmap:63 red/48000/2\r\na=fmtp:111 minptime=10;useinbandfec=1;x-dred=1\r\na=rtcp-fb:111 nack\r\n\
            a=rtcp-fb:111 goog-remb\r\na=rtcp-xr:voip-metrics\r\na=fmtp:63 111/111\r\n";
        assert_eq!(written, expected);
    }

    #[test]
    fn of_a_browsers_offer_opus_and_its_redundancy_are_read_whatever_else_there_is() {
        let browser = "m=audio 9 UDP/TLS/RTP/SAVPF 9 109 63 110\r\na=mid:0\r\na=rtpmap:9 G722/8000\r\n\
            a=rtpmap:109 OPUS/48000/2\r\na=rtcp-fb:109 transport-cc\r\na=rtcp-fb:109 nack pli\r\na=fmtp:109 minptime=10\r\n\
            a=rtpmap:63 red/48000/2\r\na=fmtp:63 109/109\r\na=rtpmap:110 telephone-event/48000\r\n";
        let numbers = Numbers { opus: 109, red: Some(63) };
        let abilities = Abilities { red: true, ..Codecs::PLAIN.abilities };
        let theirs = Codecs::read(browser).unwrap();
        assert_eq!(theirs, Codecs { numbers, abilities });
        assert_eq!(theirs.common(Codecs::OURS), theirs);
        assert_eq!(theirs.common(Codecs::PLAIN).numbers, Numbers { opus: 109, red: None });
        assert_eq!(Codecs::OURS.common(theirs).numbers, Codecs::OURS.numbers);
        let answer = theirs.common(Codecs::OURS).write(browser);
        assert!(!answer.contains("nack") && !answer.contains("remb") && !answer.contains("dred"), "{answer}");
        assert!(answer.starts_with("m=audio 9 UDP/TLS/RTP/SAVPF 109 63\r\n"), "{answer}");
        for other in ["109/0", "109/110", ""] {
            let other = browser.replace("109/109", other);
            assert_eq!(Codecs::read(&other).unwrap().numbers.red, None, "{other}");
        }
        assert_eq!(Codecs::read(&browser.replace("OPUS", "PCMU")), None);
        assert_eq!(Codecs::read(&browser.replace("109", "128")), None);
        assert!(Codecs::read(&browser.replace("109 transport-cc", "* nack")).unwrap().abilities.nack);
    }
}
