//! The sentences of a check: what was found, and what mends it.

use bellwire_client::{CheckFault, CheckPath, CheckReport, Finding, PathMeasured, Verdict};

/// The one sentence that says it all.
pub fn verdict(report: &CheckReport) -> String {
    match (report.verdict, report.findings.first()) {
        (Verdict::Ready, None) => "Ready: sound and network are fine.".into(),
        (Verdict::Ready, Some(finding)) => format!("Ready, with a remark: {}", sentence(finding)),
        (Verdict::Problems, Some(finding)) => format!("Not ready: {}", sentence(finding)),
        (Verdict::Problems, None) => "Not ready.".into(),
    }
}

/// What was found.
pub fn sentence(finding: &Finding) -> String {
    let value = finding.measured.unwrap_or_default();
    match finding.fault {
        CheckFault::NoNetwork => "no way through the network works, not even to the server's test partner.".into(),
        CheckFault::NoMicrophone => "there is no microphone that can be opened.".into(),
        CheckFault::MicrophoneRefused => "the system does not let this app use the microphone.".into(),
        CheckFault::MicrophoneInUse => "another program holds the microphone.".into(),
        CheckFault::MicrophoneSilent => "the microphone is open, and nothing but silence comes from it.".into(),
        CheckFault::NoSpeaker => "there is no speaker that can be opened.".into(),
        CheckFault::TooQuiet if finding.measured.is_none() => "no voice was heard.".into(),
        CheckFault::TooQuiet => format!("your voice is too quiet ({value:.0} dBFS)."),
        CheckFault::Clipping => format!("the microphone is too loud and distorts ({value:.1} % of it)."),
        CheckFault::Echo => {
            format!("the others hear themselves: what is played comes back only {value:.0} dB weaker.")
        }
        CheckFault::Loss => format!("the network loses {value:.0} % of the sound."),
        CheckFault::Delay => format!("the network is slow: {value:.0} ms there and back."),
        CheckFault::Jitter => format!("the network is uneven: the delay jumps by {value:.0} ms."),
        CheckFault::UdpBlocked => "this network blocks UDP, so that sound takes a detour that may stutter.".into(),
        CheckFault::Noisy => format!("there is much noise around you ({value:.0} dBFS)."),
        CheckFault::OnlyRelay => "there is no direct way; calls go by the server's relay.".into(),
        CheckFault::NotTested => "the server has no test partner, so the network was not checked.".into(),
    }
}

/// What mends it.
pub fn fix(fault: CheckFault) -> &'static str {
    match fault {
        CheckFault::NoNetwork => "Try another network, or switch a VPN off.",
        CheckFault::NoMicrophone => "Plug a microphone in, or choose another with --input.",
        CheckFault::MicrophoneRefused => "Allow it in the system's settings for privacy.",
        CheckFault::MicrophoneInUse => "Close that program, or choose another microphone.",
        CheckFault::MicrophoneSilent => {
            "Look for a switch on the microphone or headset, and whether the system mutes it or forbids its use."
        }
        CheckFault::NoSpeaker => "Plug a speaker or headset in, or choose another with --output.",
        CheckFault::TooQuiet => "Speak nearer to the microphone, or raise its level in the system's settings.",
        CheckFault::Clipping => "Lower the microphone's level in the system's settings, or move away from it.",
        CheckFault::Echo => {
            "Use a headset, turn the speaker down, or choose a microphone that does not record the speaker."
        }
        CheckFault::Loss => "Use a cable or move nearer to the Wi-Fi; stop downloads and other calls.",
        CheckFault::Delay => "Switch a VPN off, stop uploads, or try another network.",
        CheckFault::Jitter => "Use a cable or move nearer to the Wi-Fi; stop downloads and uploads.",
        CheckFault::UdpBlocked => "Ask whoever runs this network to let UDP through, or try another network.",
        CheckFault::Noisy => "Close the window, switch fans off, or use a headset.",
        CheckFault::OnlyRelay => "Nothing needs to be done.",
        CheckFault::NotTested => "Ask the operator to start the server with --echo.",
    }
}

/// One way, in a line.
pub fn path(path: &PathMeasured) -> String {
    let name = match path.path {
        CheckPath::Direct => "direct",
        CheckPath::RelayUdp => "relay over UDP",
        CheckPath::RelayTcp => "relay over TCP",
        CheckPath::RelayTls => "relay over TLS",
    };
    if !path.connected {
        return format!("{name}: does not work");
    }
    format!(
        "{name}: in {} ms; {:.0} ms there and back, loss {:.1} % up and {:.1} % down, jitter {:.1} ms",
        path.setup_ms,
        path.round_trip_ms.unwrap_or_default(),
        path.loss_up * 100.0,
        path.loss_down * 100.0,
        path.jitter_ms
    )
}
