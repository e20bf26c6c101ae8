"""Does a change that a kill leaves half done leave the file as it was, wherever the kill falls?"""

import os
import signal
from pathlib import Path

import h5py
import numpy as np
import pytest

from neurocl.primitives import files
from neurocl.primitives.checks import BadInput
from neurocl.record import journal, recovery
from neurocl.record.trace_file import TraceFile

RUN = {"dt_ms": 1.0, "selection": {}}
ROWS = np.arange(600, dtype=np.int64).reshape(200, 3)


def wanted(name):
    return {name: ((3,), np.int64, {"units": "1"})}


def begun(path):
    """A file with one dataset of 200 rows, being written."""
    file = TraceFile(path, RUN)
    file.create(wanted("a/first"), nodes={"network": 40})
    file.append("a/first", ROWS)
    file.commit()
    return file


def work(path):
    """Everything that leaves single-writer mode: a lot of new datasets, closing, and taking the file up again."""
    file = begun(path)
    yield
    file.create({**wanted("b/second"), **wanted("c/third")}, nodes={"other": 1000})
    file.append("b/second", ROWS)
    file.commit()
    file.close()
    TraceFile(path, RUN, resume=True).close()


def killed_at(moment, path):
    """Work in a child that is killed before so many calls that change something; return whether it came to its end."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1] == 0
    calls = [0]

    def counted(call, halves=False):
        def inside(*args, **kwargs):
            calls[0] += 1
            if calls[0] == moment and halves and len(args[1]) > 1:
                call(args[0], memoryview(args[1])[: len(args[1]) // 2], *args[2:])  # a write that the kill cut short
            if calls[0] == moment:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **kwargs)

        return inside

    steps = work(path)
    next(steps)
    os.pwrite, os.ftruncate = counted(os.pwrite, halves=True), counted(os.ftruncate)
    os.truncate, os.posix_fallocate = counted(os.truncate), counted(os.posix_fallocate)
    Path.replace, Path.unlink = counted(Path.replace), counted(Path.unlink)
    h5py.File, h5py.File.close = counted_file(counted), counted(h5py.File.close)
    list(steps)
    os._exit(0)


def counted_file(counted):
    """A file whose opening, and whose going into single-writer mode, are calls that count."""

    class File(h5py.File):
        __init__ = counted(h5py.File.__init__)
        swmr_mode = property(h5py.File.swmr_mode.fget, counted(h5py.File.swmr_mode.fset))

    return File


@pytest.mark.parametrize("stride", [7, pytest.param(1, marks=pytest.mark.slow)])
def test_a_kill_at_any_call_that_changes_something_leaves_a_file_that_opens_and_goes_on(tmp_path, stride):
    moment, done, changed, undone, tried = 0, False, 0, 0, 0
    while not done:
        moment, tried = moment + stride, tried + 1
        path = tmp_path / f"{moment}.h5"
        done = killed_at(moment, path)
        undone += recovery.being_changed(path)
        with recovery.opened_for_reading(path) as file:
            lengths = recovery.valid_lengths(file)
            assert np.array_equal(file["a/first"][: lengths["a/first"]], ROWS)
            assert ("b/second" in lengths) == ("c/third" in lengths)  # a lot is there whole, or not at all
            assert lengths.get("b/second", 0) in {0, 200}
            changed += "b/second" in lengths
        with_more = TraceFile(path, RUN, resume=True)
        with_more.append("a/first", ROWS)
        with_more.create(wanted("d/fourth"), nodes={})
        with_more.append("d/fourth", ROWS)
        with_more.close()
        with h5py.File(path) as file:
            assert np.array_equal(file["a/first"][...], np.concatenate([ROWS, ROWS]))
            assert np.array_equal(file["d/fourth"][...], ROWS)
        assert not recovery.being_changed(path)
        for left in tmp_path.iterdir():
            left.unlink()
    assert moment > 100
    assert 0.1 * tried < undone < 0.95 * tried
    assert 0.1 * tried < changed < 0.95 * tried


def half_changed(path):
    """A file whose writer was killed in the middle of a lot, and what it was before."""
    child = os.fork()
    if not child:
        file = begun(path)
        path.with_name("before").write_bytes(b"")
        plain = file._plain()
        path.with_name("before").write_bytes(path.read_bytes())
        plain.create_dataset("b/second", data=ROWS)
        plain.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert path.read_bytes() != path.with_name("before").read_bytes()


def test_what_was_half_done_is_undone_to_the_byte_also_in_two_goes(tmp_path, monkeypatch):
    path = tmp_path / "traces.h5"
    half_changed(path)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            journal.roll_back(path)
    journal.roll_back(path)
    assert path.read_bytes() == path.with_name("before").read_bytes()
    journal.roll_back(path)  # nothing is left to do
    assert path.read_bytes() == path.with_name("before").read_bytes()


def test_a_reader_waits_for_a_writer_in_the_middle_of_a_change(tmp_path, monkeypatch):
    path = tmp_path / "traces.h5"
    file = begun(path)
    file._plain()
    monkeypatch.setattr(recovery, "PATIENCE_S", 0.05)
    with pytest.raises(BadInput, match="is being changed by its writer: try again in a moment"):
        recovery.opened_for_reading(path)
    file._swmr()
    with recovery.opened_for_reading(path) as found:
        assert len(found["a/first"]) == 200
    file.close()


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_file_that_cannot_be_made_whole_where_it_lies_says_what_that_takes(tmp_path):
    path = tmp_path / "traces.h5"
    half_changed(path)
    path.chmod(0o400)
    with pytest.raises(BadInput, match="undoing that takes write permission"):
        recovery.opened_for_reading(path)


def test_a_journal_without_its_file_is_nothing(tmp_path):
    path = tmp_path / "traces.h5"
    half_changed(path)
    path.unlink()
    TraceFile(path, RUN).close()
    with h5py.File(path) as file:
        assert "a" not in file
    assert not recovery.being_changed(path)


def test_a_journal_that_is_no_journal_changes_nothing(tmp_path):
    path = tmp_path / "traces.h5"
    begun(path).close()
    before = path.read_bytes()
    for content in (b"", b"neurocl", b"something else altogether", journal.HEAD.pack(journal.MAGIC, len(before))):
        journal.journal_of(path).write_bytes(content)
        with recovery.opened_for_reading(path) as file:
            assert len(file["a/first"]) == 200
        assert path.read_bytes() == before
    assert not [left for left in tmp_path.iterdir() if files.LOCK in left.name]
