"""Ranks of units: 0 idle, 1 training, higher for each task since; from which on a unit is frozen."""

from collections.abc import Sequence

from neurocl.primitives.checks import BadInput, check_count

FIXED = 100  # rank of units that were frozen before the first task
NEVER = 2**15 - 1  # rank of 16 bits that no unit reaches: units that freeze from there on never do


def checked_ranks(ranks: int | Sequence[int], names: Sequence[str], *, fixed: int) -> tuple[int, ...]:
    """Return the rank from which on units freeze, for each layer; the first ``fixed`` are frozen in any case."""
    given = (ranks,) * len(names) if isinstance(ranks, int) else tuple(ranks)
    if len(given) != len(names):
        raise BadInput(f"frozen_from must have one rank for each of {len(names)} layers; got {len(given)}")
    checked = [check_count("frozen_from", rank, at_least=2) for rank in given]
    if max(checked) > NEVER:
        raise BadInput(
            f"frozen_from must be at most {NEVER}, which units never reach; got {max(checked)}: use {NEVER} for layers "
            "that do not freeze"
        )
    checked[:fixed] = [min(rank, FIXED) for rank in checked[:fixed]]
    for place in range(max(1, fixed + 1), len(names)):
        if checked[place] < checked[place - 1]:
            raise BadInput(
                f"frozen_from must not fall from layer to layer; units of {names[place]!r} would freeze at rank "
                f"{checked[place]}, and those of {names[place - 1]!r}, which feed them, learn until rank "
                f"{checked[place - 1]}: give the earlier layer {checked[place]} at most"
            )
    return tuple(checked)
