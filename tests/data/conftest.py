"""No test here touches a network, the user's cache folder or $GXNOR_DATA, except through the fixture `real_data`."""

import os
from pathlib import Path

import pooch
import pytest
import requests

from gxnor.data import idx


class Answer:
    """What a server sends: some bytes, and perhaps a broken connection after them."""

    def __init__(self, content, broken=False, status=200):
        self.content, self.broken, self.status = content, broken, status
        self.headers = {"content-length": str(len(content))}

    def raise_for_status(self):
        if self.status != 200:
            raise requests.HTTPError(f"{self.status} error")

    def iter_content(self, chunk_size):
        yield self.content
        if self.broken:
            raise requests.exceptions.ChunkedEncodingError("connection broken")


@pytest.fixture
def real_data(isolated):
    """The folder that GXNOR_DATA named when the tests were started; the test is skipped without MNIST in it."""
    folder = isolated["GXNOR_DATA"]
    if not folder or not any(idx.FILES[0].path_in(Path(folder, below)) for below in ("", "mnist")):
        pytest.skip("GXNOR_DATA names no folder with real MNIST (mnist/*.gz)")
    return Path(folder)


@pytest.fixture(autouse=True)
def isolated(monkeypatch, tmp_path):
    before = {"GXNOR_DATA": os.environ.get("GXNOR_DATA")}
    monkeypatch.delenv("GXNOR_DATA", raising=False)
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / "cache" / project)

    def offline(*args, **kwargs):
        raise requests.ConnectionError("no network in tests")

    monkeypatch.setattr(requests, "get", offline)
    return before


@pytest.fixture
def cached(tmp_path):
    """Names of all files in the cache folder, temporary ones as well."""
    return lambda: sorted(path.name for path in (tmp_path / "cache").rglob("*") if path.is_file())


@pytest.fixture
def server(monkeypatch):
    """server(answer): every download gets that `Answer`; returns the list of addresses that were asked for."""

    def serve(*args, **kwargs):
        asked = []

        def get(url, **_):
            asked.append(url)
            return Answer(*args, **kwargs)

        monkeypatch.setattr(requests, "get", get)
        return asked

    return serve
