import sys

import pytest

from benchmarks.programs import batch, one_d
from gxnor.analysis import events
from gxnor.analysis.chart import draw
from gxnor.errors import GxnorError

COUNTED = events.count(one_d(), batch(one_d(), 2))


def test_the_picture_shows_layers_shares_and_networks(tmp_path):
    pytest.importorskip("matplotlib")
    import matplotlib

    with matplotlib.rc_context({"svg.fonttype": "none"}):  # text stays text
        draw(COUNTED, tmp_path / "events.svg")
    text = (tmp_path / "events.svg").read_text()
    for row in COUNTED.layers:
        assert f"{row.layer} {row.kind}" in text and f"rests {100 * row.resting:.1f} %" in text
    assert "full precision" in text and "Horowitz" in text
    assert [path.name for path in tmp_path.iterdir()] == ["events.svg"]


def test_a_type_that_is_no_picture_is_refused(tmp_path):
    pytest.importorskip("matplotlib")
    with pytest.raises(GxnorError, match="expected a picture of type"):
        draw(COUNTED, tmp_path / "events.doc")
    assert not list(tmp_path.iterdir())


def test_without_matplotlib_the_message_says_what_to_install(tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("matplotlib")]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(GxnorError, match="needs matplotlib"):
        draw(COUNTED, tmp_path / "events.png")
