"""Clips of recorded speech for the sound laboratory: what the two parties of each seed's call say.

    corpus.py FOLDER SEEDS

writes SEED-a.wav and SEED-b.wav (48 kHz), and beside each the same at 16 kHz (SEED-a-16.wav), which is what the recordings
have and what the score compares with. A clip is 8 s of lead and 15 s that are scored, of one voice, sentences with pauses
of 0.3 to 0.9 s between them, at an active level of -26 dBov, on a floor of noise at -75 dBov. The same seed has the same
clip everywhere.
"""

import glob
import math
import os
import sys
import wave

import numpy as np
from G722 import G722
from scipy.signal import lfilter, resample_poly

RATE = 16_000
LEAD, SCORED = 8.0, 15.0
LEVEL_DB = -26.0
FLOOR_DB = -75.0
PROMPTS = "/usr/share/asterisk/sounds/en_US_f_Allison"
SPHINX = "/usr/share/pocketsphinx/test/data"
# No speech in them, or not speech alone.
NOT_SPEECH = ("beep", "tone", "monkeys", "silence", "weasels", "somethingwrong", "screech", "echotest")


def prompts():
    """Allison Smith's sentences of 1.5 to 9 s."""
    found = []
    for file in sorted(glob.glob(PROMPTS + "/*.g722") + glob.glob(PROMPTS + "/dictate/*.g722")):
        if any(word in file for word in NOT_SPEECH):
            continue
        # G.722 at 64 kbit/s: one byte is two samples.
        if 1.5 <= os.path.getsize(file) * 2 / RATE <= 9.0:
            with open(file, "rb") as coded:
                found.append(np.asarray(G722(RATE, 64_000).decode(coded.read()), dtype=np.float64) / 32_768.0)
    return found


def wav(file):
    with wave.open(file) as reader:
        if reader.getframerate() != RATE or reader.getnchannels() != 1 or reader.getsampwidth() != 2:
            raise SystemExit(f"{file} is not 16-bit speech of {RATE} Hz")
        return np.frombuffer(reader.readframes(reader.getnframes()), dtype="<i2") / 32_768.0


def raw(file):
    return np.fromfile(file, dtype="<i2") / 32_768.0


def voices():
    """Sentences by voice; the first two are long enough for most of the clips."""
    return {
        "prompts": prompts(),
        "reader": [wav(file) for file in sorted(glob.glob(SPHINX + "/librivox/*.wav"))],
        "cards": [wav(file) for file in sorted(glob.glob(SPHINX + "/cards/*.wav"))],
        "commands": [raw(f"{SPHINX}/{name}.raw") for name in ("goforward", "numbers", "something")],
    }


# Which voice says the clips, in turn: the more there is of one the oftener.
TURNS = ("prompts", "reader", "prompts", "cards", "prompts", "reader", "prompts", "commands")


def active_level_db(samples):
    """Level while somebody speaks, by method B of ITU-T P.56: dBov."""
    smoothing = math.exp(-1.0 / (0.03 * RATE))
    envelope = np.abs(samples)
    for _ in range(2):
        envelope = lfilter([1.0 - smoothing], [1.0, -smoothing], envelope)
    energy = float(np.sum(samples**2))
    hangover = int(0.2 * RATE)
    below = None
    for threshold_db in np.arange(-80.0, 0.0, 0.5):
        over = np.flatnonzero(envelope >= 10 ** (threshold_db / 20))
        if not len(over):
            break
        gaps = np.minimum(np.diff(np.append(over, len(samples))), hangover)
        level = 10 * math.log10(energy / float(np.sum(gaps)))
        # The margin between level and threshold is 15.9 dB.
        if level - threshold_db <= 15.9:
            if below is None:
                return level
            (level_before, margin_before), margin = below, level - threshold_db
            share = (margin_before - 15.9) / (margin_before - margin)
            return level_before + share * (level - level_before)
        below = (level, level - threshold_db)
    raise SystemExit("a recording holds no speech")


def trimmed(samples):
    """Without what is silent before and after; a tenth of a second of it stays."""
    loud = np.flatnonzero(np.abs(samples) > 10 ** (-45 / 20))
    edge = RATE // 10
    return samples[max(0, loud[0] - edge) : loud[-1] + edge]


def faded(samples):
    ramp = np.linspace(0.0, 1.0, RATE // 100)
    samples = samples.copy()
    samples[: len(ramp)] *= ramp
    samples[-len(ramp) :] *= ramp[::-1]
    return samples


def said(sentences, seconds, random):
    """Sentences in any order with pauses, as long as asked for."""
    parts, length, order = [], 0, []
    wanted = int(seconds * RATE)
    while length < wanted:
        if not order:
            order = list(random.permutation(len(sentences)))
        pause = np.zeros(int(random.uniform(0.3, 0.9) * RATE))
        sentence = sentences[order.pop()]
        for part in (pause, sentence):
            parts.append(part)
            length += len(part)
    joined = np.concatenate(parts)[:wanted]
    # Ends in a pause, not within a word.
    joined[-RATE // 2 :] *= np.linspace(1.0, 0.0, RATE // 2) ** 2
    return joined


def write(file, samples, rate):
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes((np.clip(samples, -1.0, 32_767 / 32_768) * 32_768.0).round().astype("<i2").tobytes())


def main(folder, seeds):
    os.makedirs(folder, exist_ok=True)
    known = None
    for seed in range(seeds):
        for which, who in enumerate("ab"):
            file = f"{folder}/{seed}-{who}.wav"
            if os.path.exists(file):
                continue
            if known is None:
                known = {name: [faded(trimmed(one)) for one in sentences] for name, sentences in voices().items()}
                # Each voice at one level, so that a change of sentence is none of loudness.
                known = {
                    name: [one * 10 ** ((LEVEL_DB - active_level_db(one)) / 20) for one in sentences]
                    for name, sentences in known.items()
                }
            random = np.random.default_rng(seed * 2 + which)
            sentences = known[TURNS[(seed * 3 + which) % len(TURNS)]]
            clip = np.concatenate([said(sentences, LEAD, random), said(sentences, SCORED, random)])
            clip += random.normal(0.0, 10 ** (FLOOR_DB / 20), len(clip))
            clip *= 10 ** ((LEVEL_DB - active_level_db(clip)) / 20)
            write(f"{folder}/{seed}-{who}-16.wav", clip, RATE)
            # The name that is looked for comes last, whole.
            write(file + ".part", resample_poly(clip, 3, 1), 3 * RATE)
            os.replace(file + ".part", file)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
