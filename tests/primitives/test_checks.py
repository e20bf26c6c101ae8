"""Does every refusal say, on one line, which argument broke which rule with which value?"""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from neurocl.primitives.checks import (
    BadInput,
    UnknownName,
    check_count,
    check_counts,
    check_finite,
    check_name,
    check_number,
    named_as,
)


def test_a_message_is_one_line_whatever_it_quotes():
    error = BadInput("a file\n  with\ttwo lines ")
    assert str(error) == "a file with two lines"
    assert isinstance(error, ValueError)


def test_a_known_name_passes_and_a_close_one_is_suggested():
    known = ["ewc", "replay", "finetune"]
    assert check_name("model", "ewc", known) == "ewc"
    with pytest.raises(UnknownName, match=r"^no model named 'finetunes'; did you mean 'finetune'\?$"):
        check_name("model", "finetunes", known)
    with pytest.raises(UnknownName, match="known: ewc, finetune, replay"):
        check_name("model", "zzzzz", known)
    with pytest.raises(UnknownName, match="named 3"):
        check_name("model", 3, known)
    assert issubclass(UnknownName, LookupError)
    assert issubclass(UnknownName, BadInput)


@given(value=st.floats(-10, 10))
def test_a_number_passes_exactly_inside_its_range(value):
    inside = 0 < value <= 5
    if inside:
        assert check_number("tau_ms", value, above=0, at_most=5) == value
    else:
        with pytest.raises(BadInput, match=r"^tau_ms must be a finite number greater than 0 and at most 5; got "):
            check_number("tau_ms", value, above=0, at_most=5)


def test_bounds_are_open_or_closed_as_they_say():
    assert check_number("x", 1, at_least=1) == 1.0
    assert check_number("x", 1, at_most=1) == 1.0
    for bound in ("above", "below"):
        with pytest.raises(BadInput, match="must be"):
            check_number("x", 1, **{bound: 1})


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "3", None, True, [1.0], 1j])
def test_what_is_no_finite_number_is_refused(value):
    with pytest.raises(BadInput, match="must be a finite number"):
        check_number("x", value)
    with pytest.raises(BadInput, match="must be a whole number of at least 1"):
        check_count("n", value)


def test_numbers_and_counts_that_torch_cannot_hold_are_refused():
    assert check_number("x", -3.4e38) == -3.4e38
    for value in (1e39, -1e300):
        with pytest.raises(BadInput, match=r"^x must be a finite number within float32's range, ±3.4e\+38; got "):
            check_number("x", value)
    for check in (check_number, check_count):
        with pytest.raises(BadInput, match=r"^x must be a (finite|whole) number"):
            check("x", 10**400)
    assert check_count("n", 2**63 - 1) == 2**63 - 1
    with pytest.raises(BadInput, match=r"^n must be a whole number of at most 9223372036854775807; got 1"):
        check_count("n", 10**19)


def test_a_number_without_bounds_is_called_finite_once():
    with pytest.raises(BadInput, match=r"^x must be a finite number; got nan$"):
        check_number("x", math.nan)


def test_a_list_of_counts_has_some():
    assert check_counts("hidden", [3, 4.0]) == (3, 4)
    with pytest.raises(BadInput, match=r"^hidden\[1\] must be a whole number of at least 1; got 0"):
        check_counts("hidden", [3, 0])
    with pytest.raises(BadInput, match=r"^hidden must hold at least one number; got none"):
        check_counts("hidden", [])


def test_counts_are_whole():
    assert check_count("n", 3) == 3
    assert check_count("n", 4.0) == 4
    assert isinstance(check_count("n", 4.0), int)
    assert check_count("seed", 0, at_least=0) == 0
    for value in (0, -1, 2.5):
        with pytest.raises(BadInput, match=r"^n must be a whole number of at least 1; got "):
            check_count("n", value)


def test_a_tensor_with_holes_is_refused_with_their_number():
    assert check_finite("images", torch.ones(2)).sum() == 2
    assert check_finite("labels", torch.ones(2, dtype=torch.int64)).sum() == 2
    assert check_finite("images", torch.zeros(0)).numel() == 0
    with pytest.raises(BadInput, match=r"^images must be finite; 2 of 3 values are NaN or infinite"):
        check_finite("images", torch.tensor([1.0, math.nan, math.inf]))


def test_errors_name_what_the_user_set_and_leave_others_alone():
    named = named_as("replay_", size="memory_size")
    with pytest.raises(BadInput, match=r"^replay_rate must be a finite number greater than 0; got -1$"):
        named(check_number)("rate", -1, above=0)
    with pytest.raises(BadInput, match=r"^memory_size\[1\] must be a whole number"):
        named(check_counts)("size", (1, -2))
    with pytest.raises(UnknownName, match=r"^no rule named 'size'"):
        named(check_name)("rule", "size", ["a"])
    with pytest.raises(BadInput, match=r"^rate must be"), named_as(size="memory_size"):
        check_number("rate", -1, above=0)


def test_a_name_of_another_type_is_told_from_the_same_in_letters():
    with pytest.raises(UnknownName, match=r"^no layer named 0; did you mean '0'"):
        check_name("layer", 0, ["0"])
