"""Are the types that neurocl's annotations promise checked while its tests run?"""

import beartype
import jaxtyping
import pytest
import torch
from beartype.roar import BeartypeCallHintParamViolation, BeartypeCallHintReturnViolation
from jaxtyping import Float, TypeCheckError
from torch import Tensor

from neurocl.kernels import event_linear
from neurocl.kernels.lif_passes import LIFRule, fire_into
from neurocl.primitives.tasks import TaskShape

check = jaxtyping.jaxtyped(typechecker=beartype.beartype)  # what the import hook writes before every function


@check
def told_to_be_whole(x: object) -> int:
    return x


@check
def told_to_be_square(x: Tensor) -> Float[Tensor, "side side"]:
    return x


def test_a_wrong_type_is_refused():
    rule = LIFRule(keep=0.9)
    with pytest.raises(BeartypeCallHintParamViolation, match="spikes"):
        fire_into([0.0], torch.ones(1), rule)
    with pytest.raises(BeartypeCallHintReturnViolation):
        told_to_be_whole("one")
    assert told_to_be_whole(1) == 1


def test_a_field_of_a_wrong_type_is_refused_and_a_whole_number_is_as_good_as_a_float():
    with pytest.raises(BeartypeCallHintParamViolation, match="charge"):
        LIFRule(keep=0.9, charge="scald")
    with pytest.raises(BeartypeCallHintParamViolation, match="input_shape"):
        TaskShape(input_shape=(1.5,), num_classes=8, num_tasks=3)
    assert LIFRule(keep=0.9, gain=1).gain == 1


def test_shapes_are_held_against_each_other():
    with pytest.raises(TypeCheckError, match="weight"):
        event_linear(torch.ones(2, 3), torch.ones(4, 5))
    with pytest.raises(TypeCheckError, match="return value"):
        told_to_be_square(torch.ones(2, 3))
    assert event_linear(torch.ones(2, 3), torch.ones(4, 3)).shape == (2, 4)


def test_as_installed_there_are_no_checks(as_installed):
    assert told_to_be_whole("one") == "one"
    assert told_to_be_square(torch.ones(2, 3)).shape == (2, 3)
    assert LIFRule(keep=0.9, charge="scald").charge == "scald"
