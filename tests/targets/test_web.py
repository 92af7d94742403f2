"""The page for the browser: its network in node and in Chromium, beside the reference and the engine."""

import base64
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import programs
from benchmarks.programs import Builder
from gxnor.analysis import events
from gxnor.cli import main as cli
from gxnor.errors import GxnorError
from gxnor.program import Requantize, file, reference
from gxnor.runtime.engine import Engine
from gxnor.targets import web

RUNNER = Path(__file__).with_name("run_network.js")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-headless-shell", "google-chrome"))), None)


def run_in_node(cases, folder: Path) -> list:
    """(logits, events per layer, products per layer) of every (program, batch), by the JavaScript that a page carries."""
    if shutil.which("node") is None:
        pytest.skip("needs Node.js: apt-get install nodejs")
    listed = []
    for i, (program, x) in enumerate(cases):
        program.save(folder / f"{i}.gxnor")
        (folder / f"{i}.bin").write_bytes(x.tobytes())
        values = [[value.shape, value.bound] for value in program.values]
        listed.append({"program": f"{i}.gxnor", "input": f"{i}.bin", "values": values})
    (folder / "cases.json").write_text(json.dumps(listed))
    subprocess.run(["node", RUNNER, folder, web.FOLDER / "network.js"], check=True)
    return [
        (
            np.array([sample["logits"] for sample in result["samples"]], dtype=np.uint32).view(np.float32),
            [
                sum(fired)
                for fired in zip(*(s["fired"] for s in result["samples"]), strict=True)
                if fired[0] is not None
            ],
            [macs * len(result["samples"]) for macs in result["macs"] if macs is not None],
        )
        for result in json.loads((folder / "results.json").read_text())
    ]


def assert_agrees_in_node(cases, folder: Path) -> None:
    for (program, x), (logits, fired, macs) in zip(cases, run_in_node(cases, folder), strict=True):
        expected = reference.run(program, x)
        np.testing.assert_array_equal(logits.reshape(expected.shape), expected, strict=True)
        counted = events.count(program, x)
        assert [layer.fired for layer in counted.layers] == fired
        assert [layer.macs for layer in counted.layers] == macs


def test_networks_agree_in_every_space(tmp_path):
    spaces = [(0, 0), (0, 1), (1, 1), (2, 3), (4, 4), (7, 7)]
    built = [build(N1, N2) for build in (programs.residual, programs.one_d) for N1, N2 in spaces] + [programs.mnist()]
    assert_agrees_in_node([(program, programs.batch(program, 2)) for program in built], tmp_path)


def test_random_programs_agree(tmp_path):
    built = [programs.random_program(3000 + seed, every=seed % 3 > 0) for seed in range(200)]
    assert_agrees_in_node([(program, programs.batch(program, 2, i)) for i, program in enumerate(built)], tmp_path)


def test_requantizing_in_all_of_64_bits_agrees(tmp_path):
    """Products that doubles hold, products that they do not, both signs, and shifts to their ends."""
    net = Builder((4, 6))
    for shift, factor, reach in (
        (0, 1000, 12345),
        (21, 2**31 - 1, 2**49),
        (40, 2**31 - 1, 2**60),
        (61, 2**31 - 1, 2**61),
    ):
        multiplier = np.array([factor, -factor, 3, 0], dtype=np.int32)
        offset = np.array([1 - reach, reach - 1, -1, reach], dtype=np.int64)
        net.add(Requantize((net.last,), shift, multiplier, offset), 100.0)
    net.flatten()
    program = net.program()
    assert_agrees_in_node([(program, programs.batch(program, 40))], tmp_path)


def test_sums_near_the_ends_of_int32_agree(tmp_path):
    net = Builder((3,))
    for outs in (2, 3, 2):
        net.dense(outs, 7)
    program = net.program()
    assert program.largest_sum > 2**30
    assert_agrees_in_node([(program, programs.batch(program, 50))], tmp_path)


def test_the_page_carries_the_program_and_loads_nothing():
    program = programs.mnist()
    page = web.page(program)
    assert len(page.encode()) <= 200_000
    assert base64.b64decode(re.search(r'PROGRAM = "([^"]*)"', page)[1]) == file.encode(program)
    assert not re.findall(r"""(?:src|@import|url\()[=\s]*["'(]?(?!data:)http""", page)
    assert "{{" not in page


def test_the_command_writes_a_page(tmp_path, capsys):
    programs.mnist().save(tmp_path / "net.gxnor")
    path = tmp_path / "net.html"
    assert cli.main(["export", str(tmp_path / "net.gxnor"), "--to", "web", "-o", str(path)]) == 0
    assert f"{path}: a page of {path.stat().st_size:,} bytes" in capsys.readouterr().out
    assert path.read_text(encoding="utf-8") == web.page(programs.mnist())


@pytest.mark.parametrize("program, got", [
    (programs.one_d(), r"pixels of shape \(2, 64\)"),
    (Builder((3, 8, 8), N=1), r"states of shape \(3, 8, 8\)"),
    (Builder((2, 8, 8)), r"pixels of shape \(2, 8, 8\)"),
])  # fmt: skip
def test_programs_without_images_are_refused(program, got):
    if isinstance(program, Builder):
        program.flatten()
        program = program.program()
    with pytest.raises(GxnorError, match=rf"a page shows images: expected .*, got {got}"):
        web.page(program)


@pytest.fixture(scope="module")
def browser():
    sync = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
    if CHROMIUM is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    with sync.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, tmp_path):
    """Opens the page of a program at the size of a phone; errors on it and requests to other places fail the test."""
    wrong, pages = [], []

    def open_page(program):
        path = tmp_path / "page.html"
        web.write(program, path)
        page = browser.new_page(viewport={"width": 390, "height": 844}, reduced_motion="reduce")
        page.on("pageerror", lambda error: wrong.append(error))
        page.on("console", lambda message: message.type == "error" and wrong.append(message.text))
        page.on("request", lambda request: request.url.startswith("http") and wrong.append(request.url))
        page.goto(path.as_uri())
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        page.close()
    assert not wrong


def logits_of(page, images: np.ndarray) -> np.ndarray:
    """The page's own network on uint8 (batch, ...)."""
    bits = page.evaluate(
        """([text, size]) => {
            const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0)), bits = [];
            for (let at = 0; at < bytes.length; at += size) {
                bits.push([...new Uint32Array(Float32Array.from(net.run(bytes.subarray(at, at + size))).buffer)]);
            }
            return bits;
        }""",
        [base64.b64encode(images.tobytes()).decode(), images[0].size],
    )
    return np.array(bits, dtype=np.uint32).view(np.float32)


def shown(page) -> str:
    """The class on the page, after what was asked for has been drawn."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return page.inner_text("#class")


def until(page, condition: str) -> None:
    """The page's policy forbids the evaluation of texts that playwright's own waiting needs."""
    for _ in range(200):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    pytest.fail(f"never became true: {condition}")


def verdict(page, program, pixels: np.ndarray | None = None) -> str:
    """The class of what the page's network last saw, or of the pixels, by the reference."""
    if pixels is None:
        pixels = np.array(page.evaluate("[...net.values[0]]"), dtype=np.int32).reshape(1, *program.input.shape)
    return program.classes[int(reference.run(program, pixels).argmax())]


@pytest.mark.browser
def test_a_thousand_stored_digits_give_the_engines_logits(visit):
    from gxnor.data import load

    try:
        images, program = load("mnist").test_images[:1000], programs.mnist()
    except GxnorError as error:
        pytest.skip(f"needs MNIST: {error}")
    np.testing.assert_array_equal(logits_of(visit(program), images), Engine(program).run(images), strict=True)


@pytest.mark.browser
@pytest.mark.parametrize("program", [programs.cifar(width=8), programs.residual(2, 3)])
def test_other_networks_give_the_references_logits(visit, program):
    images = programs.batch(program, 5)
    np.testing.assert_array_equal(logits_of(visit(program), images), reference.run(program, images), strict=True)


@pytest.mark.browser
def test_digits_are_drawn_by_mouse_touch_and_keyboard(visit):
    program = programs.mnist()
    page = visit(program)
    page.click("#clear")
    assert shown(page) == "?"
    box = page.locator("#board").bounding_box()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.2 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.8 * box["height"], steps=9)
    page.mouse.up()
    assert shown(page) == verdict(page, program)
    drawn = page.evaluate("[...net.values[0]]")
    assert np.sum(np.array(drawn) > 0) > 20  # a line of ink, 20 of 28 pixels high
    page.keyboard.press("Escape")
    assert shown(page) == "?"
    page.focus("#board")
    page.keyboard.press("Space")
    for _ in range(12):
        page.keyboard.press("ArrowDown")
    assert shown(page) == verdict(page, program)
    lines = []
    for digit in range(10):
        page.keyboard.press(str(digit))
        assert shown(page) == verdict(page, program)
        lines.append(page.evaluate("net.values[0].join()"))
    assert len(set(lines)) == 10


@pytest.mark.browser
@pytest.mark.parametrize("program", [programs.mnist(), programs.cifar(width=8)])
def test_an_image_of_the_networks_size_is_taken_as_it_is(visit, program, tmp_path):
    x = programs.batch(program, 1, seed=5)
    Image.fromarray(np.squeeze(x[0].transpose(1, 2, 0))).save(tmp_path / "image.png")
    page = visit(program)
    page.set_input_files("#file", tmp_path / "image.png")
    until(page, "picture !== null")
    assert shown(page) == verdict(page, program, x)
    assert page.evaluate("[...net.values[0]]") == (2 * x.astype(int) - 255).reshape(-1).tolist()


@pytest.mark.browser
def test_a_photo_of_a_digit_becomes_ink(visit, tmp_path):
    """Dark ink on bright paper, larger than the network's image: turned round, cut out and centred."""
    photo = np.full((300, 400), 200, dtype=np.uint8)
    photo[60:240, 150:180] = 30
    Image.fromarray(photo).save(tmp_path / "photo.jpg")
    page = visit(programs.mnist())
    page.set_input_files("#file", tmp_path / "photo.jpg")
    until(page, "picture !== null")
    shown(page)
    seen = np.array(page.evaluate("[...net.values[0]]")).reshape(28, 28)
    rows, columns = np.nonzero(seen > 0)
    assert 19 <= np.ptp(rows) + 1 <= 29 and np.ptp(columns) < 7
    assert abs(columns.mean() - 13.5) <= 1


@pytest.mark.browser
def test_what_is_no_image_is_refused_on_the_page(visit, tmp_path):
    (tmp_path / "text.png").write_text("no image")
    page = visit(programs.mnist())
    page.set_input_files("#file", tmp_path / "text.png")
    until(page, "document.getElementById('hint').textContent.includes('not an image')")


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_phone_in_light_and_in_dark(visit, scheme):
    page = visit(programs.mnist())
    page.emulate_media(color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", colour)[:3])) > 384) == (scheme == "light")
