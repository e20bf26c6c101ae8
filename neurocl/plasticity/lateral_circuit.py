r"""One layer's lateral circuit: neurons that learn what the layer's input was like, and subtract it from its trace.

Lateral weights H ``[row, pre]`` lead from the input to lateral neurons; the feedback is tied to :math:`-H^\top`, so
that the Hebbian change of H is the anti-Hebbian one of the feedback. Rows of earlier tasks are frozen and project; rows
of the task at hand learn and do not project yet.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neurocl.plasticity.lateral_neurons import LateralNeurons, LinearNeurons
from neurocl.plasticity.lateral_rules import MOMENT_MEMORY, HebbianRule, LateralRule
from neurocl.plasticity.subspaces import complement, orthonormal_rows
from neurocl.primitives.checks import BadInput, check_count, check_finite, check_name, check_number
from neurocl.primitives.seeding import generator

ORTHONORMALISE = ("never", "task", "update")
MEMORY = 0.9  # of the running energies: about the last 10 updates
PATIENCE = 20  # updates between two looks at what is left, so that rows recruited before show in the energies


class LateralCircuit(nn.Module):
    r"""Lateral neurons on one input of ``inputs`` values.

    Per task: :meth:`grow`, then per batch :meth:`project` and :meth:`hebbian_update`, at the end :meth:`consolidate`.

    Args:
        inputs: Number of presynaptic values.
        rule: How rows learn: ``HebbianRule()``, as published, or ``SimilarityMatching()``.
        neurons: How lateral neurons answer; ``LinearNeurons()``, ``SpikeRates()`` or ``SettlingSpikes()``.
        orthonormalise: When the rows of the task are made orthonormal to one another and to the old ones: at the end of
            each ``"task"``, after each ``"update"`` too, or ``"never"``, as published.
        share: Grow by itself until the rows capture this share of the activity's energy (uncentred variance), as long
            as there is room; ``None`` keeps to the rows of :meth:`grow`. At the task's end, rows that the share does
            not need are dropped.
        seed: Source of the first weights of rows.

    Attributes:
        old: ``[old row, pre]`` frozen rows, which project.
        new: ``[new row, pre]`` rows of the task at hand, which learn.

    Source:
        Xiao et al. 2024, Hebbian learning based orthogonal projection, ICLR; Oja 1989 (subspace rule). Differs: old
        rows keep no momentum; deflation, orthonormalisation and rows by share are ours.
    """

    old: Tensor
    new: Tensor
    velocity: Tensor
    energy: Tensor
    moments: Tensor

    def __init__(
        self,
        inputs: int,
        *,
        rule: LateralRule | None = None,
        neurons: LateralNeurons | None = None,
        orthonormalise: str = "task",
        share: float | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.inputs = check_count("inputs", inputs)
        self.rule: LateralRule = rule or HebbianRule()
        self.neurons = neurons or LinearNeurons()
        self.orthonormalise = check_name("orthonormalise", orthonormalise, ORTHONORMALISE)
        self.share = None if share is None else check_number("share", share, above=0, below=1)
        self.seed = check_count("seed", seed, at_least=0)
        self.grown = 0  # times rows were added: names the draws
        self.updates = 0  # Hebbian updates in the task at hand
        for name in ("old", "new", "velocity"):
            self.register_buffer(name, torch.empty(0, inputs))
        self.register_buffer("moments", torch.empty(0, 0))  # running second moment of the new rows' answers
        self.register_buffer("energy", torch.zeros(2))  # running energy of the activity, and what no row explains
        self.register_load_state_dict_pre_hook(self._resize_before_loading)

    @property
    def rows(self) -> int:
        """Number of lateral neurons."""
        return len(self.old) + len(self.new)

    @property
    def room(self) -> int:
        """Number of rows that can still be added: a space has no more directions than dimensions."""
        return max(0, self.inputs - self.rows)

    @property
    def captured(self) -> float:
        """Share of the last batches' energy that the rows explain, each batch before it was learnt; 0 before any."""
        total, left = self.energy.tolist()
        return 1.0 - left / total if total > 0 else 0.0

    @property
    def drift(self) -> float:
        r"""Largest entry of :math:`H H^\top - I`."""
        every = torch.cat([self.old, self.new])
        if not len(every):
            return 0.0
        return float((every @ every.T - torch.eye(len(every), dtype=every.dtype, device=every.device)).abs().max())

    def grow(self, rows: int) -> None:
        """Add ``rows`` rows that learn, random and orthonormal to one another; 0 adds none.

        Raises:
            BadInput: If there is not so much room.
        """
        check_count("rows", rows, at_least=0)
        if rows > self.room:
            raise BadInput(
                f"rows must not exceed the room that is left, {self.room} of {self.inputs} dimensions; got {rows}: "
                "ask for fewer, or let rows='explained-variance' choose"
            )
        draws = torch.randn(self.inputs, rows, generator=generator(self.seed, "rows", self.grown), dtype=torch.float64)
        self._append(draws.T.to(self.old))

    def project(self, rows: Float[Tensor, "*sample pre"]) -> Float[Tensor, "*sample pre"]:
        r"""Return :math:`x - H^\top q(H x)` with the old rows: what they do not explain."""
        if not len(self.old):
            return rows
        flat = rows.reshape(-1, self.inputs)
        answer = self.neurons.respond(flat @ self.old.T, self.old)
        return torch.addmm(flat, answer, self.old, alpha=-1).view_as(rows)

    def hebbian_update(self, rows: Float[Tensor, "sample pre"]) -> None:
        r"""Let the new rows learn from activity: from what old and new rows leave over.

        .. math::
            Y = q(X H^\top), \quad E = X - Y H, \quad V \leftarrow m V + (1 - m) D(Y, E), \\
            H_{new} \leftarrow H_{new} + \eta V

        The rule gives the change D. The old rows' part of E is the same in every iteration and computed once.

        Raises:
            BadInput: If the activity is not finite; nothing is changed then.
        """
        if not len(rows) or not (len(self.new) or self.share is not None):
            return
        if rows.device.type == "cpu":  # elsewhere the host would wait; there `consolidate` looks
            check_finite("activity", rows)
        rule, unexplained = self.rule, self.project(rows)
        source, rate = unexplained if rule.deflate else rows, rule.rate(self.updates)
        for iteration in range(rule.iterations):
            answer = self.neurons.respond(source @ self.new.T, self.new)
            left = torch.addmm(unexplained, answer, self.new, alpha=-1)
            if iteration == 0:
                self._measure(rows, answer, left)
            change = rule.change(answer, left, self.moments)
            if rule.momentum:
                change = self.velocity.mul_(rule.momentum).add_(change, alpha=1 - rule.momentum)
            self.new.add_(change, alpha=rate)
        if self.orthonormalise == "update":
            self.new.copy_(orthonormal_rows(complement(self.new, self.old)))
        if self.share is not None and self.updates % PATIENCE == 1 and self.room and self.captured < self.share:
            self._recruit(unexplained, share=self.share)

    def consolidate(self) -> None:
        """Freeze the new rows: from now on they project. Rows that add no direction are dropped, unless ``"never"``."""
        new = check_finite("lateral weights", self.new)
        if self.share is not None and len(new):
            new = self._needed(new, share=self.share)
        if self.orthonormalise != "never" and len(new):
            new = orthonormal_rows(complement(complement(new, self.old), self.old), drop=True)
        self.old = torch.cat([self.old, new])
        self._empty_new()
        self.updates = 0
        self.energy.zero_()

    def _measure(self, rows: Tensor, answer: Tensor, left: Tensor) -> None:
        """Keep running energies, and the second moment of the new rows' answers."""
        keep = MEMORY if self.updates else 0.0
        now = torch.stack([rows.square().sum(), left.square().sum()]) / len(rows)
        self.energy.mul_(keep).add_(now, alpha=1 - keep)
        if self.share is not None or self.rule.matches:
            now = (answer.T @ answer).div_(len(rows))
            kept = min(MOMENT_MEMORY, self.updates / (self.updates + 1))
            if self.rule.matches:
                kept = 1 - self.rule.rate(self.updates)
                fresh = self.moments.diagonal() == 0  # their variance is taken for the mean one until it is known
                first = (now.diagonal() * fresh).sum() / fresh.sum().clamp_min(1)
                self.moments.diagonal().add_(first * fresh)
            self.moments.mul_(kept).add_(now, alpha=1 - kept)
        self.updates += 1

    def _recruit(self, unexplained: Tensor, *, share: float) -> None:
        """Add rows along the strongest directions that this batch has left over, up to the share within the batch."""
        if len(self.new):
            unexplained = complement(unexplained, orthonormal_rows(self.new))
        wide = len(unexplained) <= self.inputs  # the smaller of two products that share their eigenvalues
        product = unexplained @ unexplained.T if wide else unexplained.T @ unexplained
        values, vectors = torch.linalg.eigh(product.double())
        explained, permitted = values.flip(0).cumsum(0), (1 - share) * self.energy[0] * len(unexplained)
        few = min(int((explained < values.sum() - permitted).sum()) + 1, self.room)
        directions = vectors.flip(1).T[:few].to(unexplained)
        self._append(directions @ unexplained if wide else directions)

    def _append(self, directions: Tensor) -> None:
        """Add rows along ``directions``, orthonormal to one another, and to all other rows where these deflate."""
        if self.rule.deflate:
            others = torch.cat([self.old, orthonormal_rows(self.new)]) if len(self.new) else self.old
            directions = complement(complement(directions, others), others)
        fresh = orthonormal_rows(directions, drop=self.share is not None)
        self.grown += 1
        self.new = torch.cat([self.new, fresh])
        self.velocity = torch.cat([self.velocity, torch.zeros_like(fresh)])
        size = len(self.new)
        moments = fresh.new_zeros(size, size)
        moments[: len(self.moments), : len(self.moments)] = self.moments
        self.moments = moments

    def _needed(self, new: Tensor, *, share: float) -> Tensor:
        """Return the new rows turned to their principal axes, without those that the share does not need."""
        values, vectors = torch.linalg.eigh(self.moments.double())
        rest = self.energy[1] + values.sum()  # what the old rows leave over
        wanted = share * self.energy[0] - (self.energy[0] - rest)
        strongest = values.flip(0).cumsum(0)
        count = int((strongest < wanted).sum()) + 1
        return vectors.flip(1).T[:count].to(new) @ new

    def _empty_new(self) -> None:
        self.new, self.velocity = self.old.new_empty(0, self.inputs), self.old.new_empty(0, self.inputs)
        self.moments = self.old.new_empty(0, 0)

    def get_extra_state(self) -> Tensor:
        """Return the counters, for the state dict."""
        return torch.tensor([self.grown, self.updates])

    def set_extra_state(self, state: Tensor) -> None:
        """Take over the counters."""
        self.grown, self.updates = (int(value) for value in state)

    def _resize_before_loading(self, _: nn.Module, state: dict[str, Any], prefix: str, *__: Any) -> None:
        """Take the sizes of a checkpoint before ``nn.Module`` copies its tensors in."""
        for name in ("old", "new", "velocity", "moments"):
            stored = state.get(f"{prefix}{name}")
            if stored is not None:
                if name != "moments" and stored.shape[1] != self.inputs:
                    raise BadInput(f"rows must have {self.inputs} values as the layer's input; got {stored.shape[1]}")
                setattr(self, name, torch.empty_like(stored, device=self.old.device, dtype=self.old.dtype))
