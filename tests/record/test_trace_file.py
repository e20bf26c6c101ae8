"""Whatever happens to the writer, what was committed can be read, and the file can be gone on with."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from neurocl import record
from neurocl.neurons import LIF
from neurocl.primitives.checks import BadInput
from neurocl.record import layout, views
from neurocl.record.journal import journal_of
from neurocl.record.trace_file import lock_of

STEPS, BATCH, NEURONS = 5, 3, 40


@pytest.fixture
def path(tmp_path):
    return tmp_path / "traces.h5"


def raster_of(number, batch=BATCH):
    """Spikes that tell which pass they are from."""
    draws = np.random.default_rng(number)
    return draws.random((STEPS, batch, NEURONS)) < 0.2


def play(recorder, neuron, numbers):
    """Let neurons spike as :func:`raster_of` says, a pass for each number."""
    for number in numbers:
        with recorder.samples(labels=torch.full((BATCH,), number), phase="training", task=number // 10):
            neuron(torch.from_numpy(raster_of(number)).float() * 50)


def recorder_for(path, neuron, **options):
    return record.Recorder(path, neuron, variables=("spikes", "current"), neurons=2, **options)


def check(path, numbers):
    """The file holds these passes and nothing else, to the bit."""
    with record.open(path) as traces:
        assert len(traces) == BATCH * len(numbers)
        assert traces.samples["label"].tolist() == [n for n in numbers for _ in range(BATCH)]
        if numbers:
            wanted = np.concatenate([raster_of(number).transpose(1, 0, 2) for number in numbers])
            assert (traces["network"].raster() == wanted).all()
            assert traces["network"].read("current").shape == (BATCH * len(numbers), STEPS, 2)


def make_neuron():
    return LIF(tau_membrane_ms=0.1, reset="zero")  # forgets at once: spikes where the current says so


KILLED = """
    import sys, torch
    sys.path.insert(0, {tests!r})
    import test_trace_file as t
    neuron = t.make_neuron()
    with t.recorder_for({path!r}, neuron, spikes={spikes!r}, block_bytes={block}, resume={resume}) as recorder:
        print("begun", flush=True)
        number = {first}
        while True:
            t.play(recorder, neuron, [number])
            number += 1
            if number % 20 == 0:
                print(number, flush=True)
"""


def writer_process(path, *, spikes="raster", block=2000, resume=False, first=0):
    code = textwrap.dedent(KILLED).format(
        tests=str(Path(__file__).parent), path=str(path), spikes=spikes, block=block, resume=resume, first=first
    )
    return subprocess.Popen([sys.executable, "-W", "ignore", "-c", code], stdout=subprocess.PIPE, text=True)


def killed_after(path, passes, delay, **options):
    """Let a writer make so many passes, and kill it ``delay`` seconds later; return how many it had told of."""
    process = writer_process(path, **options)
    told = 0
    while told < passes:
        line = process.stdout.readline()
        assert line, "the writer ended by itself"
        told = int(line.strip().replace("begun", "0"))
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    rest = process.communicate()[0].split()
    return max([told, *map(int, rest)])


@pytest.mark.parametrize("spikes", ["raster"])
def test_a_killed_writer_loses_no_more_than_its_last_block_and_can_go_on(path, spikes):
    told = killed_after(path, 60, 0.0, spikes=spikes)
    with record.open(path) as traces:
        whole = len(traces) // BATCH
    check(path, list(range(whole)))
    per_block = 2000 // (BATCH * STEPS * NEURONS // 8) + 2  # passes, events being larger still
    assert whole >= told - 20 - 64 * per_block  # told every 20 passes; a queue of passes waits
    neuron = make_neuron()
    with recorder_for(path, neuron, spikes=spikes, block_bytes=2000, resume=True) as recorder:
        play(recorder, neuron, [whole, whole + 1])
    check(path, list(range(whole + 2)))
    with h5py.File(path) as file:  # an ordinary file again
        assert file["neurocl/samples/label"].shape == (BATCH * (whole + 2),)


def test_another_process_reads_while_it_is_written(path):
    neuron = make_neuron()
    ask = f"""
        import sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        import test_trace_file as t
        t.check({str(path)!r}, [0, 1, 2])
        print("read")
    """
    with recorder_for(path, neuron) as recorder:
        play(recorder, neuron, range(3))
        recorder.flush()
        with record.open(path) as here:
            assert len(here) == 9
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", textwrap.dedent(ask)], capture_output=True, text=True
        )
        assert "read" in done.stdout, done.stderr[-500:]
        play(recorder, neuron, [3])
        recorder.flush()
        check(path, [0, 1, 2, 3])
    check(path, [0, 1, 2, 3])


def test_a_population_that_comes_later_joins_the_file_while_somebody_reads(path):
    network = torch.nn.ModuleDict({"a": make_neuron(), "b": LIF()})
    with record.Recorder(path, network) as recorder:
        with recorder.samples():
            network["a"](torch.ones(3, 2, 4))
        recorder.flush()
        with record.open(path) as early:
            with recorder.samples():
                network["a"](torch.ones(3, 2, 4))
                network["b"](torch.ones(3, 2, 6))
            recorder.flush()
            assert early.populations == ["a"]
            assert early["a"].raster().shape == (2, 3, 4)
    with record.open(path) as traces:
        assert traces["b"].recorded("spikes").tolist() == [2, 3]
        assert traces["a"].raster().shape == (4, 3, 4)


def test_resuming_goes_on_in_the_same_file(path):
    neuron = make_neuron()
    for numbers in ([0, 1], [2], [3, 4]):
        with recorder_for(path, neuron, resume=True) as recorder:
            play(recorder, neuron, numbers)
    check(path, list(range(5)))


def test_rewinding_to_a_checkpoint_forgets_what_came_after(path):
    neuron = make_neuron()
    with recorder_for(path, neuron, weights="values") as recorder:
        for task in range(3):
            play(recorder, neuron, [10 * task, 10 * task + 1])
            recorder.checkpoint(task)
        play(recorder, neuron, [99])
    with recorder_for(path, neuron, weights="values", resume=True) as recorder:
        with pytest.raises(BadInput, match="no checkpoint 7"):
            recorder.rewind(7)
        recorder.rewind(1)
        play(recorder, neuron, [20, 21])
        recorder.checkpoint(2)
    check(path, [0, 1, 10, 11, 20, 21])
    with record.open(path) as traces:
        assert [marker.task for marker in traces.markers] == [0, 1, 2]
    with recorder_for(path, neuron, weights="values", resume=True) as recorder:
        recorder.rewind(None)
        play(recorder, neuron, [5])
    check(path, [5])


def test_a_file_that_is_there_is_never_written_over(path):
    neuron = make_neuron()
    with recorder_for(path, neuron) as recorder:
        play(recorder, neuron, [0])
    before = path.read_bytes()
    with pytest.raises(BadInput, match=r"path must name a new file; .*resume=True"):
        recorder_for(path, neuron)
    with pytest.raises(BadInput, match=r"dt_ms must be as the file was begun.* 1\.0 there and 2"):
        recorder_for(path, neuron, resume=True, dt_ms=2)
    with pytest.raises(BadInput, match="selection must be as the file was begun"):
        record.Recorder(path, neuron, resume=True)
    check(path, [0])
    assert len(path.read_bytes()) == len(before)


def test_a_second_writer_is_refused_and_the_first_goes_on(path):
    neuron = make_neuron()
    with recorder_for(path, neuron) as recorder:
        play(recorder, neuron, [0])
        for resume in (False, True):
            with pytest.raises(BadInput, match="is being written by another recorder"):
                recorder_for(path, make_neuron(), resume=resume)
        play(recorder, neuron, [1])
    check(path, [0, 1])
    assert not lock_of(path).exists()


def test_a_foreign_file_is_refused_untouched(path):
    with h5py.File(path, "w") as file:
        file["data"] = np.arange(5)
    before = path.read_bytes()
    for ask in (lambda: record.open(path), lambda: recorder_for(path, make_neuron(), resume=True)):
        with pytest.raises(BadInput, match="is no trace file of neurocl"):
            ask()
    assert path.read_bytes() == before
    path.write_text("not HDF5 at all")
    for ask in (lambda: record.open(path), lambda: recorder_for(path, make_neuron(), resume=True)):
        with pytest.raises(BadInput, match="cannot be read as HDF5"):
            ask()
    assert path.read_text() == "not HDF5 at all"


def test_a_name_that_leaves_no_room_for_those_beside_it_is_refused_before_anything_is_made(tmp_path):
    longest = os.pathconf(tmp_path, "PC_NAME_MAX")
    for length in (longest - 5, longest + 40):
        with pytest.raises(BadInput, match=rf"path must name a file of at most {longest - 14} bytes.*; got {length}"):
            recorder_for(tmp_path / ("x" * (length - 3) + ".h5"), make_neuron())
    assert not list(tmp_path.iterdir())
    neuron = make_neuron()
    path = tmp_path / ("x" * (longest - 17) + ".h5")
    with recorder_for(path, neuron) as recorder:
        play(recorder, neuron, [0])
    check(path, [0])


def test_an_interrupt_while_the_file_is_closed_waits_until_it_is_whole(path, monkeypatch):
    neuron, add = make_neuron(), views.add
    recorder = recorder_for(path, neuron)
    play(recorder, neuron, [0])

    def interrupted(file):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)  # for the main thread to be told
        add(file)

    monkeypatch.setattr(views, "add", interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a shell's background jobs
    try:
        with pytest.raises(KeyboardInterrupt):
            recorder.close()
    finally:
        signal.signal(signal.SIGINT, before)
    check(path, [0])
    assert not journal_of(path).exists()
    with h5py.File(path) as file:
        assert "report" in file  # the views of other readers
    recorder.close()


@pytest.mark.parametrize("then", ["another", "none"])
def test_a_file_that_is_moved_away_is_not_followed_by_its_path_into_another(path, then):
    neuron, other = make_neuron(), path.with_name("other.h5")
    with recorder_for(other, neuron) as recorder:
        play(recorder, neuron, [7])
    recorder = recorder_for(path, neuron)
    play(recorder, neuron, [0])
    recorder.flush()
    path.rename(path.with_name("moved.h5"))
    if then == "another":
        shutil.copy(other, path)
    play(recorder, neuron, [1])
    with pytest.raises(BadInput, match="was moved, removed or replaced while it was written"):
        recorder.close()
    check(path.with_name("moved.h5"), [0, 1])
    assert not lock_of(path).exists()
    assert (path.read_bytes() == other.read_bytes()) if then == "another" else not path.exists()


def test_a_link_to_a_file_that_is_not_there_yet_stays_a_link(path):
    link, neuron = path.parent / "elsewhere" / "link.h5", make_neuron()
    link.parent.mkdir()
    link.symlink_to(path)
    with recorder_for(link, neuron) as recorder:
        play(recorder, neuron, [0])
        recorder.checkpoint(0)
        play(recorder, neuron, [1])
    with recorder_for(link, neuron, resume=True) as recorder:
        recorder.rewind(0)
        with pytest.raises(BadInput, match="is being written by another recorder"):
            recorder_for(link, make_neuron(), resume=True)
        play(recorder, neuron, [2])
    check(path, [0, 2])
    assert link.is_symlink()
    assert sorted(each.name for each in path.parent.iterdir()) == ["elsewhere", "traces.h5"]
    link.unlink()
    link.symlink_to(link)
    with pytest.raises(BadInput, match=r"links of .* lead in a circle"):
        recorder_for(link, make_neuron())


LEFT = """
    import os, sys, torch
    from neurocl import record
    from neurocl.neurons import LIF

    network = torch.nn.Sequential(torch.nn.Linear(10, 500), LIF().hidden())
    recorder = record.Recorder({path!r}, network, variables=("spikes", "voltage"))
    for _ in range(30):
        with recorder.samples(labels=torch.arange(16)):
            for x in torch.rand(16, 16, 10):
                network(x)
    if {how!r} == "forked" and not os.fork():
        sys.exit(0)
"""


@pytest.mark.parametrize("how", ["left", "forked"])
def test_a_script_that_never_closes_its_recorder_ends_and_leaves_a_whole_file(path, how):
    code = textwrap.dedent(LEFT).format(path=str(path), how=how)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    with record.open(path) as traces:
        assert len(traces) == 480
    with h5py.File(path) as file:
        assert "report" in file
    assert not lock_of(path).exists()


def test_no_file_a_folder_and_no_place_to_write(tmp_path):
    with pytest.raises(BadInput, match="there is no file"):
        record.open(tmp_path / "none.h5")
    with pytest.raises(BadInput, match="is a folder"):
        record.Recorder(tmp_path, make_neuron())
    with pytest.raises(BadInput, match="folder that exists"):
        record.Recorder(tmp_path / "no" / "where.h5", make_neuron())


def test_a_damaged_file_is_an_error_and_not_a_crash(path):
    neuron = make_neuron()
    with recorder_for(path, neuron) as recorder:
        play(recorder, neuron, range(5))
    whole = path.read_bytes()
    for size in (0, 100, 3000, len(whole) - 100):
        path.write_bytes(whole[:size])
        with pytest.raises(BadInput, match=r"cannot be read as HDF5|is no trace file|damaged"):
            check(path, list(range(5)))


FULL = """
    import sys, torch, resource, signal
    sys.path.insert(0, {tests!r})
    import test_trace_file as t
    from neurocl.primitives.checks import BadInput
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    neuron = t.make_neuron()
    t.NEURONS = 8000
    resource.setrlimit(resource.RLIMIT_FSIZE, (8_000_000, 8_000_000))
    try:
        with t.recorder_for({path!r}, neuron, block_bytes=20_000) as recorder:
            t.play(recorder, neuron, range(2000))
    except BadInput as error:
        print("error:", error)
    neuron(torch.ones(3, 2, 4))
    print("goes on")
"""


def test_a_full_disk_is_one_clear_error_and_what_was_written_stays(path, monkeypatch):
    code = textwrap.dedent(FULL).format(tests=str(Path(__file__).parent), path=str(path))
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True)
    assert "error: recording to" in done.stdout, done.stderr[-800:]
    assert "resume=True" in done.stdout
    assert "goes on" in done.stdout
    monkeypatch.setattr(sys.modules[__name__], "NEURONS", 8000)
    with record.open(path) as traces:
        whole = len(traces) // BATCH
    assert whole >= 50
    check(path, list(range(whole)))
    neuron = make_neuron()
    with recorder_for(path, neuron, block_bytes=20_000, resume=True) as recorder:
        play(recorder, neuron, [whole])
    check(path, list(range(whole + 1)))


def test_memory_stays_bounded_however_slowly_the_disk_writes(path, monkeypatch):
    from neurocl.record import blocks, writer

    monkeypatch.setattr(writer, "QUEUE_BYTES", 5000)
    waiting = []
    add = blocks.Blocks.add

    def slowly(self, passage):
        time.sleep(0.01)
        add(self, passage)

    monkeypatch.setattr(blocks.Blocks, "add", slowly)
    neuron = make_neuron()
    with recorder_for(path, neuron) as recorder:
        for number in range(40):
            play(recorder, neuron, [number])
            waiting.append(recorder._writer._bytes)
    assert max(waiting) <= 5000
    check(path, list(range(40)))


def test_a_process_that_inherits_the_recorder_writes_nothing(path):
    neuron = make_neuron()
    with recorder_for(path, neuron) as recorder:
        play(recorder, neuron, [0])
        child = os.fork()
        if child == 0:
            try:
                neuron(torch.ones(STEPS, BATCH, NEURONS))
                recorder.close()
            finally:
                os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        play(recorder, neuron, [1])
    check(path, [0, 1])


def test_bits_are_close_to_one_a_neuron_and_step(tmp_path):
    neuron = LIF()
    draws = torch.Generator().manual_seed(0)
    with record.Recorder(tmp_path / "big.h5", neuron) as recorder:
        for _ in range(20):
            with recorder.samples(labels=torch.zeros(64)):
                neuron(torch.rand(20, 64, 800, generator=draws))
    bits = 8 * (tmp_path / "big.h5").stat().st_size / (20 * 64 * 20 * 800)
    assert bits < 1.1
    with record.Recorder(tmp_path / "small.h5", neuron, compression="gzip") as recorder:
        for _ in range(20):
            with recorder.samples():
                neuron(torch.rand(20, 64, 800, generator=draws) * 0.3)
    assert (tmp_path / "small.h5").stat().st_size < 0.8 * (tmp_path / "big.h5").stat().st_size


MANY_KILLS = """
    import os, random, signal, sys, time
    from pathlib import Path
    sys.path.insert(0, {tests!r})
    import test_trace_file as t
    random.seed(0)
    lost = []
    for number in range({kills}):
        path, ready = Path({folder!r}) / f"{{number}}.h5", Path({folder!r}) / f"{{number}}.count"
        spikes = ("raster", "events")[number % 2]
        child = os.fork()
        if child == 0:
            neuron = t.make_neuron()
            with t.recorder_for(path, neuron, spikes=spikes, block_bytes=2000) as recorder:
                count = 0
                while True:
                    t.play(recorder, neuron, [count])
                    count += 1
                    os.pwrite(os.open(ready, os.O_WRONLY | os.O_CREAT), b"%9d" % count, 0) if count % 5 == 0 else None
                    if count % 40 == 0:
                        recorder.flush()
        while not ready.exists():
            time.sleep(0.001)
        time.sleep(random.random() * 0.5)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        shown = int(ready.read_bytes() or b"0")
        with t.record.open(path) as traces:
            whole = len(traces) // t.BATCH
        t.check(path, list(range(whole)))
        lost.append(shown - whole)
        neuron = t.make_neuron()
        with t.recorder_for(path, neuron, spikes=spikes, block_bytes=2000, resume=True) as recorder:
            t.play(recorder, neuron, [whole])
        t.check(path, list(range(whole + 1)))
        path.unlink(), ready.unlink()
    print("kills", len(lost), "lost at most", max(lost))
    assert max(lost) <= 40  # passes that waited since the last flush
"""


def many_kills(folder, kills):
    code = textwrap.dedent(MANY_KILLS).format(tests=str(Path(__file__).parent), folder=str(folder), kills=kills)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-1500:]
    return done.stdout


def test_ten_kills_at_random_moments_leave_ten_files_that_open(tmp_path):
    assert "kills 10" in many_kills(tmp_path, 10)


@pytest.mark.slow
def test_two_hundred_kills_at_random_moments_leave_two_hundred_files_that_open(tmp_path):
    assert "kills 200" in many_kills(tmp_path, 200)


def test_the_layout_has_the_names_that_the_formats_ask_for(path):
    neuron = make_neuron()
    with recorder_for(path, neuron, spikes="events") as recorder:
        play(recorder, neuron, [0, 1])
    with h5py.File(path) as file:
        assert file.attrs["magic"] == layout.MAGIC
        assert file.attrs["version"].tolist() == [0, 1]
        group = file["spikes/network"]
        assert h5py.check_enum_dtype(group.attrs.get_id("sorting").dtype) == layout.SORTING
        assert group["timestamps"].attrs["units"] == "ms"
        assert (np.diff(group["timestamps"][...]) >= 0).all()
        assert group["node_ids"].dtype == np.uint64
    shutil.copy(path, path.with_name("copy.h5"))
    check(path.with_name("copy.h5"), [0, 1])
