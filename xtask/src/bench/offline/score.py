"""Scores what the sound laboratory wrote.

    sound_lab ... | score.py CLIPS > scores.jsonl

Reads a line of JSON for each clip heard, adds "scores" to it and writes it on; the recording is deleted.

* delay_ms: median over pieces of half a second of speech of where each is found again in what was heard, by normalised
  cross-correlation at 8 kHz, and on the simulation's clock; delay_95_ms: the 95th percentile; found: how many were.
* pesq: ITU-T P.862.2 (wideband) of the scored part, both at 16 kHz, what was heard shifted by the median delay.
  first_pesq: the same of the lead, the first seconds of a call.
* estoi: extended STOI (Jensen and Taal, 2016), each piece taken from where it was found, as the measure itself does not
  align.
* silent: share of speech, in blocks of 20 ms, where what was heard is more than 30 dB below it, or nothing.
"""

import json
import multiprocessing
import os
import sys
import warnings
import wave

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np
from pesq import pesq
from pystoi import stoi
from scipy.signal import resample_poly

RATE = 16_000
SLOW = 8_000
PIECE, LONGEST = 0.5, 2.0
# Root of mean square of a piece that counts as speech, and how like it has to be to count as found.
SPEECH, LIKE = 0.01, 0.5
# Farther from the median than any buffer here is long, in seconds.
FAR = 1.0
WORKERS = 2


def read(file):
    with wave.open(file) as reader:
        samples = np.frombuffer(reader.readframes(reader.getnframes()), dtype="<i2") / 32_768.0
        return samples, reader.getframerate()


def pieces(clip, heard, begin, end):
    """Where each piece of speech of the clip between these seconds is found: (second of the clip, lag in seconds)."""
    said, played = resample_poly(clip, 1, RATE // SLOW), resample_poly(heard, 1, RATE // SLOW)
    size, longest = int(PIECE * SLOW), int(LONGEST * SLOW)
    played = np.concatenate([played, np.zeros(size + longest)])
    found, speech = [], 0
    for at in range(int(begin * SLOW), int(end * SLOW) - size + 1, size // 2):
        piece = said[at : at + size]
        if np.sqrt(np.mean(piece**2)) < SPEECH:
            continue
        speech += 1
        within = played[at : at + size + longest]
        length = 1 << (len(within) + size - 1).bit_length()
        product = np.fft.irfft(np.fft.rfft(within, length) * np.conj(np.fft.rfft(piece, length)), length)[: longest + 1]
        sums = np.concatenate([[0.0], np.cumsum(within**2)])
        power = np.sqrt(np.sum(piece**2) * np.maximum(sums[size : size + longest + 1] - sums[: longest + 1], 1e-9))
        like = product / power
        lag = int(np.argmax(like))
        if like[lag] > LIKE:
            found.append((at / SLOW, lag / SLOW))
    # What is far from all the others is another place that sounds alike.
    middle = np.median([lag for _, lag in found]) if found else 0.0
    return [(at, lag) for at, lag in found if abs(lag - middle) < FAR], speech


def from_where(samples, start, length):
    """So many samples from there; silence beyond the ends."""
    out = np.zeros(length)
    first, last = max(start, 0), min(start + length, len(samples))
    if last > first:
        out[first - start : last - start] = samples[first:last]
    return out


def wideband(clip, heard, begin, end, lag):
    start, length = int(begin * RATE), int((end - begin) * RATE)
    try:
        return float(pesq(RATE, clip[start : start + length], from_where(heard, start + int(lag * RATE), length), "wb"))
    except Exception:
        # Nothing was heard that the measure takes for speech: the least that it gives.
        return 1.0


def warped(heard, found, begin, end):
    """What was heard between these seconds of the clip, each piece from where it was found."""
    times, lags = np.array([at + PIECE / 2 for at, _ in found]), np.array([lag for _, lag in found])
    # A lag that no neighbour shares is a mistake.
    smooth = np.array([np.median(lags[max(0, i - 1) : i + 2]) for i in range(len(lags))])
    step = int(PIECE / 2 * RATE)
    parts = []
    for start in range(int(begin * RATE), int(end * RATE), step):
        nearest = int(np.argmin(np.abs(times - (start + step / 2) / RATE)))
        parts.append(from_where(heard, start + int(smooth[nearest] * RATE), min(step, int(end * RATE) - start)))
    return np.concatenate(parts)


def silent(said, heard):
    block = RATE // 50
    count = len(said) // block
    loud = np.sqrt(np.mean(said[: count * block].reshape(count, block) ** 2, axis=1))
    left = np.sqrt(np.mean(heard[: count * block].reshape(count, block) ** 2, axis=1))
    speech = loud > SPEECH
    return float(np.mean(left[speech] < loud[speech] * 10 ** (-30 / 20))) if speech.any() else 0.0


def score(task):
    folder, line = task
    run = json.loads(line)
    clip, _ = read(f"{folder}/{run['clip']}-16.wav")
    heard, rate = read(run["heard"])
    heard = resample_poly(heard, 1, rate // RATE)
    os.remove(run["heard"])
    begin, end = run["lead"], len(clip) / RATE
    found, speech = pieces(clip, heard, begin, end)
    scores = {"speech": speech, "found": len(found), "silent": 1.0, "pesq": 1.0, "estoi": 0.0}
    if found:
        delays = [
            (run["offset"] + (at + lag) * run["listener_clock"] - at * run["speaker_clock"]) * 1000.0 for at, lag in found
        ]
        lag = float(np.median([lag for _, lag in found]))
        said = clip[int(begin * RATE) : int(end * RATE)]
        aligned = warped(heard, found, begin, end)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            estoi = float(stoi(said, aligned, RATE, extended=True))
        scores.update(
            pesq=wideband(clip, heard, begin, end, lag),
            estoi=estoi,
            delay_ms=float(np.median(delays)),
            delay_95_ms=float(np.percentile(delays, 95)),
            silent=silent(said, aligned),
        )
    early, _ = pieces(clip, heard, 0.0, begin)
    scores["first_pesq"] = wideband(clip, heard, 0.0, begin, float(np.median([lag for _, lag in early]))) if early else 1.0
    run["scores"] = scores
    return json.dumps(run)


def main(folder):
    with multiprocessing.Pool(WORKERS) as pool:
        tasks = ((folder, line) for line in sys.stdin if line.strip())
        for line in pool.imap_unordered(score, tasks):
            print(line, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
