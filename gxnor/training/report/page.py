"""One page about one training run: report.html, made from what the run folder holds.

Reads recipe.toml, history.jsonl, result.json and, where present, worst.safetensors. The page is one file that opens
without a network. Everything from the folder is escaped; what a run did not record is left out.
"""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader
from PIL import Image
from safetensors import SafetensorError
from safetensors.numpy import load

from gxnor.errors import GxnorError
from gxnor.training.report import charts, figures
from gxnor.writing import write_text

MOST_IMAGES = 40


def write(folder: Path) -> Path:
    """Write folder/report.html and return its path. The file is replaced at once or not at all.

    Raises:
        GxnorError: a file of the run is missing, unreadable or not what a run writes.
    """
    folder = Path(folder)
    recipe = _read(folder / "recipe.toml")
    history = _history(folder / "history.jsonl")
    result = _json(folder / "result.json", _read(folder / "result.json"))
    worst = _worst(folder / "worst.safetensors", result.get("classes") or [])
    try:
        html = _page(recipe, history, result, worst)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise GxnorError(f"{folder}: history.jsonl or result.json is not what a run writes: {error!r}") from error
    path = folder / "report.html"
    write_text(path, html.encode("utf-8", "backslashreplace").decode())  # names of files need not be UTF-8
    return path


def _page(recipe: str, history: list[dict], result: dict, worst: list[dict]) -> str:
    page = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True)
    page.filters.update(number=_number, percent=_percent, duration=duration, size=_size)
    layers = figures.layers(history)
    return page.get_template("report.html").render(
        result=result,
        recipe=recipe,
        worst=worst,
        layers=layers,
        interval=figures.interval(result),
        epochs=len(history),
        drawn=charts.MOST_POINTS,
        architecture=figures.architecture(layers),
        curves=figures.curves(history, layers, result),
        confusion=figures.confusion(result),
    )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise GxnorError(f"{path}: {reason}. The report needs the folder of a finished run.") from None


def _json(path: Path, text: str, line: str = "") -> dict:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise GxnorError(f"{path}{line} is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise GxnorError(f"{path}{line}: expected a JSON object, got {type(value).__name__}")
    return value


def _history(path: Path) -> list[dict]:
    rows = [_json(path, text, f", line {i}") for i, text in enumerate(_read(path).split("\n"), 1) if text.strip()]
    if not rows:
        raise GxnorError(f"{path} is empty: the report needs at least one epoch")
    return rows


def _worst(path: Path, classes: list[str]) -> list[dict]:
    if not path.exists():
        return []
    try:
        data = load(path.read_bytes())
        rows = list(zip(*(data[key] for key in ("images", "labels", "predicted", "margin")), strict=True))
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise GxnorError(f"{path} is not a list of worst images ({error}); delete it to go without") from None

    def name(k):
        return classes[k] if 0 <= k < len(classes) else str(k)

    return [
        {"png": _png(image), "true": name(label), "predicted": name(guess), "right": label == guess, "margin": margin}
        for image, label, guess, margin in rows[:MOST_IMAGES]
    ]


def _png(image: np.ndarray) -> str:
    """Base64 PNG of a uint8 [C, H, W] image or [C, L] series; what is neither grey nor RGB is shown by its first channel."""
    if image.ndim == 2:  # a series: its channels upwards
        image = image[None, ::-1]
    picture = Image.fromarray(np.moveaxis(image, 0, -1) if len(image) == 3 else image[0])
    picture.thumbnail((64, 64))
    out = io.BytesIO()
    picture.save(out, "PNG", optimize=True)
    return base64.b64encode(out.getvalue()).decode()


def _number(value, digits: int | None = None) -> str:
    if value is None:
        return "–"
    text = f"{value:,.{digits}f}" if digits is not None else f"{value:,}" if isinstance(value, int) else f"{value:,.3g}"
    return text.replace("-", "−")


def _percent(value, digits: int = 2) -> str:
    return "–" if value is None else f"{100 * value:.{digits}f}\u00a0%"


def duration(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _size(count) -> str:
    """Bytes, in words."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"
