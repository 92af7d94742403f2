"""The report page: what a reader would notice, on made-up run folders."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from safetensors.numpy import save_file

from gxnor.errors import GxnorError
from gxnor.training.report import figures
from gxnor.training.report.page import write

HOSTILE = '<script>alert("x")</script>&$^_{'
TERNARY = [("conv1", 1), ("conv2", 1), ("dense1", 1), ("dense2", 1)]


def layer(name, N, t, last):
    states = None if N is None else np.full(2**N + 1, 1 / (2**N + 1)).tolist()
    return {
        "name": name,
        "N": N,
        "H": 1.0,
        "weights": 800,
        "flip_rate": None if N is None else 0.02 * 0.5**t,
        "states": states,
        "zero_activations": None if last or N is None else 0.4,
    }


def run_folder(folder, layers=TERNARY, epochs=5, classes=("zero", "one", "two"), **result):
    folder.mkdir()
    rows = [
        {
            "epoch": t + 1,
            "seconds": 1.5,
            "lr": 0.1 * 0.5**t,
            "beta1": 0.9,
            "train_loss": 0.5 * 0.6**t,
            "train_accuracy": 1 - 0.1 * 0.5**t,
            "val_loss": 0.4 * 0.7**t,
            "val_accuracy": 1 - 0.1 * 0.6**t,
            "layers": [layer(name, N, t, name == layers[-1][0]) for name, N in layers],
        }
        for t in range(epochs)
    ]
    (folder / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    confusion = 90 * np.eye(len(classes), dtype=int)
    confusion[0, 1] = 7
    result = {
        "recipe": "digits",
        "seed": 1234,
        "epochs": epochs,
        "best_epoch": epochs,
        "seconds": 600.1,
        "val_accuracy": 0.9821,
        "test_accuracy": float(np.trace(confusion) / confusion.sum()),
        "test_loss": 0.1,
        "weights": 581408,
        "bits_per_weight": 2.0,
        "train_state_bytes_per_weight": 8.25,
        "zero_fraction": 0.4,
        "classes": list(classes),
        "confusion": confusion.tolist(),
        "machine": {"cpu": "Some CPU", "cores": 2},
        "versions": {"gxnor": "0.1.0", "torch": "2.13.0"},
        "date": "2026-11-23T07:00:00Z",
        "command": "gxnor train digits --seed 1234",
    } | result
    (folder / "result.json").write_text(json.dumps(result))
    (folder / "recipe.toml").write_text("[train]\nbatch = 250\n")
    worst = {
        "images": np.arange(2 * 8 * 8, dtype=np.uint8).reshape(2, 1, 8, 8),
        "labels": np.array([0, 1]),
        "predicted": np.array([1, 1]),
        "margin": np.array([-0.75, 0.25], np.float32),
    }
    save_file(worst, folder / "worst.safetensors")
    return folder


class Page(HTMLParser):
    """What a browser would make of the file: its text, tags and attributes."""

    def __init__(self, path):
        super().__init__()
        self.text, self.tags, self.attributes, self.open = [], [], [], []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.text = " ".join(" ".join(self.text).split())

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text.append(data)

    def charts(self):
        return [value for key, value in self.attributes if key == "aria-label"]


def test_a_run_is_told_from_result_to_recipe(tmp_path):
    path = write(run_folder(tmp_path / "run"))
    page = Page(path)
    assert path == tmp_path / "run" / "report.html"
    assert page.open == []
    for fact in (
        "digits · 4 layers with ternary weights",
        "97.47 % of the test set right",  # 270 of 277
        "The test set was read once, at the end, with the weights of epoch 5 of 5, chosen on the validation split",
        "7 of 277 images wrong",
        "581,408",
        "145 kB of weights",
        "8.25 B",
        "40.0 %",
        "10 min",
        "1234",
        "gxnor train digits --seed 1234",
        "cpu: Some CPU",
        "torch 2.13.0",
        "batch = 250",
        "7 × zero taken for one",
        "margin −0.75",
    ):
        assert fact in page.text, fact
    assert page.charts() == ["Loss", "Error", "Learning rate", "Momentum window", "Flip rate", "Zero activations"]
    assert page.tags.count("img") == 2
    # Each layer: legends of flip rate and zero activations (not the last), its bar, its chart of states.
    assert [page.text.count(f" {name} ") for name, _ in TERNARY] == [4, 4, 4, 3]


def test_charts_have_units_ticks_and_a_line_for_each_series(tmp_path):
    page = Page(write(run_folder(tmp_path / "run")))
    for unit in (
        "mean loss",
        "wrong answers, %",
        "learning rate",
        "1 / (1 − β₁), steps",
        "weights changed in a step, %",
    ):
        assert unit in page.text
    loss = page.source[page.source.index('aria-label="Loss"') : page.source.index('aria-label="Error"')]
    drawn = re.findall(r'<path d="([^"]*)"[^>]*stroke: (var\(--s\d\))', loss)
    assert [colour for _, colour in drawn] == ["var(--s0)", "var(--s1)"]
    assert all(len(re.findall(r"[ML] ", path)) == 5 for path, _ in drawn)
    assert "#0" not in re.sub(r'(xlink:href="|url\()#\w+', "", loss), "a stand-in colour was left in"


def test_opens_without_a_network(tmp_path):
    page = Page(write(run_folder(tmp_path / "run")))
    assert "//" not in re.sub(r"base64,[\w+/=]*", "", page.source)
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    for key, value in page.attributes:
        if key in ("src", "href", "xlink:href"):
            assert value.startswith(("data:image/png;base64,", "#"))


def test_ids_are_unique(tmp_path):
    page = Page(write(run_folder(tmp_path / "run")))
    ids = [value for key, value in page.attributes if key == "id"]
    assert len(ids) == len(set(ids)) > 0
    used = {value[1:] for key, value in page.attributes if key == "xlink:href"}
    assert used | set(re.findall(r"url\(#(\w+)\)", page.source)) <= set(ids)


def test_text_from_the_run_stays_text(tmp_path):
    folder = run_folder(
        tmp_path / "run",
        layers=[(HOSTILE, 1), ("last", 1)],
        classes=(HOSTILE, "one"),
        recipe=HOSTILE,
        command=HOSTILE,
        machine={HOSTILE: HOSTILE},
        seed=HOSTILE,
    )
    (folder / "recipe.toml").write_text(HOSTILE)
    page = Page(write(folder))
    assert "script" not in page.tags
    assert page.open == []
    assert page.text.count(HOSTILE) >= 12


def test_one_epoch_is_drawn_as_points(tmp_path):
    page = Page(write(run_folder(tmp_path / "run", epochs=1)))
    assert "epoch 1 of 1" in page.text
    assert len(page.charts()) == 6
    for colour in ("var(--s0)", "var(--s1)"):
        assert f'style="fill: {colour}; stroke: {colour}"' in page.source
    assert "Shares at the end" in page.text and "over the epochs" not in page.text


def test_full_precision_has_no_states_and_no_flips(tmp_path):
    layers = [(name, None) for name, _ in TERNARY]
    folder = run_folder(tmp_path / "run", layers, bits_per_weight=32.0, zero_fraction=None)
    page = Page(write(folder))
    assert page.charts() == ["Loss", "Error", "Learning rate", "Momentum window"]
    assert "4 layers with full-precision weights" in page.text
    assert "Shares at the end" not in page.text and "Zero weights" not in page.text


def test_mixed_spaces_each_have_their_legend(tmp_path):
    page = Page(write(run_folder(tmp_path / "run", [("a", 0), ("b", 2), ("c", 5), ("d", None)])))
    assert "binary and 5-state and 33-state and full-precision weights" in page.text
    assert "−1 −0.5 0 0.5 1" in page.text
    assert "−1 to −0.8125" in page.text and "0.0625 to 0.25" in page.text
    assert page.text.count("20 %") == 5  # five equal states
    assert page.text.count("12 %") == 8 and "3 %" in page.text  # eight groups of four of 33 states, and zero


def test_missing_parts_are_left_out(tmp_path):
    folder = run_folder(tmp_path / "run")
    (folder / "worst.safetensors").unlink()
    (folder / "result.json").write_text('{"recipe": "digits", "test_accuracy": 0.5}')
    (folder / "history.jsonl").write_text('{"epoch": 1, "train_loss": 0.5}\n{"epoch": 2, "train_loss": NaN}\n')
    page = Page(write(folder))
    assert page.charts() == ["Loss"]
    assert "50.00 %" in page.text
    assert "Confusion" not in page.text and "Worst" not in page.text


def test_zero_error_is_drawn_on_a_log_axis(tmp_path):
    folder = run_folder(tmp_path / "run")
    rows = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    rows[-1]["val_accuracy"] = rows[-1]["train_accuracy"] = 1.0
    (folder / "history.jsonl").write_text("\n".join(map(json.dumps, rows)))
    page = Page(write(folder))
    assert "Zero lies on the lower edge." in page.text
    error = page.source[page.source.index('aria-label="Error"') : page.source.index('aria-label="Learning rate"')]
    _, top, _, height = map(float, re.search(r'<rect x="(.*)" y="(.*)" width="(.*)" height="(.*)"/>', error).groups())
    ends = re.findall(r"L [\d.]+ ([\d.]+) \n\" clip-path=\"[^\"]*\" style=\"[^\"]*stroke: var\(--s[01]\)", error)
    assert [float(y) for y in ends] == pytest.approx([top + height] * 2)


def test_many_epochs_stay_small(tmp_path):
    folder = run_folder(tmp_path / "run", layers=[(f"layer {i}", 1) for i in range(12)], epochs=1000)
    page = Page(write(folder))
    assert "300 of 1,000 epochs are drawn" in page.text
    assert len(page.source) < 1_000_000
    assert "stroke-dasharray: 8,3.2" in page.source, "the ninth layer needs a pattern of its own"


def test_many_classes_become_a_list_of_mistakes(tmp_path):
    page = Page(write(run_folder(tmp_path / "run", classes=[f"class {i}" for i in range(25)])))
    assert "7 × class 0 taken for class 1" in page.text
    assert "true class in rows" not in page.text


@pytest.mark.parametrize("name", ["recipe.toml", "history.jsonl", "result.json"])
def test_a_missing_file_is_named(tmp_path, name):
    folder = run_folder(tmp_path / "run")
    (folder / name).unlink()
    with pytest.raises(GxnorError, match=re.escape(str(folder / name))):
        write(folder)
    assert not (folder / "report.html").exists()


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("history.jsonl", '{"epoch": 1}\n{"epo', "history.jsonl, line 2 is not valid JSON"),
        ("history.jsonl", "\n", "history.jsonl is empty"),
        ("history.jsonl", '{"train_loss": 1}', "not what a run writes: KeyError.'epoch'"),
        ("result.json", "[1]", "result.json: expected a JSON object, got list"),
        ("result.json", '{"confusion": [[1, 2], [3]]}', "not what a run writes"),
        ("worst.safetensors", "x", "worst.safetensors is not a list of worst images"),
    ],
)
def test_a_broken_file_is_named(tmp_path, name, content, complaint):
    folder = run_folder(tmp_path / "run")
    (folder / "report.html").write_text("the old one")
    (folder / name).write_text(content)
    with pytest.raises(GxnorError, match=complaint):
        write(folder)
    assert (folder / "report.html").read_text() == "the old one"


@pytest.mark.parametrize("counts", [[[10, 0], [0, 10]], [[0, 3], [4, 0]], [[950, 10], [15, 25]]])
def test_the_interval_of_an_accuracy_is_wilsons(counts):
    """Its ends are the accuracies p for which what was seen lies 1.96 standard deviations away."""
    found = figures.interval({"confusion": counts})
    total, right = np.sum(counts), np.trace(counts)
    assert (found["total"], found["wrong"]) == (total, total - right)
    for p in (found["low"], found["high"]):
        np.testing.assert_allclose((right / total - p) ** 2, 1.959964**2 * p * (1 - p) / total, rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("result", [{}, {"confusion": []}, {"confusion": [[0, 0], [0, 0]]}])
def test_no_interval_where_nothing_was_tested(result):
    assert figures.interval(result) is None
