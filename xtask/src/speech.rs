//! Speech for demo and tests, spoken on the spot by espeak-ng (what the program says is free of its licence).

use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::Command;

/// Two people whose voices and words differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voice {
    Client,
    Provider,
}

impl Voice {
    fn arguments(self) -> [&'static str; 6] {
        match self {
            Self::Client => ["-v", "en-gb", "-p", "65", "-s", "150"],
            Self::Provider => ["-v", "en-us", "-p", "30", "-s", "165"],
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Client => {
                "Good morning, it is good to hear you. I have been looking at the second exercise all week, and the \
                 left hand still falls behind the right one when the tempo goes up. Shall I play it slowly first, or \
                 would you rather hear the whole page from the beginning, with every mistake in it? I also wanted to \
                 ask about the concert in June, and whether the quartet could use the small hall."
            }
            Self::Provider => {
                "Hello, the line is very clear today. Please take the metronome down to sixty and count aloud with \
                 each bar. Most people hurry where the melody climbs, so listen for that place and breathe before it. \
                 When four bars are even, we add a little speed and do them once more. Bring a pencil, we will mark \
                 the fingering together, and then we can talk about everything else that you have in mind."
            }
        }
    }
}

/// Writes about twenty seconds of speech as a WAV file (22.05 kHz, one channel, 16 bits).
pub fn speak(voice: Voice, wav: &Path) -> Result<()> {
    let status = Command::new("espeak-ng")
        .args(voice.arguments())
        .arg("-w")
        .arg(wav)
        .arg(voice.words())
        .status()
        .context("espeak-ng cannot be started (package espeak-ng)")?;
    if !status.success() {
        bail!("espeak-ng ended with {status}");
    }
    Ok(())
}

/// As [`speak`], said again and again for at least so many seconds.
pub fn speak_for(voice: Voice, wav: &Path, seconds: u32) -> Result<()> {
    speak(voice, wav)?;
    let once = std::fs::read(wav)?;
    // What espeak-ng writes has the plain header of 44 bytes: the rate stands at 24, the size of the samples at 40.
    let (Some(header), Some(samples)) = (once.get(..44), once.get(44..)) else { bail!("espeak-ng wrote no speech") };
    let rate = u32::from_le_bytes([header[24], header[25], header[26], header[27]]);
    let wanted = seconds as usize * rate as usize * 2;
    let samples = samples.repeat(wanted.div_ceil(samples.len().max(1)));
    let size = u32::try_from(samples.len())?;
    let mut all = header.to_vec();
    all[4..8].copy_from_slice(&(size + 36).to_le_bytes());
    all[40..44].copy_from_slice(&size.to_le_bytes());
    all.extend(samples);
    Ok(std::fs::write(wav, all)?)
}
