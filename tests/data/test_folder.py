import numpy as np
import pytest
from PIL import Image

from gxnor.data import load
from gxnor.errors import GxnorError

RANDOM = np.random.default_rng(0)


def save(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def gray(height=6, width=5):
    return RANDOM.integers(0, 256, (height, width), dtype=np.uint8)


def colour(height=6, width=5):
    return RANDOM.integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def images(tmp_path):
    """Two classes, two training images and one test image each, grayscale, 6x5."""
    images = {}
    for name in ("train/cat/1.png", "train/cat/2.png", "train/dog/1.png", "train/dog/2.png"):
        images[name] = gray()
    for name in ("test/cat/3.png", "test/dog/3.png"):
        images[name] = gray()
    for name, pixels in images.items():
        save(tmp_path / name, pixels)
    return images


def test_grayscale_images(tmp_path, images):
    dataset = load("folder", path=tmp_path)
    train = [images[f"train/{name}.png"] for name in ("cat/1", "cat/2", "dog/1", "dog/2")]
    assert (dataset.train_images == np.stack(train)[:, None]).all()
    assert dataset.train_labels.tolist() == [0, 0, 1, 1]
    assert (dataset.test_images == np.stack([images["test/cat/3.png"], images["test/dog/3.png"]])[:, None]).all()
    assert dataset.test_labels.tolist() == [0, 1]
    assert dataset.classes == ("cat", "dog")


def test_one_colour_image_makes_all_rgb(tmp_path, images):
    pixels = colour()
    save(tmp_path / "test/dog/3.png", pixels)
    dataset = load("folder", path=str(tmp_path))
    assert (dataset.test_images[1] == pixels.transpose(2, 0, 1)).all()
    assert (dataset.train_images == dataset.train_images[:, :1]).all()
    assert (dataset.train_images[0, 2] == images["train/cat/1.png"]).all()


def test_jpeg_palette_and_black_and_white_images(tmp_path, images):
    flat = np.full((6, 5), 200, np.uint8)
    save(tmp_path / "train/cat/3.jpg", flat, quality=100)
    Image.fromarray(flat > 0).save(tmp_path / "train/cat/4.png")
    dataset = load("folder", path=tmp_path)
    assert dataset.train_images.shape == (6, 1, 6, 5)
    assert np.abs(dataset.train_images[2].astype(int) - 200).max() <= 2
    assert (dataset.train_images[3] == 255).all()
    pixels = np.zeros((6, 5, 3), np.uint8)
    pixels[:3] = 255, 0, 0
    Image.fromarray(pixels).convert("P").save(tmp_path / "train/cat/5.png")
    dataset = load("folder", path=tmp_path)
    assert (dataset.train_images[4] == pixels.transpose(2, 0, 1)).all()


def test_resizing(tmp_path, images):
    save(tmp_path / "train/dog/2.png", np.full((60, 70), 90, np.uint8))
    with pytest.raises(
        GxnorError, match=r"dog/2\.png is 60x70 where .*cat/1\.png is 6x5.*data\.size = \[HEIGHT, WIDTH\]"
    ):
        load("folder", path=tmp_path)
    dataset = load("folder", path=tmp_path, size=[6, 5])
    assert (dataset.train_images[0, 0] == images["train/cat/1.png"]).all()  # already of that size
    assert (dataset.train_images[3] == 90).all()
    assert load("folder", path=tmp_path, size=(3, 8)).test_images.shape == (2, 1, 3, 8)


def test_a_test_image_of_another_size(tmp_path, images):
    save(tmp_path / "test/dog/3.png", gray(6, 6))
    with pytest.raises(GxnorError, match=r"test/dog/3\.png is 6x6"):
        load("folder", path=tmp_path)


@pytest.mark.parametrize("size", [5, "8x8", (8,), (0, 8), (8, -1), (8.0, 8.0), (True, True)])
def test_an_impossible_size(tmp_path, images, size):
    with pytest.raises(GxnorError, match=r"data\.size must be two positive integers"):
        load("folder", path=tmp_path, size=size)


def test_hidden_files_are_skipped(tmp_path, images):
    for name in (".DS_Store", "train/.DS_Store", "train/cat/.DS_Store", "test/dog/Thumbs.db"):
        (tmp_path / name).write_bytes(b"no image")
    assert len(load("folder", path=tmp_path).train_images) == 4


@pytest.mark.parametrize("content", [b"", b"no image", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 6 5\n"])
def test_a_file_that_is_no_image(tmp_path, images, content):
    (tmp_path / "train/dog/note.png").write_bytes(content)
    with pytest.raises(GxnorError, match=r"train/dog/note\.png: expected an image file .*PNG, .* move it away"):
        load("folder", path=tmp_path)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("kind", ["png", "jpg", "bmp", "tif", "webp", "pgm"])
def test_every_format_whole_and_cut_off(tmp_path, images, kind):
    path = tmp_path / f"train/dog/3.{kind}"
    save(path, gray(6, 5))
    content = path.read_bytes()
    assert len(load("folder", path=tmp_path).train_images) == 5
    for length in range(0, len(content) * 3 // 4, 9):
        path.write_bytes(content[:length])
        with pytest.raises(
            GxnorError, match=f"dog/3.{kind}( cannot be read|: expected an image|: the image is broken)"
        ):
            load("folder", path=tmp_path)


def test_pixels_that_do_not_fit_a_byte(tmp_path, images):
    save(tmp_path / "train/dog/2.png", np.full((6, 5), 40000, np.uint16))
    with pytest.raises(GxnorError, match=r"train/dog/2\.png: expected 8 bits per channel, got pixels of kind I;16"):
        load("folder", path=tmp_path)


def test_transparency(tmp_path, images):
    pixels = np.dstack([colour(), np.full((6, 5), 255, np.uint8)])
    save(tmp_path / "train/dog/2.png", pixels)
    assert (load("folder", path=tmp_path).train_images[3] == pixels[..., :3].transpose(2, 0, 1)).all()
    pixels[2, 2, 3] = 0
    save(tmp_path / "train/dog/2.png", pixels)
    with pytest.raises(GxnorError, match=r"train/dog/2\.png: expected an opaque image, got transparent pixels"):
        load("folder", path=tmp_path)


def test_wrong_layouts(tmp_path, images):
    with pytest.raises(GxnorError, match=r"needs a folder with train/CLASS/ and test/CLASS/: data\.path"):
        load("folder")
    with pytest.raises(GxnorError, match=r"cannot read .*nowhere/train: No such file"):
        load("folder", path=tmp_path / "nowhere")
    with pytest.raises(GxnorError, match=r"cannot read .*train/cat/train"):
        load("folder", path=tmp_path / "train" / "cat")
    save(tmp_path / "test/cow/1.png", gray())
    with pytest.raises(GxnorError, match=r"test/cow is not a class of the training images \(cat, dog\)"):
        load("folder", path=tmp_path)
    (tmp_path / "train/cow").mkdir()
    with pytest.raises(GxnorError, match=r"train/cow holds no image"):
        load("folder", path=tmp_path)
    save(tmp_path / "train/cow/deeper/1.png", gray())
    with pytest.raises(GxnorError, match=r"train/cow/deeper is not an image: .* may hold images only"):
        load("folder", path=tmp_path)


def test_an_image_beside_the_class_folders(tmp_path, images):
    save(tmp_path / "train/5.png", gray())
    with pytest.raises(GxnorError, match=r"train/5\.png is not a folder: .* may hold folders only"):
        load("folder", path=tmp_path)


def test_one_class_or_no_test_image_is_too_little(tmp_path):
    save(tmp_path / "train/cat/1.png", gray())
    (tmp_path / "test").mkdir()
    with pytest.raises(GxnorError, match="holds 1 class folders, expected two or more"):
        load("folder", path=tmp_path)
    save(tmp_path / "train/dog/1.png", gray())
    with pytest.raises(GxnorError, match=r"test holds no image"):
        load("folder", path=tmp_path)
