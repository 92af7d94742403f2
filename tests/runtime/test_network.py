import os
import subprocess
import sys
import textwrap
import tracemalloc
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import gxnor
from benchmarks.programs import Builder, batch, cifar, mnist, one_d, two_heads
from gxnor.errors import GxnorError
from gxnor.program import file, reference
from gxnor.runtime.engine import Engine
from gxnor.runtime.network import Network
from tests.agreement import ISAS

GRAY, COLOUR = mnist(), cifar(width=8)
WITHOUT_EXTRAS = "; ".join(
    f"sys.modules[{name!r}] = None" for name in ("torch", "matplotlib", "scipy", "sklearn", "pydantic", "jinja2")
)


@pytest.fixture
def make(implementation):
    """Networks on the engine, and where there is none."""
    if implementation == "native":
        return Network

    def warned(program):
        with pytest.warns(RuntimeWarning, match=r"no native library .* Running on the slow reference interpreter"):
            return Network(program)

    return warned


def test_load_is_there_without_being_imported(tmp_path):
    file.save(GRAY, tmp_path / "net.gxnor")
    net = gxnor.load(tmp_path / "net.gxnor")
    assert net.input_shape == (1, 28, 28) and net.classes == tuple("0123456789")
    assert net.engine in (*ISAS, "reference")
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        _ = gxnor.lode


def test_samples_and_batches(make):
    net, x = make(GRAY), batch(GRAY, 35)
    expected = reference.run(GRAY, x)
    assert net.logits(x).dtype == np.float32
    np.testing.assert_array_equal(net.logits(x), expected)
    np.testing.assert_array_equal(net.logits(x[3]), expected[3])
    np.testing.assert_array_equal(net.predict(x), expected.argmax(axis=1))
    assert net.predict(x[3]) == expected[3].argmax() and isinstance(net.predict(x[3]), int)
    assert net.logits(x[:0]).shape == (0, 10) and net.predict(x[:0]).shape == (0,)
    np.testing.assert_array_equal(net.logits(x[::2, :, ::-1]), reference.run(GRAY, x[::2, :, ::-1].copy()))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_are_rounded_to_pixels(make, dtype):
    net, x = make(GRAY), np.arange(784, dtype=np.uint8).reshape(1, 28, 28)
    np.testing.assert_array_equal(net.logits((x / 255).astype(dtype)), net.logits(x))
    nudged = np.clip(x / 255 + 0.0018, 0, 1)  # less than half a step of 1/255
    np.testing.assert_array_equal(net.logits(nudged), net.logits(x))


@pytest.mark.parametrize(
    "x,message",
    [
        (np.zeros((28, 28), np.uint8), r"shape \(1, 28, 28\) or \(batch, 1, 28, 28\), channels first, got \(28, 28\)"),
        (np.zeros((2, 28, 28, 1), np.uint8), r"channels first, got \(2, 28, 28, 1\)"),
        (np.zeros((1, 1, 1, 28, 28), np.uint8), "channels first, got"),
        (np.array(3, np.uint8), r"channels first, got \(\)"),
        (np.zeros((1, 28, 28), np.int64), r"uint8 pixels 0\.\.255 or floats in \[0, 1\], got int64"),
        (np.zeros((1, 28, 28), bool), "got bool"),
        (np.zeros((1, 28, 28), complex), "got complex128"),
        (np.zeros((1, 28, 28), object), "got object"),
        (np.full((1, 28, 28), 255.0), r"floats in \[0, 1\], got floats with values from 255 to 255: divide"),
        (np.full((1, 28, 28), -0.01), "values from -0.01 to -0.01"),
        (np.full((1, 28, 28), np.nan), "got floats with NaN"),
        ([[1, 2]], "expected a NumPy array, got list"),
        (None, "got NoneType"),
    ],
)
def test_arrays_that_are_refused(x, message):
    with pytest.raises(GxnorError, match=message):
        Network(GRAY).logits(x)


def test_networks_on_states_take_indices():
    net = Builder((5,), N=1)
    net.dense(3)
    program = net.program()
    x = np.array([[0, 1, 2, 0, 1]], dtype=np.uint8)
    np.testing.assert_array_equal(Network(program).logits(x), reference.run(program, x))
    with pytest.raises(GxnorError, match="state indices below 3, got 3"):
        Network(program).logits(x + 1)
    with pytest.raises(GxnorError, match="state indices as uint8, got float64"):
        Network(program).logits(np.zeros((1, 5)))


def save_images(folder, program, count=3):
    x = batch(program, count)
    for i, image in enumerate(x):
        pixels = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return x


def logits_of_files(net, paths):
    return np.stack([answer.logits for answer in net.classify(paths)])


@pytest.mark.parametrize("kind", [str, Path])
@pytest.mark.parametrize("call", ["logits", "predict"])
def test_a_path_is_for_classify(call, kind, tmp_path):
    save_images(tmp_path, GRAY)
    for path in (tmp_path, tmp_path / "0.png", tmp_path / "nothing.npy"):
        with pytest.raises(
            GxnorError, match=r"expected a NumPy array, got the path .*: call classify\(paths\)"
        ) as error:
            getattr(Network(GRAY), call)(kind(path))
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("program", [GRAY, COLOUR])
def test_images_and_folders(program, tmp_path):
    x, net = save_images(tmp_path, program), Network(program)
    np.testing.assert_array_equal(logits_of_files(net, str(tmp_path / "1.png")), net.logits(x[1:2]))
    answers = net.classify(tmp_path)
    assert [of.input for of in answers] == [str(tmp_path / f"{i}.png") for i in range(3)]
    np.testing.assert_array_equal([of.logits for of in answers], net.logits(x))
    assert [of.index for of in answers] == net.predict(x).tolist()
    assert [of.label for of in answers] == [net.classes[of.index] for of in answers]
    again = net.classify([tmp_path / "2.png", str(tmp_path / "0.png")])
    assert [of.index for of in again] == [answers[2].index, answers[0].index]


def test_a_folder_may_hold_one_image(tmp_path):
    save_images(tmp_path, GRAY, 1)
    assert len(Network(GRAY).classify(tmp_path)) == 1


def test_gray_and_colour_are_converted(tmp_path):
    x = batch(GRAY, 1)[0]
    Image.fromarray(np.repeat(x[0][..., None], 3, axis=2)).save(tmp_path / "gray_as_rgb.png")
    np.testing.assert_array_equal(
        logits_of_files(Network(GRAY), tmp_path / "gray_as_rgb.png"), Network(GRAY).logits(x[None])
    )
    y = np.random.default_rng(0).integers(256, size=(32, 32), dtype=np.uint8)
    Image.fromarray(y).save(tmp_path / "gray.png")
    np.testing.assert_array_equal(
        logits_of_files(Network(COLOUR), tmp_path / "gray.png"), Network(COLOUR).logits(np.stack([[y, y, y]]))
    )
    Image.fromarray(y).convert("P").save(tmp_path / "palette.png")
    np.testing.assert_array_equal(
        logits_of_files(Network(COLOUR), tmp_path / "palette.png"), Network(COLOUR).logits(np.stack([[y, y, y]]))
    )
    Image.fromarray(y).convert("RGBA").save(tmp_path / "opaque.png")
    np.testing.assert_array_equal(
        logits_of_files(Network(COLOUR), tmp_path / "opaque.png"), Network(COLOUR).logits(np.stack([[y, y, y]]))
    )


def test_npy_files(tmp_path):
    net, x = Network(one_d()), batch(one_d(), 3)
    np.save(tmp_path / "all.npy", x)
    np.save(tmp_path / "one.npy", x[0])
    np.save(tmp_path / "batch.npy", x[:1])
    np.testing.assert_array_equal(logits_of_files(net, tmp_path / "all.npy"), net.logits(x))
    np.testing.assert_array_equal(logits_of_files(net, tmp_path / "one.npy"), net.logits(x[:1]))
    np.testing.assert_array_equal(logits_of_files(net, tmp_path / "batch.npy"), net.logits(x[:1]))
    assert net.classify(tmp_path / "all.npy")[2].input == f"{tmp_path / 'all.npy'}[2]"


def wrong_files(folder):
    Image.new("L", (32, 28)).save(folder / "wide.png")
    Image.new("I;16", (28, 28)).save(folder / "deep.png")
    Image.new("RGBA", (28, 28), (0, 0, 0, 7)).save(folder / "clear.png")
    (folder / "text.png").write_text("no image")
    Image.fromarray(batch(GRAY, 1)[0, 0]).save(folder / "cut.png")
    (folder / "cut.png").write_bytes((folder / "cut.png").read_bytes()[:200])
    (folder / "empty").mkdir()
    np.save(folder / "objects.npy", np.array([{}]))
    (folder / "nothing.npy").touch()
    np.save(folder / "shape.npy", np.zeros((3, 3), np.uint8))
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (99999999999, 1, 28, 28), }".ljust(117) + b"\n"
    (folder / "huge.npy").write_bytes(b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little") + header + b"x")


@pytest.mark.parametrize(
    "name,message",
    [
        ("missing.png", "missing.png: cannot be read: No such file"),
        ("wide.png", "wide.png: expected an image of 28x28 pixels, got 32x28: resize it first"),
        ("deep.png", "deep.png: expected 8 bits per channel, got pixels of kind I;16"),
        ("clear.png", "clear.png: expected an opaque image"),
        ("text.png", "text.png: .*image"),
        ("cut.png", "cut.png: .*(truncated|broken|cut)"),
        ("empty", "empty: expected images, the folder holds none"),
        ("objects.npy", "objects.npy: expected a .npy file of numbers: it holds Python objects"),
        ("nothing.npy", "nothing.npy: "),
        ("shape.npy", r"shape.npy: expected an array of shape .* got \(3, 3\)"),
        ("huge.npy", "huge.npy: "),
    ],
)
def test_files_that_are_refused(tmp_path, name, message):
    wrong_files(tmp_path)
    with pytest.raises(GxnorError, match=message) as error:
        Network(GRAY).classify(tmp_path / name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["Thumbs.db", "desktop.ini", ".DS_Store", "Icon\r"])
def test_what_systems_leave_in_folders_is_passed_over(name, tmp_path, recwarn):
    x, net = save_images(tmp_path, GRAY), Network(GRAY)
    (tmp_path / name).write_bytes(b"no image")
    recwarn.clear()
    np.testing.assert_array_equal(logits_of_files(net, tmp_path), net.logits(x))
    assert not recwarn


@pytest.mark.parametrize("name", ["notes.txt", "labels.csv", "photo.heic", "no suffix"])
def test_a_file_that_is_no_image_does_not_fail_its_folder_and_is_named(name, tmp_path):
    x, net = save_images(tmp_path, GRAY), Network(GRAY)
    (tmp_path / name).write_text("seen")
    with pytest.warns(RuntimeWarning, match=f"passed over: .*{name}"):
        np.testing.assert_array_equal(logits_of_files(net, tmp_path), net.logits(x))


@pytest.mark.parametrize("name", ["cut.png", "cut.jpg", "CUT.TIFF"])
def test_a_broken_image_fails_its_folder(name, tmp_path):
    save_images(tmp_path, GRAY)
    (tmp_path / name).write_bytes(b"not what its name says")
    with pytest.raises(GxnorError, match=name):
        Network(GRAY).classify(tmp_path)


@pytest.mark.parametrize(
    "name,content,message",
    [
        ("text.npy", b"0 1 2\n3 4 5\n", "expected a .npy file, as numpy.save writes it, got a file of another kind"),
        ("pickle.npy", b"\x80\x04K\x01.", "got a file of another kind"),
        ("renamed.npy", b"PK\x03\x04 zip", r"got an archive of several arrays \(.npz\): save the one with numpy.save"),
        ("arrays.npz", b"PK\x03\x04 zip", "got an archive of several arrays"),
        ("TEXT.NPY", b"0 1 2", "got a file of another kind"),
    ],
)
def test_no_advice_to_load_a_file_unsafely(name, content, message, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(GxnorError, match=message) as error:
        Network(one_d()).classify(tmp_path / name)
    assert "pickle" not in str(error.value).removeprefix(str(tmp_path / name))


def test_images_for_a_network_that_sees_none(tmp_path):
    Image.new("L", (64, 2)).save(tmp_path / "x.png")
    with pytest.raises(GxnorError, match=r"takes no images but \(2, 64\): pass a \.npy array"):
        Network(one_d()).classify(tmp_path / "x.png")


def test_many_threads_get_the_same_answers(make):
    net, x = make(GRAY), batch(GRAY, 8)
    expected = net.logits(x)
    with ThreadPoolExecutor(8) as pool:
        for got in pool.map(lambda _: net.logits(x), range(32)):
            np.testing.assert_array_equal(got, expected)


def test_a_loaded_network_holds_little_more_than_its_file(tmp_path):
    """Python's memory and the native plan together; a plan may hold a second kernel for small batches."""
    file.save(cifar(), tmp_path / "net.gxnor")
    gxnor.load(tmp_path / "net.gxnor")  # tables and imports are not part of the network
    tracemalloc.start()
    net = gxnor.load(tmp_path / "net.gxnor")
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    size = os.path.getsize(tmp_path / "net.gxnor")
    if net.engine == "reference":
        assert held < 1.3 * size
    else:
        program = file.read(tmp_path / "net.gxnor")
        assert held + Engine(program, kernel="direct").nbytes < 1.3 * size
        assert held + Engine(program).nbytes < 2 * 1.3 * size


def in_a_bare_process(code, *arguments):
    """Runs code where nothing of the training extra can be imported."""
    lines = f"import sys; {WITHOUT_EXTRAS}\n{textwrap.dedent(code)}"
    root = os.path.dirname(os.path.dirname(gxnor.__file__))
    environment = {**os.environ, "PYTHONPATH": root}
    return subprocess.run(
        [sys.executable, "-c", lines, *map(str, arguments)], capture_output=True, text=True, env=environment
    )


def test_loading_and_predicting_need_numpy_alone(tmp_path):
    file.save(GRAY, tmp_path / "net.gxnor")
    done = in_a_bare_process(
        """
        import numpy, gxnor
        print(gxnor.load(sys.argv[1]).predict(numpy.zeros((1, 28, 28), dtype=numpy.uint8)))
        """,
        tmp_path / "net.gxnor",
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == Network(GRAY).predict(np.zeros((1, 28, 28), dtype=np.uint8))


def test_several_outputs_come_by_their_names(implementation, tmp_path):
    two_heads().save(tmp_path / "net.gxnor")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the reference, which is slow
        net = gxnor.load(tmp_path / "net.gxnor")
    x = batch(two_heads(), 3)
    expected = reference.run(two_heads(), x)
    assert {name: len(of) for name, of in net.classes.items()} == {"head 1": 5, "head 2": 3, "head 3": 9}
    for name, logits in expected.items():
        np.testing.assert_array_equal(net.logits(x)[name], logits)
        np.testing.assert_array_equal(net.predict(x)[name], logits.argmax(1))
        np.testing.assert_array_equal(net.logits(x[1])[name], logits[1])
        np.testing.assert_array_equal(net.predict(x[1])[name], logits[1].argmax(0))
    assert type(net.predict(x[1])["head 1"]) is int
    with pytest.raises(GxnorError, match="with several outputs: call predict"):
        net.classify("image.png")
