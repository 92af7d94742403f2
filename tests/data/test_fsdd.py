"""Spoken digits: from recordings to spectrograms, and all the way to an exported network."""

import json
import wave

import numpy as np
import pytest

from gxnor.data import fsdd, load
from gxnor.errors import GxnorError


def tone(hertz: float, seconds: float = 0.3, loud: float = 8000) -> np.ndarray:
    return (loud * np.sin(2 * np.pi * hertz * np.arange(int(seconds * fsdd.RATE)) / fsdd.RATE)).astype("<i2")


def save(path, samples, rate=fsdd.RATE, channels=1, width=2):
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())


@pytest.fixture
def recordings(tmp_path):
    """Ten "digits", tones of different heights, fourteen recordings each by one speaker; 0 to 4 are for testing."""
    for digit in range(10):
        for number in range(14):
            save(tmp_path / f"fsdd/recordings/{digit}_ann_{number}.wav", tone(200 + 350 * digit + 5 * number))
    return tmp_path / "fsdd" / "recordings"


def test_recordings_are_split_by_their_number(tmp_path, recordings):
    dataset = load("fsdd", tmp_path)
    assert dataset.train_images.shape == (90, fsdd.BANDS, fsdd.FRAMES) and dataset.train_images.dtype == np.uint8
    assert dataset.test_labels.tolist() == [digit for digit in range(10) for _ in range(5)]
    with wave.open(str(recordings / "3_ann_4.wav")) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    assert (dataset.test_images[19] == fsdd.spectrogram(samples)).all()
    assert (load("fsdd", recordings.parent).test_images == dataset.test_images).all()


def test_a_tone_is_loud_in_the_band_of_its_height_while_it_lasts():
    mel = 2595 * np.log10(1 + 1000 / 700)
    low, high = 2595 * np.log10(1 + np.array([fsdd.LOWEST, 4000]) / 700)
    band = round((mel - low) / (high - low) * (fsdd.BANDS + 1)) - 1
    seen = fsdd.spectrogram(tone(1000, 0.5))
    frames = int(0.5 * fsdd.RATE / fsdd.HOP) - 2
    assert (seen[:, 1:frames].argmax(0) == band).all() and seen[band, 1:frames].min() > 240
    assert (seen[:, frames + 4 :] == 0).all()
    assert seen.max() == 255


def test_loudness_of_the_recording_makes_no_difference_and_silence_is_black():
    quiet, loud = fsdd.spectrogram(tone(700, loud=300)), fsdd.spectrogram(tone(700, loud=30000))
    assert np.abs(quiet.astype(int) - loud)[loud > 128].max() <= 2  # what is fainter is the rounding of the samples
    assert not fsdd.spectrogram(np.zeros(5000, np.int16)).any()
    assert fsdd.spectrogram(np.ones(1, np.int16)).shape == fsdd.spectrogram(tone(700, 9.0)).shape == (32, 64)


def test_what_is_no_recording_is_named(tmp_path, recordings):
    one = recordings / "3_ann_7.wav"
    whole = one.read_bytes()
    for content in (whole[:-100], whole[:50], b"", b"RIFF no wave"):
        one.write_bytes(content)
        with pytest.raises(GxnorError, match=r"3_ann_7\.wav .*(cut off|cannot be read)"):
            load("fsdd", tmp_path)
    for options in ({"rate": 16000}, {"channels": 2}, {"width": 1}):
        save(one, tone(500), **options)
        with pytest.raises(GxnorError, match=r"3_ann_7\.wav is of .* expected 1, 16, 8000"):
            load("fsdd", tmp_path)
    one.rename(recordings / "three.wav")
    with pytest.raises(GxnorError, match=r"three\.wav is not a recording of FSDD"):
        load("fsdd", tmp_path)


def test_without_recordings_it_says_what_to_put_where():
    with pytest.raises(GxnorError, match=r"free-spoken-digit-dataset and put its folder recordings into .*fsdd, or"):
        load("fsdd")


def test_a_network_on_sound_is_trained_exported_and_predicts_the_same(tmp_path, recordings, capsys):
    pytest.importorskip("torch")
    from gxnor.cli import main as cli

    run, program, data = str(tmp_path / "run"), str(tmp_path / "net.gxnor"), ["--data-dir", str(tmp_path)]
    settings = ["network.layers=8C5-MP4-16C3-MP4-10", "network.padding=valid", "data.validation=20", "train.batch=10",
                "train.batch_growth=1", "train.recalibration_batches=2", "train.epochs=8", "optimizer.lr=0.2",
                "optimizer.lr_end=0.02"]  # fmt: skip
    words = [word for setting in settings for word in ("--set", setting)]
    assert cli.main(["train", "fsdd", *words, "--out", run, *data]) == 0
    assert cli.main(["export", run, "-o", program]) == 0
    assert cli.main(["inspect", program, "--data", "fsdd", *data]) == 0
    results = []
    for path in (run, program):
        capsys.readouterr()
        assert cli.main(["eval", path, "--json", *data]) == 0
        results.append(json.loads(capsys.readouterr().out))
    assert results[0]["predictions"] == results[1]["predictions"]
    assert results[0]["test_accuracy"] > 0.5  # chance is 0.1
    assert cli.main(["train", "fsdd", *words, "--set", "augment.flip=true", "--out", run + "2", *data]) == 2
    assert "augment.flip is for images, which fsdd does not hold" in capsys.readouterr().err


@pytest.mark.parametrize("most", [1, 6])
def test_series_are_shifted_in_time_alone_and_filled_with_silence(most):
    torch = pytest.importorskip("torch")
    from gxnor.training.augment import augment
    from gxnor.training.recipe import Augment

    series = torch.randint(1, 256, (200, 3, 12), dtype=torch.uint8)
    shifted = augment(series, Augment(shift=most), torch.Generator().manual_seed(0))
    seen = set()
    for before, after in zip(series, shifted, strict=True):
        places = [s for s in range(-most, most + 1) if torch.equal(_move(before, s), after)]
        assert len(places) == 1
        seen.update(places)
    assert seen == set(range(-most, most + 1))


def _move(x, by):
    import torch

    return torch.nn.functional.pad(x, (by, -by))
