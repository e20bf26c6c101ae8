"""Does a change that a kill leaves half done leave the file as it was, wherever the kill falls?"""

import os
import signal
import threading
from pathlib import Path

import h5py
import numpy as np
import pytest

from neurocl import record
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
    """All that leaves single-writer mode: making the file, a lot of new datasets, closing, and taking it up again."""
    file = begun(path)
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

    os.pwrite, os.ftruncate = counted(os.pwrite, halves=True), counted(os.ftruncate)
    os.truncate, os.posix_fallocate = counted(os.truncate), counted(os.posix_fallocate)
    Path.replace, Path.unlink = counted(Path.replace), counted(Path.unlink)
    h5py.File, h5py.File.close = counted_file(counted), counted(h5py.File.close)
    work(path)
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
        if not path.exists():  # nothing was recorded yet
            TraceFile(path, RUN).close()
            continue
        with record.open(path):
            pass
        with recovery.opened_for_reading(path) as file:
            lengths = recovery.valid_lengths(file)
            assert lengths.get("a/first", 0) in {0, 200}
            whole = ROWS[: lengths.get("a/first", 0)]
            assert not len(whole) or np.array_equal(file["a/first"][: len(whole)], whole)
            assert ("b/second" in lengths) == ("c/third" in lengths)  # a lot is there whole, or not at all
            assert lengths.get("b/second", 0) in {0, 200}
            changed += "b/second" in lengths
        with_more = TraceFile(path, RUN, resume=True)
        with_more.create(wanted("a/first"), nodes={})
        with_more.append("a/first", ROWS)
        with_more.create(wanted("d/fourth"), nodes={})
        with_more.append("d/fourth", ROWS)
        with_more.close()
        with h5py.File(path) as file:
            assert np.array_equal(file["a/first"][...], np.concatenate([whole, ROWS]))
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
    for content in (b"", b"neurocl", b"something else altogether", journal.HEAD.pack(journal.MAGIC, 9, False)):
        journal.journal_of(path).write_bytes(content)
        with recovery.opened_for_reading(path) as file:
            assert len(file["a/first"]) == 200
        assert path.read_bytes() == before
    assert not [left for left in tmp_path.iterdir() if files.LOCK in left.name]


@pytest.mark.parametrize("opened", ["to read", "to go on"])
@pytest.mark.parametrize("stage", ["in a lot", "behind it"])
def test_a_journal_of_another_file_that_stood_in_this_place_changes_nothing(tmp_path, opened, stage):
    path, good = tmp_path / "traces.h5", tmp_path / "good.h5"
    half_changed(path)
    if stage == "behind it":  # nothing but the superblock is in the journal
        journal.roll_back(path)
        journal.begin(path)
    file = begun(good)
    file.append("a/first", np.tile(ROWS, (200, 1)))
    file.close()
    before = good.read_bytes()
    good.replace(path)
    recovery.opened_for_reading(path).close() if opened == "to read" else TraceFile(path, RUN, resume=True).close()
    with h5py.File(path) as found:
        assert len(found["a/first"]) == 200 * 201
    assert opened == "to go on" or path.read_bytes() == before
    assert not recovery.being_changed(path)


def test_a_copy_of_a_killed_writers_file_and_journal_is_made_whole_too(tmp_path):
    path, other = tmp_path / "traces.h5", tmp_path / "elsewhere" / "copy.h5"
    half_changed(path)
    other.parent.mkdir()
    other.write_bytes(path.read_bytes())
    journal.journal_of(other).write_bytes(journal.journal_of(path).read_bytes())
    with recovery.opened_for_reading(other) as found:
        assert "b" not in found
        assert len(found["a/first"]) == 200


def test_readers_in_other_threads_do_not_get_in_the_way_of_new_datasets(tmp_path):
    path, ended, seen, trouble = tmp_path / "traces.h5", threading.Event(), [], []

    def read():
        while not ended.is_set():
            try:
                with recovery.opened_for_reading(path) as found:
                    seen.append(len(recovery.valid_lengths(found)))
            except Exception as error:
                trouble.append(error)

    file = begun(path)
    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(40):
        file.create(wanted(f"later/{number}"), nodes={})
        file.append(f"later/{number}", ROWS)
        file.commit()
    ended.set()
    for reader in readers:
        reader.join()
    file.close()
    assert not trouble
    assert len(set(seen)) > 5
    with h5py.File(path) as found:
        assert all(np.array_equal(found[f"later/{number}"][...], ROWS) for number in range(40))


def test_who_has_the_file_open_by_other_means_in_this_process_is_asked_to_close_it_before_it_is_written(tmp_path):
    path = tmp_path / "traces.h5"
    begun(path).close()
    with h5py.File(path), pytest.raises(BadInput, match=r"open for reading in this process.*close\(\)"):
        TraceFile(path, RUN, resume=True)
    with record.open(path):
        TraceFile(path, RUN, resume=True).close()


def test_a_link_is_the_file_it_stands_for(tmp_path):
    path, link = tmp_path / "traces.h5", tmp_path / "elsewhere" / "link.h5"
    link.parent.mkdir()
    file = begun(path)
    link.symlink_to(path)
    with pytest.raises(BadInput, match="is being written by another recorder"):
        TraceFile(link, RUN, resume=True)
    file.close()
    assert journal.journal_of(link) == journal.journal_of(path)


def test_copies_that_a_killed_process_left_half_made_are_swept_away(tmp_path):
    path = tmp_path / "traces.h5"
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
    dead, alive, other = (
        tmp_path / name for name in (f".part-{child}-traces.h5", ".part-1-traces.h5", f".part-{child}-b.h5")
    )
    for left in (dead, alive, other):
        left.write_bytes(b"half")
    TraceFile(path, RUN).close()
    assert [left.exists() for left in (dead, alive, other)] == [False, True, True]
