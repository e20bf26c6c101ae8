"""What the samples that pass through a network are: of which phase and task, with which labels.

Whoever sends samples through a network says so around the call; whoever watches the network, as a recorder of activity
does, asks. Neither knows the other.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from torch import Tensor

Phase = Literal["training", "evaluation", "replay", "consolidation"]
PHASES: tuple[str, ...] = get_args(Phase)


@dataclass(frozen=True, kw_only=True)
class Annotation:
    """What is known of the samples on their way.

    Attributes:
        phase: ``"training"`` on the batch at hand, ``"replay"`` of what a memory kept, ``"evaluation"``,
            ``"consolidation"`` at a task's beginning or end; ``None`` where nobody said.
        task: The task each sample is from, one number for all or ``[B]``.
        stage: The task that is being learnt, or was learnt last.
        labels: ``[B]``.
        sample_ids: ``[B]``, constant over passes.
    """

    phase: str | None = None
    task: int | Tensor | None = None
    stage: int | None = None
    labels: Tensor | None = None
    sample_ids: Tensor | None = None


_PRESENT: ContextVar[Annotation] = ContextVar("annotation", default=Annotation())  # noqa: B039  # frozen


def annotation() -> Annotation:
    """Return what is known of the samples that pass now."""
    return _PRESENT.get()


@contextmanager
def annotated(**known: Any) -> Iterator[None]:
    """Say what the samples of the block are; what is not named stays as it was around the block.

    Args:
        known: Attributes of :class:`Annotation`.
    """
    token = _PRESENT.set(replace(_PRESENT.get(), **known))
    try:
        yield
    finally:
        _PRESENT.reset(token)
