"""Does an open reader go on answering whatever the writer does to the file, and say so where it cannot?"""

import os
import signal
import time

import h5py
import numpy as np
import pytest

from neurocl import record
from neurocl.primitives.checks import BadInput
from neurocl.record import recovery, steady_file
from neurocl.record.beside_writer import SUPERBLOCK, ReadingFile, checksum
from neurocl.record.growing_datasets import begin_file
from neurocl.record.trace_file import TraceFile

RUN = {"dt_ms": 1.0, "selection": {}}
ROWS = np.arange(600, dtype=np.int64).reshape(200, 3)
FIRST = "neurocl/index/a/first"


def wanted(name):
    return {name: ((3,), np.int64, {"units": "1"})}


def begun(path):
    """A file with one dataset of 200 rows, being written."""
    file = TraceFile(path, RUN)
    file.create(wanted(FIRST), nodes={"network": 40})
    file.append(FIRST, ROWS)
    file.commit()
    return file


def opened(path, count=1):
    """Open a file that another process has begun, when it holds as many datasets as that."""
    while True:
        if path.exists():
            traces = record.open(path)
            if traces.length(FIRST) and len(traces.names("neurocl/index/")) >= count:
                return traces
            traces.close()
        time.sleep(0.01)


def test_a_reader_that_stays_open_is_right_while_another_process_adds_populations(tmp_path, monkeypatch):
    path, times = tmp_path / "traces.h5", []
    child = os.fork()
    if not child:
        file = begun(path)
        for number in range(40):
            file.create(wanted(f"neurocl/index/later{number}/x"), nodes={f"later{number}": 50})
            for _ in range(3):
                file.append(FIRST, ROWS)
                file.append(f"neurocl/index/later{number}/x", ROWS)
                file.commit()
        file.close()
        os._exit(0)
    traces = opened(path, 3)
    monkeypatch.setattr(
        steady_file, "opened_for_reading", lambda p: (times.append(None), recovery.opened_for_reading(p))[1]
    )
    held, reads = {name: traces.rows(name) for name in traces.names("")}, 0
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        for name in (FIRST, "neurocl/index/later0/x"):
            assert np.array_equal(traces.rows(name), held[name])
            assert np.array_equal(held[name], np.tile(ROWS, (len(held[name]) // 200, 1)))
            reads += 1
        assert traces.about(FIRST).attributes["units"] == "1"
    assert traces.populations[0] == "a"
    assert len(times) > 5  # the file was changed under it that often
    assert reads > 5
    with record.open(path) as whole:
        assert whole.length(FIRST) == 200 * 121
    traces.close()
    with pytest.raises(BadInput, match="is closed: open it again"):
        traces.rows(FIRST)


def test_the_writer_in_the_same_process_is_not_in_the_way_either(tmp_path):
    path = tmp_path / "traces.h5"
    file = begun(path)
    traces = record.open(path)
    for number in range(5):
        file.create(wanted(f"neurocl/index/later{number}/x"), nodes={})
        file.append(FIRST, ROWS + 1)
        file.commit()
        assert np.array_equal(traces.rows(FIRST), ROWS)
    file.close()
    assert np.array_equal(traces.rows(FIRST), ROWS)
    with record.open(path) as now:
        assert len(now.rows(FIRST)) == 1200


def test_a_reader_is_told_when_the_writer_went_back_behind_what_it_had_opened(tmp_path):
    path = tmp_path / "traces.h5"
    file = begun(path)
    traces = record.open(path)
    file.truncate({FIRST: 100})
    with pytest.raises(BadInput, match=r"no longer holds what was opened.*open it again"):
        traces.rows(FIRST)
    file.close()


def torn(path, *, name):
    """A file whose writer was killed, and one of whose datasets has a wrong byte in what HDF5 knows of it."""
    child = os.fork()
    if not child:
        file = begun(path)
        file.create(wanted("neurocl/index/b/second"), nodes={})
        for _ in range(30):
            file.append("neurocl/index/b/second", ROWS)
            file.commit()
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    with ReadingFile(path) as file:
        place = h5py.h5o.get_info(file[name].id).addr
    content = bytearray(path.read_bytes())
    content[place + 60] ^= 0xFF
    path.write_bytes(content)


def test_what_a_kill_has_torn_is_an_error_at_once_and_the_rest_can_be_read(tmp_path):
    path = tmp_path / "traces.h5"
    torn(path, name=FIRST)
    began = time.monotonic()
    with record.open(path) as traces:
        with pytest.raises(BadInput, match=r"is damaged in what was asked for .*others? populations"):
            traces.rows(FIRST)
        assert len(traces.rows("neurocl/index/b/second")) == 6000
    with pytest.raises(BadInput, match=r"is damaged in .*record into another file"):
        TraceFile(path, RUN, resume=True)
    assert time.monotonic() - began < 20  # HDF5's own readers of unfinished files ask again for ever
    assert path.exists()


def test_without_the_list_of_what_is_whole_nothing_is_read(tmp_path):
    path = tmp_path / "traces.h5"
    torn(path, name="neurocl/n_valid")
    with pytest.raises(BadInput, match="is damaged"):
        record.open(path)


def test_what_hdf5_writes_over_lies_in_one_page_each(tmp_path):
    path = tmp_path / "traces.h5"
    begin_file(path, {"dt_ms": 1.0}, {})
    file = begun(tmp_path / "written.h5")
    file.truncate({FIRST: 100})
    file.close()
    for each in (path, tmp_path / "written.h5"):
        with h5py.File(each) as found:
            made = found.id.get_create_plist()
            assert made.get_file_space_strategy()[0] == h5py.h5f.FSPACE_STRATEGY_PAGE
            assert made.get_file_space_page_size() == 4096


def test_the_checksum_is_hdf5s_own(tmp_path):
    for number in range(5):
        path = tmp_path / f"{number}.h5"
        with h5py.File(path, "w", libver="latest") as file:
            file["x"] = np.arange(10**number)
        start = path.read_bytes()[:SUPERBLOCK]
        assert checksum(start[:-4]) == int.from_bytes(start[-4:], "little")
