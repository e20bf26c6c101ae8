"""Does the bench compare like with like, and say so?"""

import io

import pytest
import torch
from rich.console import Console

from neurocl.primitives.checks import BadInput
from neurocl.run.bench import measurement, report, run_bench
from neurocl.run.bench.contenders import Ours, compare_spikes, draw_inputs, parts_for, tune_activity
from neurocl.run.bench.peers import PEERS, is_installed
from neurocl.run.bench.rounds import ratios, timed_rounds

SETTINGS = {
    "time_steps": 3,
    "batch": 4,
    "activity": [0.1],
    "input": "static",
    "mode": "infer",
    "rounds": 1,
    "threads": 1,
    "parts": False,
}


# what the libraries warn of when they are imported is theirs to mend
foreign = pytest.mark.filterwarnings("ignore")


def needs(library):
    if not is_installed(library):
        pytest.skip(f"{library} is not installed")


@foreign
@pytest.mark.parametrize("kind", ["static", "raster"])
@pytest.mark.parametrize("library", PEERS)
def test_neurons_of_each_library_are_matched_bit_for_bit_and_scores_to_rounding(library, kind):
    needs(library)
    inputs, _ = draw_inputs(kind, time_steps=8, batch=6, seed=0)
    ours = Ours(library, kind, time_steps=8, parts=parts_for(kind)[-1])
    tune_activity(ours, inputs, 0.1)
    peer = PEERS[library](ours.linears(), time_steps=8)
    agreement = compare_spikes(ours, peer, inputs)
    assert all(0.05 < rate < 0.15 for rate in agreement.rates)
    assert agreement.same_rule == [1.0, 1.0]
    assert min(agreement.same_network) > 0.999
    with torch.no_grad():
        torch.testing.assert_close(ours(inputs), peer(inputs), atol=1e-3, rtol=1e-3)


@foreign
@pytest.mark.parametrize("library", PEERS)
def test_gradients_are_the_librarys_own(library):
    needs(library)
    inputs, labels = draw_inputs("static", time_steps=8, batch=6, seed=0)
    ours = Ours(library, "static", time_steps=8, parts=parts_for("static")[-1])
    tune_activity(ours, inputs, 0.1)
    peer = PEERS[library](ours.linears(), time_steps=8)
    for network in (ours, peer):
        torch.nn.functional.cross_entropy(network(inputs) * 30, labels).backward()
    for linear, theirs in zip(ours.linears(), peer.linears, strict=True):
        assert theirs.weight.grad.abs().max() > 0
        difference = (linear.weight.grad - theirs.weight.grad).abs().max()
        assert difference < 1e-4 * theirs.weight.grad.abs().max()


@pytest.mark.parametrize("kind", ["static", "raster"])
def test_switching_speed_ups_off_changes_no_score(kind):
    inputs, _ = draw_inputs(kind, time_steps=8, batch=6, seed=0)
    every = [Ours("snntorch", kind, time_steps=8, parts=parts) for parts in parts_for(kind)]
    for other in every[:-1]:
        other.load_state_dict(every[-1].state_dict())
        with torch.no_grad():
            torch.testing.assert_close(other(inputs), every[-1](inputs), atol=1e-3, rtol=1e-3)


def test_a_missing_library_is_one_row_that_says_so(monkeypatch):
    monkeypatch.setattr(measurement, "is_installed", lambda library: False)
    rows = measurement.measure(SETTINGS, lambda _: None)
    assert [row["library"] for row in rows] == [*PEERS]
    assert all("not installed" in row["note"] for row in rows)
    out = io.StringIO()
    report(rows, Console(file=out, width=120))
    assert out.getvalue().count("not installed") == len(PEERS)


def test_the_bench_runs_in_a_process_of_its_own_and_reports():
    said = []
    rows = run_bench(quick=True, mode="train", parts=True, progress=said.append)
    measured = [row for row in rows if "ratio" in row]
    assert said
    assert {row["library"] for row in rows} == {*PEERS}
    assert len(measured) == 3 * sum(map(is_installed, PEERS))
    for row in measured:
        assert len(row["theirs_rounds_ms"]) == len(row["ours_rounds_ms"]) == 2
        assert row["ratio_min"] <= row["ratio"] <= row["ratio_max"]
    out = io.StringIO()
    report(rows, Console(file=out, width=160))
    assert "kernel + constant current + event products" in out.getvalue() or not measured


def test_ratios_are_taken_within_rounds():
    found = ratios([4.0, 30.0, 6.0], [1.0, 10.0, 1.0])
    assert (found["ratio"], found["ratio_min"], found["ratio_max"]) == (4.0, 3.0, 6.0)
    assert found["theirs_ms"] == 6000.0


def test_every_contender_runs_once_a_round_and_nobody_always_first():
    order = []
    seconds = timed_rounds({name: lambda n=name: order.append(n) for name in "abc"}, 3, lambda _: None)
    assert all(len(values) == 3 for values in seconds.values())
    assert [sorted(order[i : i + 3]) for i in range(0, 12, 3)] == [["a", "b", "c"]] * 4
    assert len({order[i] for i in range(0, 12, 3)}) == 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"activity": [1.5]}, "activity must be"),
        ({"rounds": 0}, "rounds must be"),
        ({"mode": "both"}, "no mode named 'both'"),
        ({"input": "film"}, "no input named 'film'"),
    ],
)
@pytest.mark.usefixtures("as_installed")
def test_bad_settings_are_refused_before_anything_is_measured(arguments, words):
    with pytest.raises(BadInput, match=words):
        run_bench(**arguments)
