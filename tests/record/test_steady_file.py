"""Does an open reader go on answering whatever the writer does to the file, and say so where it cannot?"""

import os
import select
import signal
import tempfile
import threading
import time
import traceback
from pathlib import Path

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
    heard, read = os.pipe()
    child = os.fork()
    if not child:
        os.close(read)
        file = begun(path)
        for number in range(40):
            if number % 5 == 4:  # on a busy machine too, somebody reads between the changes
                while select.select([heard], [], [], 0)[0]:
                    os.read(heard, 1 << 16)
                select.select([heard], [], [], 30)
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
        os.write(read, b".")
    os.close(read)
    os.close(heard)
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


def test_a_reader_is_told_too_when_as_much_was_recorded_anew_or_another_file_took_the_place(tmp_path):
    path = tmp_path / "traces.h5"
    file = begun(path)
    traces = record.open(path)
    file.truncate({FIRST: 100})
    file.append(FIRST, ROWS)
    file.commit()
    with pytest.raises(BadInput, match=r"no longer holds what was opened.*open it again"):
        traces.rows(FIRST)
    again = record.open(path)
    file.close()
    path.unlink()
    begun(path).close()
    again._source._let_go()
    with pytest.raises(BadInput, match=r"no longer holds what was opened.*open it again"):
        again.rows(FIRST)


def test_a_resumed_file_is_the_one_that_was_opened(tmp_path):
    path = tmp_path / "traces.h5"
    child = os.fork()
    if not child:
        begun(path)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    with record.open(path) as traces:
        TraceFile(path, RUN, resume=True).close()  # which makes a whole copy
        traces._source._let_go()
        assert np.array_equal(traces.rows(FIRST), ROWS)


def test_one_reader_serves_several_threads(tmp_path):
    path, ended, trouble, reads = tmp_path / "traces.h5", threading.Event(), [], []
    file = begun(path)
    traces = record.open(path)

    def read():
        while not ended.is_set():
            try:
                reads.append(np.array_equal(traces.rows(FIRST), ROWS))
            except Exception as error:
                trouble.append(error)

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    for number in range(20):
        file.create(wanted(f"neurocl/index/later{number}/x"), nodes={})
        file.commit()
    ended.set()
    for reader in readers:
        reader.join()
    file.close()
    assert not trouble
    assert all(reads)


def test_an_open_file_is_found_from_any_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = begun(Path("traces.h5"))
    traces = record.open("traces.h5")
    monkeypatch.chdir("/")
    file.create(wanted("neurocl/index/later/x"), nodes={})
    assert np.array_equal(traces.rows(FIRST), ROWS)
    file.close()
    with record.open(tmp_path / "traces.h5") as now:
        assert now.length("neurocl/index/later/x") == 0
    assert [each.name for each in tmp_path.iterdir()] == ["traces.h5"]


@pytest.mark.skipif(os.geteuid() != 0, reason="takes another user")
def test_a_reader_that_may_not_write_waits_for_a_change_as_others_do():
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        read_by_another_user(Path(folder) / "traces.h5")


def read_by_another_user(path):
    file = begun(path)
    child = os.fork()
    if not child:
        status = 1
        try:
            os.setgid(65534)
            os.setuid(65534)
            with record.open(path) as traces:
                lots = 0
                while lots < 6:
                    assert np.array_equal(traces.rows(FIRST), ROWS)
                    with record.open(path) as now:
                        lots = len(now.names("neurocl/index/later"))
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    number, ended = 0, (0, 0)
    while ended == (0, 0):
        file.create(wanted(f"neurocl/index/later{number}/x"), nodes={})
        file.commit()
        number, ended = number + 1, os.waitpid(child, os.WNOHANG)
        time.sleep(0.05)
    file.close()
    assert ended[1] == 0
    assert number >= 6


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
