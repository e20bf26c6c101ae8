"""Sparse networks that are rewired task by task, taught by contrast, read out by stored vectors: SHARP's learner."""

import math
from collections.abc import Mapping
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, optim

from neurocl.learners.active_network import ActiveNetwork
from neurocl.learners.contrastive import supervised_contrastive
from neurocl.learners.features import SeenClasses
from neurocl.learners.footprint import copied, measured, tensor_bytes
from neurocl.learners.gradient_learner import check_batch
from neurocl.learners.learner import Abilities, Cost, Diverged, Schedule
from neurocl.learners.optimisers import MakeOptimiser, with_names
from neurocl.learners.replay_windows import Window
from neurocl.learners.unit_readouts import UnitReadout
from neurocl.learners.updates import Updates
from neurocl.networks import Network
from neurocl.plasticity import StructuralPlasticity, annealed_share
from neurocl.primitives.checks import BadInput, check_count, check_name, check_number
from neurocl.primitives.seeding import generator
from neurocl.primitives.tasks import Batch, Task

SELECTION_SAMPLES = 1024  # first samples of a task by which units are selected, as published


class SparseReplayLearner:
    """Learns each task in phases: select units, rewire, train by supervised contrast beside what a window replays.

    At the end of a task every unit that is not idle is promoted, idle units start anew, the readout looks back on the
    task and on what the window still shows of older ones, and the window keeps samples of the task's classes.

    Args:
        network: Without a head (``head="none"``): its answer is what is contrasted and remembered.
        plasticity: Masks and ranks of the same network.
        readouts: Learn at the end of each task, see :mod:`neurocl.learners.unit_readouts`; the first one answers, and
            :meth:`answer_by` chooses another.
        window: What is replayed, see :mod:`neurocl.learners.replay_windows`; ``None``: nothing is.
        optimiser: Makes an optimiser from parameters; a new one for every phase.
        batch_size: Samples a step.
        replay_batch_size: Replayed samples a step.
        phases: Phases a task.
        phase_epochs: Passes over the task's samples in a phase.
        least_share: Smallest share of activity that selected units carry, see
            :func:`~neurocl.plasticity.annealed_share`.
        period: Phases until the share would be 0.
        temperature: Of the contrast.
        reinitialise: Whether idle units start anew at the end of a task.
        skip_idle: See :class:`~neurocl.learners.active_network.ActiveNetwork`.
        fixed_layers: Number of layers, from the input, that do not learn: pre-trained ones. ``plasticity`` has as many.
        seed: Decides what is replayed.
        name: What error messages call the learner.
        device: Where the network computes.

    Source:
        Gurbuz, Moorman & Dovrolis 2023, Sparsity and hidden activation replay (SHARP), arXiv:2305.18563. Differs: see
        :class:`~neurocl.plasticity.StructuralPlasticity`; the last, smaller batch of a pass is used; a class that
        comes back is remembered anew.
    """

    def __init__(
        self,
        network: Network,
        *,
        plasticity: StructuralPlasticity,
        readouts: Mapping[str, UnitReadout],
        window: Window | None,
        optimiser: MakeOptimiser,
        batch_size: int = 256,
        replay_batch_size: int = 256,
        phases: int = 10,
        phase_epochs: int = 3,
        least_share: float = 0.9,
        period: int = 30,
        temperature: float = 0.1,
        reinitialise: bool = True,
        skip_idle: str = "training",
        fixed_layers: int = 0,
        seed: int = 0,
        name: str = "sharp",
        device: str | torch.device = "cpu",
    ) -> None:
        self.network = network.to(device)
        self.plasticity, self.readouts, self.window = plasticity, dict(readouts), window
        self.working = ActiveNetwork(self.network, plasticity, skip_idle=skip_idle)
        self.answering = next(iter(self.readouts))
        self.phases, self.phase_epochs = check_count("phases", phases), check_count("phase_epochs", phase_epochs)
        self.schedule = Schedule(batch_size=batch_size, epochs=self.phases * self.phase_epochs)
        self.replay_batch_size = check_count("replay_batch_size", replay_batch_size)
        self.least_share, self.period = check_number("least_share", least_share, at_least=0, at_most=1), period
        if self.least_share == 0 and annealed_share(self.phases, period=period) == 0:
            raise BadInput(
                f"least_share must be above 0 where phases reach period, or no unit is left to learn; got 0 with "
                f"phases={phases}, period={period}: use fewer phases, or a longer period"
            )
        if window is not None:
            window.check(network)
        self.temperature = check_number("temperature", temperature, above=0)
        self.reinitialise, self.fixed_layers = reinitialise, check_count("fixed_layers", fixed_layers, at_least=0)
        if self.fixed_layers >= len(network.layers):
            raise BadInput(
                f"fixed_layers must be fewer than the network's {len(network.layers)} layers, or none learns; "
                f"got {fixed_layers}"
            )
        self.seed, self.name, self.device = seed, name, torch.device(device)
        self.abilities = Abilities(needs_boundaries=True, replays=window is not None)
        self.steps = 0
        self._updates = Updates(self.network)
        self._make_optimiser = self._updates.watching(optimiser)
        self._optimiser: optim.Optimizer | None = None
        self._classes = SeenClasses()
        self._task: Task | None = None
        self._task_step = 0
        self._report: dict[str, Any] = {}
        for layer in network.layers[: self.fixed_layers]:
            layer.requires_grad_(False)

    def begin_task(self, task: Task) -> None:
        """Begin; units are selected when the first batch comes."""
        self.network.begin_task(task)
        self._classes.add(task)
        self._task, self._task_step = task, 0
        self._updates.begin(task)
        self._report = {"silent_layers": [], "selected": []}

    def observe(self, batch: Batch) -> dict[str, float]:
        """Make one step of contrast between the samples of ``batch`` and replayed ones."""
        task = self._task
        if task is None:
            raise BadInput(
                f"{self.name}: observe comes after begin_task, and before end_task; a state that was loaded in the "
                "middle of a task ends that task: begin it anew"
            )
        check_batch(batch, self._classes.seen)
        steps_a_phase = self.phase_epochs * math.ceil(task.size / self.schedule.batch_size)
        if self._task_step % steps_a_phase == 0:
            self._begin_phase(task, self._task_step // steps_a_phase + 1)
        optimiser = cast(optim.Optimizer, self._optimiser)
        network = self.working.network.train()
        for layer in network.layers[: self.fixed_layers]:
            layer.eval()
        features, labels = self.working.active(network(batch.inputs)), batch.labels
        if self.window is not None and self.window.classes():
            draws = generator(self.seed, "replay", self.steps)
            replayed, of_replayed = self.window.replayed(self.working, self.replay_batch_size, draws)
            features = torch.cat([features, self.working.active(replayed)])
            labels = torch.cat([labels, of_replayed.to(labels)])
        loss = supervised_contrastive(features, labels, temperature=self.temperature)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise Diverged(
                f"{self.name} diverged: contrast = {value} at step {self.steps}; lower the learning rate with "
                "--set learning_rate=..., or raise the temperature"
            )
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        self.steps += 1
        self._task_step += 1
        return {"contrast": value}

    def end_task(self, task: Task) -> None:
        """Promote, start idle units anew, look back, and keep; see the class."""
        if self._task is None or not self._task_step:
            raise BadInput(f"{self.name}: a task must show a batch before it ends; task {task.index} showed none")
        self.network.zero_grad(set_to_none=True)
        self._optimiser = self._task = None
        self.working.rest()
        if self._updates.wanted:
            self._updates.end(task)
            self._report |= self._updates.named()
        self.plasticity.promote()
        if self.reinitialise:
            self.plasticity.reinitialise()
        for readout in self.readouts.values():
            readout.learn(self.working, task, self.window)
        if self.window is not None:
            self.window.keep(self.network, task)

    def answer_by(self, name: str) -> None:
        """Let the readout of that name answer from now on."""
        self.answering = check_name("readout", name, self.readouts)

    def predict(self, inputs: Tensor, task_id: int | None = None) -> Float[Tensor, "batch label"]:
        """Return the readout's scores; all classes seen are equal until a task was learnt."""
        self._classes.check_begun(self.name)
        readout = self.readouts[self.answering]
        if readout.known():
            scores = readout.scores(self.working, inputs)
        else:
            axis = 0 if self.network.shape.time_steps is None else 1
            scores = inputs.new_zeros(inputs.shape[axis], self._classes.seen[-1] + 1)
        return self._classes.place(scores, task_id, name=self.name)

    def cost(self, probe: Tensor | None = None) -> Cost:
        """Count bytes of present connections alone; with ``probe`` measure operations and firing rates too."""
        weights = {f"{name}.weight" for name, _ in self.plasticity.afferents()}
        others = {name: tensor for name, tensor in self.network.state_dict().items() if name not in weights}
        parts = [
            part.byte_counts()
            for part in (self.plasticity, self.readouts[self.answering], self.window)
            if part is not None
        ]
        return Cost(
            parameter_bytes=tensor_bytes(others) + 4 * self.plasticity.live_weights(),
            auxiliary_bytes=sum(auxiliary for auxiliary, _ in parts),
            memory_bytes=sum(memory for _, memory in parts),
            **measured(
                self.network,
                probe,
                readout_products=self.readouts[self.answering].products(),
                present=self.plasticity.connections(),
            ),
        )

    def diagnostics(self) -> dict[str, Any]:
        """Return units by rank and density of each layer, selected shares by phase, and layers that were silent."""
        return {"units": self.plasticity.diagnostics(), **self._report}

    def state_dict(self) -> dict[str, Any]:
        """Return everything that outlives a task; the phase of a task that is under way does not."""
        self.working.settle()
        return copied(
            {
                "network": self.network.state_dict(),
                "plasticity": self.plasticity.state_dict(),
                "readouts": {name: readout.state_dict() for name, readout in self.readouts.items()},
                "window": None if self.window is None else self.window.state_dict(),
                "classes": self._classes.state_dict(),
                "steps": self.steps,
                "updates": self._updates.state_dict(),
            }
        )

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned; the learner must be built from the same config.

        A task under way is over: its optimiser belonged to the weights before, so :meth:`begin_task` comes next.
        """
        self.network.zero_grad(set_to_none=True)
        self._optimiser = self._task = None
        self._task_step, self._report = 0, {}
        self.network.load_state_dict(state["network"])
        self.plasticity.load_state_dict(state["plasticity"])
        self.working = ActiveNetwork(self.network, self.plasticity, skip_idle=self.working.skip_idle)
        for name, readout in self.readouts.items():
            readout.load_state_dict(state["readouts"][name])
        if self.window is not None:
            self.window.load_state_dict(state["window"])
        self._classes.load_state_dict(state["classes"])
        self.steps = state["steps"]
        self._updates.load_state_dict(state["updates"])

    def _begin_phase(self, task: Task, phase: int) -> None:
        """Select units by their activity on the task's first samples, rewire, and renew network and optimiser."""
        self.working.settle()
        activity = unit_activity(self.network, next(task.batches(SELECTION_SAMPLES, -1)).inputs.to(self.device))
        share = annealed_share(phase, period=self.period, least=self.least_share)
        self._report["silent_layers"] = self.plasticity.select(activity, share)
        self._report["selected"] = [float((ranks > 0).float().mean()) for ranks in self.plasticity.ranks]
        self.plasticity.rewire()
        self.working.renew()
        parameters = [parameter for parameter in self.working.network.parameters() if parameter.requires_grad]
        self._optimiser = self.working.guard(with_names(self._make_optimiser(parameters), self.working.network))


def unit_activity(network: Network, inputs: Tensor) -> list[Float[Tensor, " unit"]]:
    """Return each unit's activity on ``inputs`` by layer, before pooling, over samples, time and places."""
    totals: list[Tensor] = []
    for layer in network.activity(inputs):
        if not layer.name.endswith(".lateral"):  # the same units once more
            post = layer.post.flatten(3).sum(3) if layer.post.ndim > 3 else layer.post
            totals.append(post.sum((0, 1), dtype=torch.float64))
    return totals
