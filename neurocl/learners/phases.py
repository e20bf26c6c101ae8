"""Where a task that is learnt in phases stands."""

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from neurocl.learners.held_out import HeldOut
from neurocl.primitives.tasks import Task


@dataclass(kw_only=True)
class Progress:
    """Where a task stands.

    Attributes:
        task: The task.
        held_out: Its samples that judge.
        densities: Of the layers before it.
        step: Batches shown.
        phase: Number of the phase, from 1.
        share: Of activity, by which the present candidates were chosen; 1 before any were.
        epoch: Accuracy and weights of the phase's best epoch.
        best: Accuracy of the best phase.
        before: Weights, masks and ranks, share and accuracy at the end of the phase before.
        stopped: Why nothing more is learnt; empty while something is.
        by_phase: Accuracy, share and silent layers of each phase.
    """

    task: Task
    held_out: HeldOut
    densities: dict[str, float]
    step: int = 0
    phase: int = 1
    share: float = 1.0
    epoch: tuple[float, dict[str, Tensor]] | None = None
    best: float = 0.0
    before: tuple[dict[str, Tensor], dict[str, Any], float] | None = None
    stopped: str = ""
    by_phase: list[dict[str, Any]] = field(default_factory=list)

    def report(self) -> dict[str, Any]:
        """Return how many phases there were, why they ended, and what each came to; plain numbers and texts."""
        return {
            "phases": self.phase, "stopped": self.stopped, "share": self.share, "by_phase": self.by_phase,
            "held_out": len(self.held_out.ids),
        }  # fmt: skip

    def lost_density(self, now: dict[str, float]) -> str:
        """Return where hidden layers lost connections for want of room, and the way out; empty where none did.

        The head is left out: it has no plastic unit left once all classes were seen.
        """
        lost = [name for name in now if not name.startswith("head.") and now[name] < self.densities[name]]
        if not lost:
            return ""
        listed = ", ".join(f"{name} from {self.densities[name]:.3f} to {now[name]:.3f}" for name in lost)
        return (
            f"task {self.task.index} left no room for connections into plastic units, density fell in {listed}: "
            "use more units in these layers, or a larger accuracy_drop"
        )
