import os
import stat

import pytest

from gxnor.errors import GxnorError, WorkError
from gxnor.writing import replacing, write_text


def test_a_file_is_whole_or_what_it_was(tmp_path):
    path = tmp_path / "file"
    write_text(path, "first")
    with pytest.raises(ZeroDivisionError), replacing(path) as part:
        part.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "first" and os.listdir(tmp_path) == ["file"]
    write_text(path, "second")
    assert path.read_text() == "second" and os.listdir(tmp_path) == ["file"]


def test_a_file_gets_the_permissions_of_any_new_file(tmp_path):
    """Whatever writes it: some libraries make files that nobody else may read."""
    before = os.umask(0o027)
    try:
        with replacing(tmp_path / "file") as part:
            part.write_text("x")
            part.chmod(0o600)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder" / "file")
    write_text(tmp_path / "link", "x")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "folder" / "file").read_text() == "x"


def test_folders_and_devices_stay_what_they_are(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", "/dev/null", ""):
        with pytest.raises(GxnorError, match="folder or a device"):
            write_text(path, "x")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode) and os.listdir(tmp_path) == ["pipe"]


def test_what_cannot_be_written_is_named_as_it_was_given(tmp_path):
    with pytest.raises(WorkError, match=r"missing/net\.gxnor cannot be written: No such file"):
        write_text(tmp_path / "missing" / "net.gxnor", "x")
