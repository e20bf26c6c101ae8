"""Does the loop feed, evaluate and count as it says, and refuse what cannot work?"""

from dataclasses import replace
from itertools import chain

import pytest
import torch

from neurocl.learners.learner import Abilities, Schedule
from neurocl.primitives.checks import BadInput
from neurocl.run.evaluation import BATCH_SIZE, TestSets, evaluate, mixed
from neurocl.run.loop import History, check_abilities, run, scheduled
from neurocl.run.results import results_of
from neurocl.streams import open as open_stream


def ids(batches):
    return [batch.sample_ids.tolist() for batch in batches]


def joined(lists):
    return list(chain.from_iterable(lists))


def test_whole_epochs_show_every_sample_once_and_shuffle_anew(stream):
    task = stream().task(0)
    batches = ids(scheduled(task, Schedule(batch_size=16, epochs=2)))
    passes = [joined(batches[:3]), joined(batches[3:])]
    assert len(batches) == 6
    assert sorted(passes[0]) == sorted(passes[1])
    assert len(set(passes[0])) == task.size
    assert passes[0] != passes[1]


def test_iterations_go_on_through_reshuffled_passes_and_come_out_the_same_again(stream):
    schedule = Schedule(batch_size=16, iterations=7)
    batches = ids(scheduled(stream().task(1), schedule))
    assert len(batches) == 7
    assert sorted(joined(batches[:3])) == sorted(joined(batches[3:6]))
    assert batches == ids(scheduled(stream().task(1), schedule))
    assert batches != ids(scheduled(stream(seed=1).task(1), schedule))


def spied(learner):
    """Note which columns are largest in each batch the learner is asked about, and the task id it is told."""
    asked, predict = [], learner.predict

    def noted(inputs, task_id=None):
        asked.append((set(inputs.flatten(1).argmax(dim=1).tolist()), task_id))
        return predict(inputs, task_id)

    learner.predict = noted
    return asked


def test_evaluation_mixes_the_classes_of_all_tasks_in_every_batch(stream, softmax):
    data = stream()
    asked = spied(learner := softmax(data))
    run(learner, data)
    assert [labels for labels, _ in asked] == [{0, 1}, {0, 1, 2, 3}, {0, 1, 2, 3, 4, 5}]
    assert {task_id for _, task_id in asked} == {None}


def test_every_batch_of_a_long_evaluation_holds_samples_of_all_tasks_once():
    tests = TestSets(open_stream("split-digits"))
    seen = []
    for samples, row in mixed(tests, range(5), seed=0):
        assert set(row.tolist()) == set(range(5))
        assert set(samples.labels.tolist()) == set(range(10))
        seen += samples.sample_ids.tolist()
    assert len(seen) > BATCH_SIZE
    assert sorted(seen) == sorted(joined(tests.of(task).sample_ids.tolist() for task in range(5)))


def test_only_a_task_incremental_stream_tells_the_task_at_test(stream, softmax):
    data = stream("task-incremental")
    asked = spied(learner := softmax(data))
    run(learner, data)
    assert [task_id for _, task_id in asked] == [0, 0, 1, 0, 1, 2]


def test_counts_agree_with_accuracy_and_the_narrower_choice_is_never_worse(stream, softmax):
    data = stream()
    history = run(softmax(data), data)
    for after, row in enumerate(history.accuracy):
        for task in range(after + 1):
            counts = [c for c in history.confusion if c[:2] == [after, task]]
            right = sum(n for *_, true, predicted, n in counts if true == predicted)
            assert row[task] == right / sum(n for *_, n in counts)
            assert history.accuracy_within_task[after][task] >= row[task]
        assert row[after + 1 :] == [None] * (2 - after)
    assert history.samples == 120
    assert history.accuracy[2][2] > 0.9  # it does learn


def test_the_task_masked_argmax_sees_only_the_classes_of_the_task(stream, softmax):
    learner = softmax(stream())
    learner.predict = lambda inputs, task_id=None: torch.tensor([1.0, 0, 1, 0, 1, 2]).expand(len(inputs), 6)
    counted = evaluate(learner, TestSets(stream()), range(3))
    assert counted.accuracy == [0.0, 0.0, 0.5]
    assert counted.accuracy_within_task == [0.5, 0.5, 0.5]


def test_forward_transfer_is_measured_in_domain_incremental_streams_only(stream, softmax):
    shown = {"model": "m", "coding": "rate", "stream": "s", "seed": 0, "loss_mask": None}
    data = stream("domain-incremental")
    results = results_of(run(softmax(data), data), {**shown, "setting": data.setting})
    assert all(value is not None for value in (results["accuracy"][0][1], results["accuracy"][1][2]))
    assert results["accuracy"][0][2] is None
    assert results["judged_on"] == "test"
    assert results["untrained_accuracy"] == [0.5, 0.5, 0.5]
    ahead = (results["accuracy"][0][1] - 0.5 + results["accuracy"][1][2] - 0.5) / 2
    assert results["forward_transfer"] == pytest.approx(ahead)
    assert results["task_inference_accuracy"] is None  # tasks share their classes
    for setting, reason in {"class-incremental": "unseen classes are masked", "task-incremental": "no output"}.items():
        data = stream(setting)
        results = results_of(run(softmax(data), data), {**shown, "setting": setting})
        assert results["forward_transfer"] is None
        assert (results["recency_bias"] is None) == (setting == "task-incremental")
        assert reason in results["forward_transfer_undefined"]


def test_a_recurring_stream_with_one_test_set_is_evaluated_once_after_each_task(softmax):
    data = open_stream("recurring-digits", options={"tasks": 4})
    asked = spied(learner := softmax(data))
    history = run(learner, data)
    batches = -(-len(data.test(0)) // BATCH_SIZE)
    assert len(asked) == 4 * batches
    assert len(set(history.accuracy[3])) == 1
    results = results_of(
        history,
        {"model": "m", "coding": "rate", "stream": "s", "seed": 0, "loss_mask": None, "setting": data.setting},
    )
    assert results["task_inference_accuracy"] is None


@pytest.mark.parametrize("need", ["needs_task_id_train", "needs_task_id_test"])
def test_a_learner_that_needs_the_task_id_is_refused_where_the_setting_hides_it(stream, need):
    abilities = replace(Abilities(), **{need: True})
    check_abilities(abilities, stream("task-incremental"))
    with pytest.raises(BadInput, match="which a class-incremental stream hides: use --setting task-incremental"):
        check_abilities(abilities, stream())


def test_a_learner_that_needs_boundaries_is_refused_where_they_are_blurred():
    with pytest.raises(BadInput, match="needs to know where tasks end"):
        check_abilities(Abilities(needs_boundaries=True), open_stream("blurry-digits"))
    check_abilities(Abilities(), open_stream("blurry-digits"))


def test_divergence_is_one_clear_line(stream, softmax):
    data = stream()
    with pytest.raises(BadInput, match="the loss 'batch' became inf in task 1, so learning diverged"):
        run(softmax(data, learning_rate=1e30), data)


def test_scores_that_are_not_a_number_are_refused(stream, softmax):
    data = stream()
    learner = softmax(data)
    learner.begin_task(data.task(0))
    learner.weight[0, 0] = torch.nan
    with pytest.raises(BadInput, match="scores are NaN"):
        evaluate(learner, TestSets(data), [0])


def test_going_on_from_a_history_learns_only_the_tasks_that_are_left(stream, softmax):
    data, saved = stream(), {}
    whole = run(
        (learner := softmax(data)),
        data,
        save=lambda task, history: saved.update({task: (learner.state_dict(), History(**vars(history)))}),
    )
    state, _ = saved[1]
    history = History(**{**vars(whole), "accuracy": whole.accuracy[:2], "samples": 80})
    history.accuracy_within_task = whole.accuracy_within_task[:2]
    again = softmax(data)
    again.load_state_dict(state)
    assert run(again, data, history=history).accuracy == whole.accuracy
    assert history.samples == 120
