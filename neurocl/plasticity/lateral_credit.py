"""Which weight gradients were made of projected rows, so that they are not projected again, or not by anything else."""

from weakref import ref

import torch
from torch import Tensor


class Made:
    """Weight gradients made of projected rows, known again when they arrive at the weight.

    What is remembered is the tensor itself and its version: an address may belong to another tensor by then, and torch
    adds what comes from elsewhere in place.

    Args:
        summed: Whether their sum within a backward pass is kept too; it tells what did not come from projected rows.
    """

    def __init__(self, *, summed: bool) -> None:
        self.summed = summed
        self.forget()

    def forget(self) -> None:
        """Know no gradient any more."""
        self._last: tuple[ref[Tensor], int] | None = None
        self._sum: tuple[int, Tensor] | None = None  # number of the backward pass, and of its gradients

    def add(self, gradient: Tensor) -> None:
        """Remember one, within the backward pass that made it."""
        self._last = ref(gradient), gradient._version
        if self.summed:
            now = torch._C._current_graph_task_id()
            same = self._sum is not None and self._sum[0] == now
            self._sum = now, (self._sum[1] + gradient if same and self._sum is not None else gradient.clone())

    def is_all_of(self, gradient: Tensor) -> bool:
        """Whether ``gradient`` is the one that was made last, unchanged."""
        return self._last is not None and self._last[0]() is gradient and self._last[1] == gradient._version

    def share_of_others(self, gradient: Tensor) -> float:
        """Return the share of energy in ``gradient`` that did not come from projected rows in this backward pass."""
        if self.is_all_of(gradient):
            return 0.0
        energy = float(gradient.double().square().sum())
        if self._sum is None or self._sum[0] != torch._C._current_graph_task_id():
            return float(energy > 0)
        others = float((gradient - self._sum[1]).double().square().sum())
        return others / max(energy, torch.finfo(torch.float64).tiny)
