"""The reference pages: every public class and function is on one, by its name."""

import importlib
import inspect
import re
from pathlib import Path

import pytest

PAGES = Path(__file__).parent.parent / "docs" / "reference"


@pytest.mark.parametrize("page", [page.stem for page in PAGES.glob("*.md")])
def test_pages_have_all_that_is_public(page):
    package = importlib.import_module("gxnor" if page == "gxnor" else f"gxnor.{page}")
    shown = set(re.findall(r"^::: (\S+)$", (PAGES / f"{page}.md").read_text(), re.MULTILINE))
    for name in getattr(package, "__all__", ()):
        thing = getattr(package, name)
        if inspect.isclass(thing) or inspect.isfunction(thing):
            assert thing.__name__ == name, f"the page has {thing.__name__}"
            assert {thing.__module__, f"{thing.__module__}.{name}"} & shown, thing
