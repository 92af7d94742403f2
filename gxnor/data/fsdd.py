"""The Free Spoken Digit Dataset: 3,000 recordings of spoken digits by six speakers, as spectrograms.

recordings/DIGIT_SPEAKER_NUMBER.wav: one channel of 16 bits at 8 kHz. Recordings 0 to 4 of every speaker and digit are the
official test part.
Source: Z. Jackson and others, https://github.com/Jakobovski/free-spoken-digit-dataset.
"""

from __future__ import annotations

import os
import re
import wave
from pathlib import Path

import numpy as np

from gxnor.data.dataset import DIGITS, Dataset
from gxnor.data.files import folders
from gxnor.errors import WorkError

RATE = 8000  # samples a second
WINDOW, HOP = 256, 128  # samples: 32 and 16 milliseconds
BANDS, FRAMES = 32, 64  # of a spectrogram; 64 frames are about a second, longer than 99 of 100 recordings
LOWEST = 50.0  # Hz, where the first band begins; the last ends at half the rate
FLOOR = 80.0  # decibels below the loudest place of a recording, where silence begins
TEST = range(5)


def load(data_dir: str | os.PathLike | None = None) -> Dataset:
    """FSDD: 2,700 and 300 recordings as log-mel spectrograms uint8 [32, 64]: bands by frames of 16 milliseconds.

    255 is the loudest place of a recording, 0 what is 80 decibels below it, or silence; what is shorter than a second
    ends in silence, and what is longer is cut.

    Raises WorkError: there are no recordings, too few, or one that is unreadable or of another kind.
    """
    places = folders("fsdd", data_dir)
    found = [place / "recordings" for place in places if (place / "recordings").is_dir()]
    if not found:
        raise WorkError(
            "fsdd is not on this machine: get https://github.com/Jakobovski/free-spoken-digit-dataset and put its folder "
            f"recordings into {places[-1]}, or name the folder that holds it with data_dir (--data-dir) or $GXNOR_DATA"
        )
    parts: dict[bool, list[tuple[np.ndarray, int]]] = {True: [], False: []}
    for path in sorted(found[0].glob("*.wav")):
        match = re.fullmatch(r"(\d)_\w+_(\d+)\.wav", path.name)
        if not match:
            raise WorkError(
                f"{path} is not a recording of FSDD, which are called DIGIT_SPEAKER_NUMBER.wav: move it away"
            )
        parts[int(match[2]) in TEST].append((spectrogram(_read(path)), int(match[1])))
    if not all(parts.values()):
        raise WorkError(
            f"{found[0]} holds too few recordings, expected some of number 0 to 4 and others: get the original"
        )
    train, test = (
        (np.stack([image for image, _ in parts[of]]), np.array([label for _, label in parts[of]], np.int64))
        for of in (False, True)
    )
    return Dataset("fsdd", *train, *test, DIGITS)


def spectrogram(samples: np.ndarray) -> np.ndarray:
    """uint8 [BANDS, FRAMES] of int16 samples [n].

    p = round(255 (1 + d / 80)), in [0, 255]; d: decibels of a band's power in a Hann window, against the largest."""
    padded = np.zeros(WINDOW + HOP * (FRAMES - 1))
    padded[: len(samples)] = samples[: len(padded)]
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(WINDOW), axis=1)) ** 2 @ _mel_bands()
    loudest = power.max()
    if loudest == 0:
        return np.zeros((BANDS, FRAMES), np.uint8)
    decibels = 10 * np.log10(np.maximum(power / loudest, 10 ** (-FLOOR / 10)))
    return np.rint(255 * (1 + decibels / FLOOR)).astype(np.uint8).T.copy()


def _mel_bands() -> np.ndarray:
    """float64 [frequencies, BANDS]: triangles that are equally wide on the mel scale, m = 2595 log10(1 + f / 700)."""
    lowest, highest = 2595 * np.log10(1 + np.array([LOWEST, RATE / 2]) / 700)
    mel = np.linspace(lowest, highest, BANDS + 2)
    edges = 700 * (10 ** (mel / 2595) - 1)
    frequencies = np.fft.rfftfreq(WINDOW, 1 / RATE)[:, None]
    rising = (frequencies - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - frequencies) / (edges[2:] - edges[1:-1])
    return np.maximum(0, np.minimum(rising, falling))


def _read(path: Path) -> np.ndarray:
    try:
        with wave.open(str(path)) as file:
            kind = (file.getnchannels(), 8 * file.getsampwidth(), file.getframerate())
            if kind != (1, 16, RATE):
                raise WorkError(
                    f"{path} is of {kind[0]} channels, {kind[1]} bits, {kind[2]} Hz; expected 1, 16, {RATE}"
                )
            count, data = file.getnframes(), file.readframes(file.getnframes())
    except (OSError, EOFError, wave.Error) as error:
        raise WorkError(f"{path} cannot be read as a WAV file ({error}): get the original") from None
    if len(data) != 2 * count or not count:
        raise WorkError(f"{path} is cut off or empty: get the original")
    return np.frombuffer(data, "<i2")
