"""The reference pages: every public class and function is on one."""

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
    public = [getattr(package, name) for name in getattr(package, "__all__", ())]
    for thing in public:
        if inspect.isclass(thing) or inspect.isfunction(thing):
            assert {thing.__module__, f"{thing.__module__}.{thing.__name__}"} & shown, thing
