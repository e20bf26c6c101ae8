"""Lateral circuits as a mechanism of the gradient learner."""

from dataclasses import asdict
from typing import Any

from neurocl.networks import Network
from neurocl.plasticity import LateralCircuits
from neurocl.primitives.tasks import Task


class Lateral:
    """Grows circuits when a task begins, and lets them protect what it was when it ends.

    From the second task on normalisation and trainable thresholds stay as they are: their changes would move the
    activity of old inputs, which no projection of weights could undo.

    Args:
        network: The network that learns.
        circuits: Attached to it.
    """

    def __init__(self, network: Network, circuits: LateralCircuits) -> None:
        self.network = network
        self.circuits = circuits

    def begin(self, task: Task) -> None:
        """Grow; to be called when a task begins."""
        if self.circuits.tasks_begun:
            self.network.freeze_normalisation()
        self.circuits.begin_task()

    def end(self, task: Task) -> None:
        """Protect; to be called when a task ends."""
        self.circuits.end_task()

    def diagnostics(self) -> list[dict[str, Any]]:
        """Return the state of every layer's circuits at the end of the last task."""
        return [asdict(report) for report in self.circuits.reports]

    def state_dict(self) -> dict[str, Any]:
        """Return the circuits' state."""
        return self.circuits.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned."""
        self.circuits.load_state_dict(state)

    def byte_counts(self) -> tuple[int, int]:
        """Return (bytes of lateral weights, 0)."""
        return self.circuits.byte_counts()
