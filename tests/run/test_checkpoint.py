"""Does a checkpoint give back exactly what was put in, and refuse what is damaged or foreign?"""

import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from neurocl.primitives.checks import BadInput
from neurocl.primitives.files import TEMPORARY
from neurocl.run import checkpoint

DTYPES = [
    torch.float32,
    torch.float64,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.uint8,
    torch.bool,
]
tensors = st.builds(
    lambda dtype, shape, seed: (10 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))).to(dtype),
    st.sampled_from(DTYPES),
    st.lists(st.integers(0, 3), max_size=4),
    st.integers(0, 99),
)
leaves = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), tensors)
keys = st.one_of(st.text(), st.integers(-3, 3))
states = st.dictionaries(
    st.text(min_size=1),
    st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.lists(inner, max_size=3).map(tuple),
            st.dictionaries(keys, inner, max_size=3),
        ),
        max_leaves=12,
    ),
    max_size=4,
)


def same(one, other) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, Tensor):
        return one.dtype == other.dtype and one.shape == other.shape and torch.equal(one, other)
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float) and math.isnan(one):
        return math.isnan(other)
    return one == other


@settings(max_examples=60)
@given(states)
def test_nested_states_come_back_exactly_by_way_of_strict_json(state):
    arrays: dict[str, Tensor] = {}
    text = json.dumps(checkpoint.flatten(state, arrays), allow_nan=False)
    assert same(checkpoint.restore(json.loads(text), arrays), state)


def save(folder, task=0, identity="this", **learner):
    checkpoint.save(folder, task, identity=identity, learner=learner, history={"samples": task})


def test_a_checkpoint_on_disk_comes_back_and_replaces_the_one_before(tmp_path):
    shared = torch.arange(6.0)
    for task in range(11):  # past 9, so that names are compared as numbers
        save(tmp_path, task, weight=shared, view=shared[2:], momentum={0: {"step": task}})
    task, learner, history = checkpoint.load(tmp_path, identity="this")
    assert same(learner, {"weight": shared, "view": shared[2:], "momentum": {0: {"step": 10}}})
    assert (task, history) == (10, {"samples": 10})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["task-10.json", "task-10.safetensors"]


def test_weights_keep_their_order_in_memory(tmp_path):
    weight = torch.randn(4, 3, 2, 2, generator=torch.Generator().manual_seed(0)).to(memory_format=torch.channels_last)
    save(tmp_path, weight=weight, transposed=weight[:, :, 0, 0].T)
    _, learner, _ = checkpoint.load(tmp_path, identity="this")
    assert torch.equal(learner["weight"], weight)
    assert learner["weight"].stride() == weight.stride()
    assert torch.equal(learner["transposed"], weight[:, :, 0, 0].T)


def test_no_checkpoint_is_no_error_and_what_a_killed_run_left_is_swept_away(tmp_path):
    (tmp_path / f"{TEMPORARY}123-task-0.safetensors").write_bytes(b"half")
    (tmp_path / "task-0.safetensors").write_bytes(b"whole, but its JSON never came")
    assert checkpoint.load(tmp_path, identity="this") is None
    assert [path.name for path in tmp_path.iterdir()] == ["task-0.safetensors"]


def test_the_checkpoint_before_holds_while_the_next_one_is_half_written(tmp_path):
    save(tmp_path, 0, weight=torch.ones(2))
    (tmp_path / "task-1.safetensors").write_bytes(b"written, but its JSON never came")
    task, learner, _ = checkpoint.load(tmp_path, identity="this")
    assert task == 0
    assert torch.equal(learner["weight"], torch.ones(2))


@pytest.mark.parametrize(
    "harm", ["cut tensors", "flip a bit", "no tensors", "cut json", "other json", "foreign", "future"]
)
def test_a_damaged_or_foreign_checkpoint_is_one_clear_line(tmp_path, harm):
    save(tmp_path, 3, weight=torch.ones(100))
    arrays, tree = tmp_path / "task-3.safetensors", tmp_path / "task-3.json"
    if harm == "cut tensors":
        arrays.write_bytes(arrays.read_bytes()[:-7])
    elif harm == "flip a bit":
        arrays.write_bytes(arrays.read_bytes()[:-1] + b"\x01")
    elif harm == "no tensors":
        arrays.unlink()
    elif harm == "cut json":
        tree.write_text(tree.read_text()[:-7])
    elif harm == "other json":
        tree.write_text("[1]")
    elif harm == "future":
        tree.write_text(tree.read_text().replace('"format": 1', '"format": 99'))
    expected = {"foreign": "belongs to another run", "future": "another format"}.get(harm, "is damaged")
    with pytest.raises(BadInput, match=expected) as caught:
        checkpoint.load(tmp_path, identity="other" if harm == "foreign" else "this")
    assert "\n" not in str(caught.value)
    assert "remove" in str(caught.value)


@pytest.mark.parametrize("thing", [object(), {1.5: 0}, {True: 0}, {1, 2}])
def test_what_cannot_come_back_exactly_is_not_saved(tmp_path, thing):
    with pytest.raises(TypeError, match="learner's state"):
        save(tmp_path, thing=thing)
