"""Do reports tell which weights a task changed, whose were changed before, and how saturated they are?"""

import pytest
import torch
from torch import nn

from neurocl import streams
from neurocl.learners import GradientLearner, Schedule, Updates, make_optimiser
from neurocl.networks import MLP
from neurocl.plasticity import CLASSP
from neurocl.primitives.checks import BadInput
from neurocl.primitives.files import read_json
from neurocl.run import plasticity_plots, plots
from neurocl.run.job import Job, execute
from neurocl.run.loop import run
from neurocl.run.shelf import load_model

TASK = streams.open("split-digits", seed=0).task(0)


def change(updates: Updates, network: nn.Linear, rows: list[int]) -> dict:
    updates.begin(TASK)
    with torch.no_grad():
        network.weight[rows] += 1
    updates.end(TASK)
    return updates.diagnostics()


def test_shares_and_overlaps_are_those_of_the_changed_weights():
    network = nn.Linear(5, 3, bias=False)  # 15 weights: no whole number of bytes
    updates = Updates(network)
    assert change(updates, network, [0, 1]) == {"share": 2 / 3, "share_by_parameter": {"weight": 2 / 3}, "overlap": []}
    assert change(updates, network, [1, 2])["overlap"] == [pytest.approx(1 / 3)]
    resumed = Updates(network)
    resumed.load_state_dict(updates.state_dict())
    last = change(resumed, network, [2])
    assert last["share"] == pytest.approx(1 / 3)
    assert last["overlap"] == [0.0, pytest.approx(1 / 2)]
    nothing = change(resumed, network, [])
    assert (nothing["share"], nothing["overlap"]) == (0.0, [0.0, 0.0, 0.0])


def test_rows_that_a_head_gains_belong_to_no_earlier_task():
    network = nn.Linear(4, 2, bias=False)
    updates = Updates(network)
    change(updates, network, [0, 1])
    network.weight = nn.Parameter(torch.cat([network.weight.detach(), torch.zeros(2, 4)]))
    assert change(updates, network, [0, 1, 2])["overlap"] == [pytest.approx(2 / 3)]


def test_saturation_is_what_steps_are_divided_by():
    network = nn.Linear(2, 2, bias=False)
    updates = Updates(network)
    rule = updates.watching(lambda some: CLASSP(some, power=2.0, epsilon=0.25, threshold=0.0, gate="absolute"))
    optimiser = rule(network.parameters())
    updates.begin(TASK)
    network.weight.grad = torch.tensor([[0.0, 1.0], [2.0, 3.0]])
    optimiser.step()
    updates.end(TASK)
    found = updates.diagnostics()
    assert found["fresh"] == 0.25
    assert found["share"] == 0.75
    assert found["saturation_deciles"][0] == 0.5
    assert found["saturation_deciles"][-1] == pytest.approx(9.25**0.5)


SMALL = {"hidden": (12,), "epochs": 1}
OF_MODELS = {
    "finetune": SMALL, "ewc": SMALL, "replay": SMALL, "der": SMALL, "joint": SMALL,
    "nispa": {"hidden": (20, 20), "phases": 2, "phase_epochs": 1, "density": 0.5},
    "sharp": {"channels": (4, 4), "hidden": (30, 30), "phases": 2, "phase_epochs": 1, "density": 0.5},
    "sharp, whole": {"channels": (4, 4), "hidden": (30, 30), "phases": 2, "phase_epochs": 1, "skip_idle": "never"},
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::neurocl.plasticity.CapacityExhausted")  # so few units
@pytest.mark.parametrize("name", OF_MODELS)
def test_every_model_that_takes_an_optimiser_tells_what_classp_changed(name):
    stream = streams.open("split-digits", seed=0, options={"train_per_class": "10", "classes_per_task": "5"})
    model = load_model(name.partition(",")[0])
    for optimiser in ("adam", "classp"):
        config = model.config(coding="rate", optimiser=optimiser, **OF_MODELS[name])
        found = run(model.build(config, stream.shape, seed=0), stream).diagnostics
        if optimiser == "adam":
            assert not any("updates" in each for each in found)
            continue
        assert [len(each["updates"]["overlap"]) for each in found] == ([0, 0] if name == "joint" else [0, 1])
        assert all(0.05 < each["updates"]["share"] <= 1 for each in found)
        assert all(each["updates"]["saturation_deciles"][-1] > 0 for each in found)


def test_with_classp_the_pull_of_ewc_fills_no_history():
    stream = streams.open("split-digits", seed=0, options={"train_per_class": "10"})
    model, last = load_model("ewc"), []
    for strength in (0.0, 1e6):
        config = model.config(coding="rate", hidden=(20,), epochs=1, optimiser="classp", strength=strength)
        learner = model.build(config, stream.shape, seed=0)
        last.append(run(learner, stream).diagnostics[-1]["updates"]["saturation_deciles"])
    assert last[1][-1] < 3 * last[0][-1]  # the gradient of such a penalty would be thousands of times the loss's


@pytest.mark.parametrize("optimiser", ["sgd", "adagrad", "classp"])
def test_any_optimiser_can_be_reported_on(optimiser):
    stream = streams.open("split-digits", seed=0, options={"train_per_class": "10"})
    network = MLP(stream.shape, hidden=(10,), coding="rate", head="expanding", seed=0)
    updates = Updates(network)
    learner = GradientLearner(
        network, Schedule(batch_size=10), name="mine", fresh_optimiser=False,
        optimiser=updates.watching(make_optimiser(optimiser, learning_rate=0.01)),
        at_task_begin=[updates.begin], at_task_end=[updates.end], parts={"updates": updates},
    )  # fmt: skip
    found = run(learner, stream).diagnostics
    assert len(found) == 5
    assert [len(each["updates"]["overlap"]) for each in found] == [0, 1, 2, 3, 4]
    assert all(0.1 < each["updates"]["share"] <= 1 for each in found)
    assert ("saturation_deciles" in found[0]["updates"]) == (optimiser == "classp")


@pytest.mark.parametrize("fresh", [False, True])
def test_every_learner_with_classp_reports_without_being_told_to_and_goes_on_after_a_pause(fresh):
    stream = streams.open("split-digits", seed=0, options={"train_per_class": "10"})

    def learner(optimiser: str) -> GradientLearner:
        network = MLP(stream.shape, hidden=(10,), coding="rate", head="expanding", seed=0)
        return GradientLearner(
            network, Schedule(batch_size=10), name="mine", fresh_optimiser=fresh,
            optimiser=make_optimiser(optimiser, learning_rate=0.01),
        )  # fmt: skip

    whole, resumed = learner("classp"), learner("classp")
    found = run(whole, stream).diagnostics
    assert [len(each["updates"]["overlap"]) for each in found] == [0, 1, 2, 3, 4]
    assert all("saturation_deciles" in each["updates"] for each in found)
    first = learner("classp")
    for task in stream:
        if task.index == 3:
            resumed.load_state_dict(first.state_dict())
            first = resumed
        first.begin_task(task)
        for batch in task.batches(10, 0):
            first.observe(batch)
        first.end_task(task)
    assert first.diagnostics() == found[-1]
    assert not any(run(learner("adam"), stream).diagnostics)


def test_a_run_writes_the_report_and_draws_it_again_where_it_is_gone(tmp_path):
    job = Job(
        model="classp", coding="rate", stream="split-digits", out=str(tmp_path), resume=True,
        settings=(("hidden", "20"), ("epochs", "1")),
    )  # fmt: skip
    folder = execute(job)
    results = read_json(folder / "results.json")
    assert len(results["diagnostics"]) == 5
    assert 0 < results["diagnostics"][-1]["updates"]["share"] < 1
    assert (folder / plasticity_plots.NAME).stat().st_size > 5000
    (folder / plasticity_plots.NAME).unlink()
    assert execute(job) == folder
    assert (folder / plasticity_plots.NAME).exists()


def test_runs_without_reports_get_no_plot(tmp_path):
    plasticity_plots.save_run(tmp_path, {"diagnostics": [{}]})
    assert not list(tmp_path.iterdir())
    assert plasticity_plots.NAME not in plots.OF_A_RUN


def test_classp_by_name_refuses_weight_decay():
    with pytest.raises(BadInput, match="takes no weight decay"):
        make_optimiser("classp", learning_rate=0.01, weight_decay=0.1)
