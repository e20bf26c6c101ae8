"""Is it told, once a task and by name, when earlier tasks have left a layer no idle unit?"""

import warnings
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import nn

from neurocl.plasticity import NEVER, CapacityExhausted, StructuralPlasticity


def chain() -> nn.Sequential:
    return nn.Sequential(nn.Linear(5, 4), nn.Softplus(), nn.Linear(4, 6), nn.Softplus(), nn.Linear(6, 3))


def told(act: Callable[[], object]) -> list[str]:
    """Return the layers that each warning of idle units names; connections that find no room are told apart."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        act()
    assert all(one.category is CapacityExhausted for one in caught)
    messages = [str(one.message) for one in caught if "idle units left" in str(one.message)]
    assert all("use more units in these layers, or let each task take fewer" in message for message in messages)
    return [message.partition(":")[0].removeprefix("no idle units left in ") for message in messages]


def select(plasticity: StructuralPlasticity, shares: Sequence[int | None]) -> None:
    """Let the first units of each layer, as many as told, be the active ones."""
    given = [
        None if n is None else (torch.arange(layer.units) < n).double()
        for n, layer in zip(shares, plasticity.layers, strict=True)
    ]
    plasticity.select(given, 1.0)


def test_a_layer_whose_units_are_all_taken_is_named_at_the_first_selection_of_each_later_task():
    plasticity = StructuralPlasticity(chain())
    assert told(lambda: select(plasticity, [4, 3, 1])) == [], "the first task has all units"
    assert told(lambda: select(plasticity, [4, 3, 1])) == [], "units in training are no earlier task's"
    plasticity.promote()
    assert told(lambda: select(plasticity, [4, 6, 1])) == ["0"]
    assert told(lambda: select(plasticity, [4, 6, 1])) == [], "once a task"
    assert told(plasticity.rewire) == []
    plasticity.promote()
    assert told(lambda: select(plasticity, [4, 6, 3])) == ["0, 2"]
    plasticity.promote()
    assert told(lambda: select(plasticity, [4, 6, 3])) == ["0, 2, 4"]


def test_units_recruited_by_hand_run_out_too_and_rewiring_says_so():
    plasticity = StructuralPlasticity(chain())
    plasticity.recruit(range(4), layer=0)
    plasticity.recruit(range(3), layer=-1)
    assert told(plasticity.rewire) == []
    plasticity.promote()
    assert told(plasticity.rewire) == ["0"], "a head that is chosen by hand has no idle unit by nature"


def test_layers_that_never_freeze_are_fixed_or_are_left_as_they_are_tell_nothing():
    plasticity = StructuralPlasticity(chain(), fixed_layers=1, frozen_from=(2, 2, NEVER))
    select(plasticity, [4, 3, 3])
    plasticity.promote()
    assert told(lambda: select(plasticity, [4, 3, 3])) == []
    headed = StructuralPlasticity(chain())
    headed.recruit(range(3), layer=-1)
    headed.promote()
    assert told(lambda: select(headed, [1, 1, None])) == []


def test_a_loop_of_ones_own_is_warned_by_the_activity_it_measures():
    network, x = chain(), torch.rand(8, 5)
    plasticity = StructuralPlasticity(network)
    plasticity.select(plasticity.activity(x), 1.0)
    plasticity.promote()
    with pytest.warns(CapacityExhausted, match="no idle units left in 0, 2"):
        plasticity.select(plasticity.activity(x), 1.0)
