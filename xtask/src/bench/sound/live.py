"""Speech for the live laboratory, and what became of it.

    live.py speech FOLDER SECONDS            writes FOLDER/a.wav and FOLDER/b.wav: what each of the two says
    live.py judge RECORDING BEGIN END        prints as JSON how it was heard

What is said: 8 s of lead, SECONDS that are scored, 1 s of silence; a new voice every 8 s, never the same on both sides at
a time. A recording has two channels of 16-bit samples at 48 kHz: what was said, and what was heard of it. From BEGIN to
END (in seconds from the first sound) it is judged in windows of 8 s, as ITU-T P.862 wants them, with the measures of the
offline laboratory.
"""

import json
import os
import sys
import warnings

sys.path.insert(0, os.environ["BELLWIRE_OFFLINE"])

import numpy as np
from corpus import LEVEL_DB, FLOOR_DB, RATE, TURNS, active_level_db, faded, said, trimmed, voices, write
from scipy.signal import resample_poly
from score import SPEECH, pieces, silent, warped, wideband

LEAD, WINDOW, REST = 8, 8, 1
BLOCK = RATE // 50
RECORDED = 48_000


def speech(folder, seconds):
    known = {name: [faded(trimmed(one)) for one in sentences] for name, sentences in voices().items()}
    known = {
        name: [one * 10 ** ((LEVEL_DB - active_level_db(one)) / 20) for one in sentences]
        for name, sentences in known.items()
    }
    for which, name in enumerate("ab"):
        random = np.random.default_rng(which)
        windows = (LEAD + seconds + WINDOW - 1) // WINDOW
        parts = [said(known[TURNS[(n + which) % len(TURNS)]], WINDOW, random) for n in range(windows)]
        clip = np.concatenate(parts)[: (LEAD + seconds) * RATE]
        clip = np.concatenate([clip, np.zeros(REST * RATE)])
        clip += random.normal(0.0, 10 ** (FLOOR_DB / 20), len(clip))
        clip *= 10 ** ((LEVEL_DB - active_level_db(clip)) / 20)
        write(f"{folder}/{name}.wav", resample_poly(clip, 3, 1), 3 * RATE)


def levels(samples):
    blocks = samples[: len(samples) // BLOCK * BLOCK].reshape(-1, BLOCK)
    return np.sqrt(np.mean(blocks**2, axis=1))


def quiet(samples):
    return np.sum(levels(samples) < SPEECH * 10 ** (-30 / 20)) * BLOCK / RATE


def judge(recording, begin, end):
    both = np.fromfile(recording, dtype="<i2")
    both = both[: len(both) // 2 * 2].reshape(-1, 2) / 32_768.0
    first = np.flatnonzero(both[:, 0])
    if not len(first):
        raise SystemExit("nothing was said")
    both = both[first[0] :]
    clip, heard = (resample_poly(both[:, channel], 1, RECORDED // RATE) for channel in (0, 1))
    if len(clip) < end * RATE:
        raise SystemExit(f"the recording ends after {len(clip) / RATE:.1f} s")
    found, spoken, scores, silence, beyond = [], 0, [], 0.0, 0.0
    for start in range(begin, end, WINDOW):
        stop = min(start + WINDOW, end)
        here, count = pieces(clip, heard, start, stop)
        spoken += count
        part = clip[start * RATE : stop * RATE]
        found += here
        lags = [lag for _, lag in here or found]
        lag = float(np.median(lags)) if lags else 0.0
        scores.append(wideband(clip, heard, start, stop, lag))
        if len(here) > count / 2:
            speaking = np.sum(levels(part) > SPEECH) * BLOCK / RATE
            silence += float(speaking) * silent(part, warped(heard, here, start, stop))
        else:
            # Not known block by block what was meant: what was heard has so much more silence than what was said.
            first = int((start + lag) * RATE)
            beyond += float(quiet(heard[first : first + len(part)]) - quiet(part))
    lags = [lag * 1000.0 for _, lag in found]
    print(
        json.dumps({
            "delay_ms": float(np.median(lags)) if lags else None,
            "delay_5_ms": float(np.percentile(lags, 5)) if lags else None,
            "delay_95_ms": float(np.percentile(lags, 95)) if lags else None,
            "pesq": float(np.mean(scores)),
            "windows": scores,
            "silent_s": silence + max(0.0, beyond),
            "found": len(found),
            "speech": spoken,
        })
    )


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    if sys.argv[1] == "speech":
        speech(sys.argv[2], int(sys.argv[3]))
    else:
        judge(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
