"""A page for the browser, as headless Chromium shows it: milliseconds per image, and a picture of it.

    gxnor export runs/mnist-seed1 --to web -o mnist.html
    python benchmarks/web.py mnist.html --picture docs/images/web.png

Needs playwright (pip) and Chromium. On a machine busy with other things, `chrt -r 1` before the command keeps these out
of the times.
"""

from __future__ import annotations

import argparse
import io
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

RUNS = 1000
TIMES = f"""() => {{
    const pixels = Uint8Array.from(net.values[0], (v) => (v + 255) / 2), times = [];
    for (let i = 0; i < {RUNS}; i++) {{
        const start = performance.now();
        net.run(pixels);
        times.push(performance.now() - start);
    }}
    return times;
}}"""
GAP = 40  # pixels around the two shots of the picture
HEIGHT = 1270  # of the shots
PHONE = (390, 844)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("page", type=Path)
    parser.add_argument("--picture", type=Path, metavar="FILE.png")
    arguments = parser.parse_args(argv)
    from playwright.sync_api import sync_playwright

    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-headless-shell", "google-chrome"))))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        desktop = visit(browser, arguments.page, viewport=size(1100, HEIGHT), color_scheme="light")
        times = np.sort(desktop.evaluate(TIMES))
        print(f"{times[RUNS // 10]:.2f} ms per image at best (fastest tenth), {np.median(times):.2f} ms in the middle")
        if arguments.picture:
            phone = visit(browser, arguments.page, viewport=size(*PHONE), color_scheme="dark", is_mobile=True,
                          has_touch=True, device_scale_factor=HEIGHT / PHONE[1])  # fmt: skip
            shots = [Image.open(io.BytesIO(page.screenshot())) for page in (desktop, phone)]
            beside(*shots).save(arguments.picture, optimize=True)
        browser.close()


def size(width: int, height: int) -> dict:
    return {"width": width, "height": height}


def visit(browser, path: Path, **device):
    """The page with an example drawn, often enough that its figures have settled."""
    page = browser.new_page(**device)
    page.goto(path.resolve().as_uri())
    for turn in range(100):
        page.keyboard.press(str(3 + turn % 2))
        page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    page.keyboard.press("3")
    page.wait_for_timeout(500)
    return page


def beside(left: Image.Image, right: Image.Image) -> Image.Image:
    """Both on one sheet, in few colours."""
    sheet = Image.new("RGB", (left.width + right.width + GAP, HEIGHT), "white")
    sheet.paste(left, (0, 0))
    sheet.paste(right, (left.width + GAP, 0))
    return sheet.quantize(128, dither=Image.Dither.NONE)


if __name__ == "__main__":
    main()
