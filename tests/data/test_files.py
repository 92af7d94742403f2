import errno
import hashlib
import os

import pooch
import pytest

from gxnor.data import load
from gxnor.data.files import File, locate
from gxnor.errors import GxnorError

CONTENT = b"the official content"
MD5 = hashlib.md5(CONTENT).hexdigest()
FILES = [File(("a.gz", "a"), "https://example.org/a.gz", MD5), File(("b.gz", "b"), "https://example.org/b.gz", MD5)]


def put(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"own")
    return [folder / name for name in names]


def test_places_are_searched_in_order(tmp_path, monkeypatch):
    monkeypatch.setenv("GXNOR_DATA", str(tmp_path / "env"))
    (tmp_path / "env").mkdir()
    in_cache = put(tmp_path / "cache" / "gxnor" / "toy", "a.gz", "b.gz")
    assert locate("toy", FILES, None) == in_cache
    below_env = put(tmp_path / "env" / "toy", "a", "b")
    assert locate("toy", FILES, None) == below_env
    in_env = put(tmp_path / "env", "a", "b.gz")
    assert locate("toy", FILES, None) == in_env
    (tmp_path / "argument").mkdir()
    assert locate("toy", FILES, tmp_path / "argument") == in_env
    below_argument = put(tmp_path / "argument" / "toy", "a", "b")
    assert locate("toy", FILES, str(tmp_path / "argument")) == below_argument


def test_a_named_folder_that_does_not_exist(tmp_path, monkeypatch):
    put(tmp_path / "cache" / "gxnor" / "toy", "a", "b")
    with pytest.raises(GxnorError, match=r"data_dir \(--data-dir\) is .*/typo, which is not an existing folder"):
        locate("toy", FILES, tmp_path / "typo")
    monkeypatch.setenv("GXNOR_DATA", str(tmp_path / "typo"))
    with pytest.raises(GxnorError, match=r"\$GXNOR_DATA is .*/typo"):
        locate("toy", FILES, None)


def test_a_folder_with_half_of_the_files_is_never_completed_from_elsewhere(tmp_path, server):
    asked = server(CONTENT)
    put(tmp_path / "own", "b")
    put(tmp_path / "cache" / "gxnor" / "toy", "a", "b")
    with pytest.raises(GxnorError, match=r"own holds b of toy but not a\.gz: add it \(from https://example.org/a.gz\)"):
        locate("toy", FILES, tmp_path / "own")
    assert asked == []


def test_missing_files_are_downloaded_once(server, cached):
    asked = server(CONTENT)
    paths = locate("toy", FILES, None)
    assert [path.read_bytes() for path in paths] == [CONTENT, CONTENT]
    assert locate("toy", FILES, None) == paths
    assert asked == ["https://example.org/a.gz", "https://example.org/b.gz"]
    assert cached() == ["a.gz", "b.gz"]


def test_a_download_that_was_interrupted_goes_on_with_the_next_file(tmp_path, server):
    put(tmp_path / "cache" / "gxnor" / "toy", "a.gz")
    asked = server(CONTENT)
    assert [path.name for path in locate("toy", FILES, None)] == ["a.gz", "b.gz"]
    assert asked == ["https://example.org/b.gz"]


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("mnist", ["train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz", "t10k-images-idx3-ubyte.gz"]),
        ("cifar10", ["cifar-10-binary.tar.gz"]),
        ("svhn", ["train_32x32.mat", "test_32x32.mat"]),
    ],
)
def test_offline_the_error_says_which_files_to_put_where(tmp_path, cached, name, files):
    with pytest.raises(GxnorError) as caught:
        load(name)
    message = str(caught.value)
    assert f"{name} is not on this machine" in message
    assert ", ".join(files) in message
    assert str(tmp_path / "cache" / "gxnor" / name) in message
    assert "--data-dir" in message and "$GXNOR_DATA" in message
    assert message.count("\n") == 1
    assert cached() == []


@pytest.mark.parametrize("name", ["mnist", "cifar10", "svhn"])
def test_a_wrong_checksum_leaves_nothing(server, cached, name):
    server(b"<html>please log in</html>")
    with pytest.raises(GxnorError, match=r"did not deliver the original file: its checksum is wrong"):
        load(name)
    assert cached() == []


@pytest.mark.parametrize("answer", [{"broken": True}, {"status": 404}])
def test_a_broken_download_leaves_nothing(server, cached, answer):
    server(CONTENT, **answer)
    with pytest.raises(GxnorError, match=r"https://example.org/a.gz cannot be downloaded \((Chunked|HTTPError)"):
        locate("toy", FILES, None)
    assert cached() == []


def test_an_interrupt_leaves_nothing(server, cached, monkeypatch):
    server(CONTENT)
    monkeypatch.setattr(pooch.core, "hash_matches", lambda *args, **kwargs: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        locate("toy", FILES, None)
    assert cached() == []


def test_a_full_disk_is_told_as_such(server, cached, monkeypatch):
    server(CONTENT)

    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(pooch.core.shutil, "move", full)
    with pytest.raises(GxnorError, match=r"cannot save a\.gz in .*toy: No space left on device"):
        locate("toy", FILES, None)
    assert cached() == []
