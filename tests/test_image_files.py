"""Image files of more than 8 bits per channel are refused, in `run` and in the data set `folder`, whatever the format."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from benchmarks.programs import Builder
from gxnor.data import load
from gxnor.errors import GxnorError
from gxnor.runtime.network import Network

SIZE = 4


def png(channels: int, value: int = 4095, bits: int = 16) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    number = ">H" if bits == 16 else ">B"
    rows = SIZE * (b"\0" + SIZE * channels * struct.pack(number, value))
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", SIZE, SIZE, bits, kind, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def tiff(channels: int, planes: bool = False) -> bytes:
    """Of 16 bits per channel."""
    data, depths = SIZE * SIZE * channels * struct.pack("<H", 4095), channels * struct.pack("<H", 16)
    after = 8 + 2 + 10 * 12 + 4
    entries = [
        (256, 4, 1, SIZE), (257, 4, 1, SIZE), (258, 3, channels, 16 if channels == 1 else after), (259, 4, 1, 1),
        (262, 4, 1, 2 if channels >= 3 else 1), (273, 4, 1, after + len(depths)), (277, 4, 1, channels),
        (278, 4, 1, SIZE), (279, 4, 1, len(data)), (284, 4, 1, 2 if planes else 1),
    ]  # fmt: skip
    tags = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + tags + bytes(4) + depths + data


DEEP = {
    "gray.png": png(1), "gray-alpha.png": png(2, 65535), "rgb.png": png(3), "rgba.png": png(4, 65535),
    "gray.tif": tiff(1), "rgb.tif": tiff(3), "rgba.tif": tiff(4), "planes.tif": tiff(3, planes=True),
    "rgb.ppm": b"P6 4 4 65535\n" + 48 * b"\x0f\xff", "rgb-10-bit.ppm": b"P6 4 4 1023\n" + 48 * b"\x03\xff",
    "gray.pgm": b"P5 4 4 65535\n" + 16 * b"\x0f\xff", "text.ppm": b"P3 4 4 65535\n" + 48 * b"4095 ",
}  # fmt: skip


def network(channels: int) -> Network:
    net = Builder((channels, SIZE, SIZE))
    net.flatten()
    net.dense(3)
    return Network(net.program())


# Pillow#880
@pytest.mark.parametrize("name", DEEP)
@pytest.mark.parametrize("channels", [1, 3])
def test_run_refuses_images_of_16_bits_a_channel(name, channels, tmp_path):
    (tmp_path / name).write_bytes(DEEP[name])
    with pytest.raises(GxnorError, match=f"{name}: expected 8 bits per channel, got (16 bits|pixels of kind I)"):
        network(channels).classify(tmp_path / name)


# Pillow#880
@pytest.mark.parametrize("name", DEEP)
def test_a_folder_to_train_on_refuses_images_of_16_bits_a_channel(name, tmp_path):
    for place in ("train/cat", "train/dog", "test/cat"):
        (tmp_path / place).mkdir(parents=True)
        Image.new("RGB", (SIZE, SIZE), (1, 2, 3)).save(tmp_path / place / "1.png")
    (tmp_path / "train/dog" / name).write_bytes(DEEP[name])
    with pytest.raises(GxnorError, match=f"{name}: expected 8 bits per channel, got (16 bits|pixels of kind I)"):
        load("folder", path=tmp_path)


@pytest.mark.parametrize("kind", ["png", "bmp", "gif", "tif", "ppm", "webp"])
def test_images_of_8_bits_a_channel_are_read_as_they_are(kind, tmp_path):
    pixels = np.random.default_rng(0).integers(256, size=(SIZE, SIZE, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / f"x.{kind}", **({"lossless": True} if kind == "webp" else {}))
    net = network(3)
    expected = net.logits(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
    np.testing.assert_array_equal(net.classify(tmp_path / f"x.{kind}")[0].logits, expected)


def test_fewer_bits_are_the_whole_range(tmp_path):
    (tmp_path / "x.ppm").write_bytes(b"P6 4 4 15\n" + 48 * b"\x0f")
    (tmp_path / "x.pbm").write_bytes(b"P1 4 4 " + 16 * b"0 ")
    net = network(3)
    white = net.logits(np.full((3, SIZE, SIZE), 255, np.uint8))
    for name in ("x.ppm", "x.pbm"):
        np.testing.assert_array_equal(net.classify(tmp_path / name)[0].logits, white)
