"""CLASSP: thresholded, saturating plasticity as an optimiser for any torch module."""

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, optim

from neurocl.plasticity.drive_gate import DriveGate
from neurocl.plasticity.finite_gradients import check_gradients, named
from neurocl.plasticity.saturating_step import Saturation, step_in_chunks, step_over_lists
from neurocl.primitives.checks import BadInput, check_count, check_number

OWN_TYPES = (torch.float32, torch.float64)  # computed in as they are; halves in float32
TENSOR_STATES = ("history", "frozen")
checked_gate, checked_saturation = lru_cache(256)(DriveGate), lru_cache(256)(Saturation)  # once, not at every step


class CLASSP(optim.Optimizer):
    r"""Gradient descent with an induction threshold and a saturation for every weight.

    With the drive :math:`d = -\partial L / \partial w` of a step, where it passes the gate,

    .. math:: G \leftarrow G + |d|^p, \qquad w \leftarrow w + \alpha\, d\, (\epsilon + G)^{-1/p};

    elsewhere neither weight nor history changes. No task labels, boundaries or stored data; one number a weight. With
    threshold 0, power 2 and epsilon 0 it is AdaGrad. Parameter groups may differ in every option but the two ways of
    computing; scheduled rates, closures, gradient scaling and named parameters work as with torch's own optimisers.

    Args:
        params: Parameters, named parameters, or groups of them. Named ones are called by name in errors.
        lr: :math:`\alpha`, about the first change of a weight whatever its gradient: 0.001 to 0.03.
        power: p, see :class:`Saturation`.
        threshold: Of the gate, see :class:`DriveGate`: scale-free but for the ``"absolute"`` kind; for ``"quantile"``
            and ``"winners"`` the share of synapses that may move.
        epsilon: :math:`\epsilon`, in the p-th power of the gradient's unit; 0 makes the rule free of the loss's scale.
        gate: ``"relative"``, ``"absolute"`` (the printed rule), ``"quantile"`` or ``"winners"``; the last two select
            among all drives of a tensor at every step, which takes several times as long as the step itself.
        threshold_depression: The threshold of drives that lower a weight; ``None``: as for those that raise it.
        history: What saturates a weight: ``"gated"`` (the pseudo-code), ``"all"`` (the printed sum) or ``"decaying"``.
        keep: What a ``"decaying"`` history keeps a step.
        plain_steps: So many first steps of a parameter move by ``lr`` times the gated gradient, while the history
            fills: the published vision schedule, as long as its first task.
        maximize: Climb.
        foreach: Lists of tensors at once; the default on a GPU. Results equal those of the other ways to rounding.
        fused: In place in chunks that stay in the cache, without temporaries of the weights' size where gate and mask
            need one number; the default on a CPU, and there only. ``False`` for both: tensor by tensor.

    Attributes:
        state: By parameter ``history`` (of its shape; float32 for half precision), ``step``, and ``frozen`` if asked.

    Raises:
        BadInput: For hyperparameters out of range, no parameters, or parameters that are not real floating-point
            numbers; from ``step`` for sparse or non-finite gradients, the parameter named: no weight and no history has
            changed then. On a GPU that look takes one wait for the device a step.

    Source:
        Ludwig 2024, CLASSP, arXiv:2405.09637: the rule of its pseudo-code. Differs from the released code, whose
        threshold compares a truth value for the whole tensor and whose power leaves the history alone; ours is by
        weight. Differs from the paper: gates, two thresholds, histories; epsilon is never below the smallest
        normal number.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.01,
        power: float = 2.0,
        threshold: float = 0.1,
        epsilon: float = 1e-10,
        *,
        gate: str = "relative",
        threshold_depression: float | None = None,
        history: str = "gated",
        keep: float = 0.999,
        plain_steps: int = 0,
        maximize: bool = False,
        foreach: bool | None = None,
        fused: bool | None = None,
    ) -> None:
        params = params if isinstance(params, Tensor) else list(params)  # torch says what is wrong with a tensor
        if not isinstance(params, Tensor) and not params:
            raise BadInput("CLASSP needs at least one parameter; got an empty list: has the network any that learns?")
        if foreach and fused:
            raise BadInput("foreach and fused cannot both be True: choose one way of computing")
        self.foreach, self.fused = foreach, fused
        defaults = {
            "lr": lr,
            "power": power,
            "threshold": threshold,
            "epsilon": epsilon,
            "gate": gate,
            "threshold_depression": threshold_depression,
            "history": history,
            "keep": keep,
            "plain_steps": plain_steps,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with options of their own.

        Raises:
            BadInput: If an option is out of range, or a parameter cannot be learnt; the optimiser is as before then.
        """
        options = self.defaults | param_group
        check_number("lr", as_number(options["lr"]), at_least=0)
        check_count("plain_steps", options["plain_steps"], at_least=0)
        gate_of(options), saturation_of(options)
        super().add_param_group(param_group)
        for name, parameter in named(self.param_groups[-1], len(self.param_groups) - 1):
            if not parameter.is_floating_point() or (self.fused and not parameter.is_cpu):
                del self.param_groups[-1]
                if parameter.is_floating_point():
                    raise BadInput(
                        f"fused=True is the way of the CPU; {name} is on {parameter.device}: leave fused out"
                    )
                raise BadInput(f"{name} must hold real floating-point numbers to be learnt; got {parameter.dtype}")

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Make one step; with a closure, on the loss that it computes and returns.

        Raises:
            BadInput: If a gradient is sparse, or not finite.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        check_gradients(self.param_groups)
        for group in self.param_groups:
            due = [parameter for parameter in group["params"] if parameter.grad is not None]
            for parameter in due:
                self._prepare(parameter)
            alone = due
            if self.foreach or (self.foreach is None and not self.fused and any(not p.is_cpu for p in due)):
                alone = [parameter for parameter in due if parameter.dtype not in OWN_TYPES]
                self._step_lists(group, [parameter for parameter in due if parameter.dtype in OWN_TYPES])
            for parameter in alone:
                self._step_alone(group, parameter)
            for parameter in due:
                self.state[parameter]["step"] += 1
        return loss

    @torch.no_grad()
    def fraction_updated(self) -> float:
        """Return the share of weights that the gates let move at the present gradients; changes nothing.

        Raises:
            BadInput: If no parameter has a gradient: ask between the backward pass and ``zero_grad``.
        """
        moving, there = 0, 0
        for group in self.param_groups:
            gate = gate_of(group)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    moving += int(torch.count_nonzero(gate.passed(self._drive(group, parameter))))
                    there += parameter.numel()
        if not there:
            raise BadInput("no parameter has a gradient: ask for fraction_updated() after backward, before zero_grad")
        return moving / there

    def freeze(self, parameter: Tensor, mask: Tensor) -> None:
        """Let no weight move, and no history grow, where ``mask`` is True; the gate does not see these weights either.

        Raises:
            BadInput: If the parameter is not this optimiser's, or the mask is not boolean and of its shape.
        """
        if not any(parameter is own for group in self.param_groups for own in group["params"]):
            raise BadInput("freeze takes a parameter that this optimiser learns; got another tensor")
        if mask.dtype != torch.bool or mask.shape != parameter.shape:
            raise BadInput(
                f"mask must be boolean and of the parameter's shape, {list(parameter.shape)}; got {mask.dtype} of "
                f"{list(mask.shape)}"
            )
        self._prepare(parameter)
        self.state[parameter]["frozen"] = mask.detach().clone().to(parameter.device)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what ``state_dict`` returned, histories in the precision they had."""
        super().load_state_dict(state_dict)
        numbers = [number for group in state_dict["param_groups"] for number in group["params"]]
        parameters = [parameter for group in self.param_groups for parameter in group["params"]]
        for number, parameter in zip(numbers, parameters, strict=True):
            for key, value in state_dict["state"].get(number, {}).items():  # torch casts all to the parameter's type
                if key in TENSOR_STATES and value.dtype != parameter.dtype:
                    self.state[parameter][key] = value.detach().clone().to(parameter.device)

    def _prepare(self, parameter: Tensor) -> None:
        """Give a parameter its state."""
        state = self.state[parameter]
        if "history" not in state:
            kept = parameter.dtype if parameter.dtype in OWN_TYPES else torch.float32  # sums of halves would stall
            state["step"] = 0
            state["history"] = torch.zeros_like(parameter, dtype=kept, memory_format=torch.preserve_format)

    def _gradient(self, parameter: Tensor) -> Tensor:
        """Return the gradient, 0 where frozen."""
        gradient = parameter.grad if parameter.grad is not None else torch.zeros_like(parameter)
        frozen = self.state[parameter].get("frozen") if parameter in self.state else None
        return gradient if frozen is None else gradient.masked_fill(frozen, 0)

    def _drive(self, group: dict[str, Any], parameter: Tensor) -> Tensor:
        """Return the drive in the type that is computed in; positive where a weight shall grow."""
        gradient = self._gradient(parameter)
        gradient = gradient if gradient.dtype in OWN_TYPES else gradient.float()
        return gradient if group["maximize"] else -gradient

    def _passed(self, group: dict[str, Any], parameter: Tensor, gradient: Tensor) -> Tensor:
        """Return the gated gradient."""
        gate = gate_of(group)
        if gate.symmetric:  # no need to turn the sign, and to turn it back
            return gate.passed(gradient if gradient.dtype in OWN_TYPES else gradient.float())
        passed = gate.passed(self._drive(group, parameter))
        return passed if group["maximize"] else passed.neg_()

    def _step_alone(self, group: dict[str, Any], parameter: Tensor) -> None:
        gate, state, gradient = gate_of(group), self.state[parameter], self._gradient(parameter)
        own = gradient if gradient.dtype in OWN_TYPES else gradient.float()
        one_number = gate.symmetric and gate.kind != "winners"
        rate = as_number(group["lr"])
        step_in_chunks(
            parameter.detach(),
            state["history"],
            gradient,
            cut=float(gate.cuts(own)[0]) if one_number else None,
            passed=None if one_number else self._passed(group, parameter, gradient),
            step_size=-rate if group["maximize"] else rate,
            saturation=saturation_of(group),
            plain=state["step"] < group["plain_steps"],
            **({"chunk": parameter.numel() or 1} if self.fused is False else {}),
        )

    def _step_lists(self, group: dict[str, Any], parameters: list[Tensor]) -> None:
        rate = as_number(group["lr"])
        alike: dict[tuple[Any, ...], list[Tensor]] = {}
        for parameter in parameters:
            plain = self.state[parameter]["step"] < group["plain_steps"]
            alike.setdefault((parameter.device, parameter.dtype, plain), []).append(parameter)
        for (_, _, plain), some in alike.items():
            gradients = [self._gradient(parameter) for parameter in some]
            step_over_lists(
                [parameter.detach() for parameter in some],
                [self.state[parameter]["history"] for parameter in some],
                gradients,
                [self._passed(group, p, gradient) for p, gradient in zip(some, gradients, strict=True)],
                step_size=-rate if group["maximize"] else rate,
                saturation=saturation_of(group),
                plain=plain,
            )


def as_number(rate: Any) -> Any:
    """Return a learning rate that came as a tensor of one number as that number; anything else as it is."""
    return float(rate) if isinstance(rate, Tensor) and rate.numel() == 1 else rate


def gate_of(group: dict[str, Any]) -> DriveGate:
    """Return the gate of a parameter group."""
    return checked_gate(
        kind=group["gate"], threshold=group["threshold"], threshold_depression=group["threshold_depression"]
    )


def saturation_of(group: dict[str, Any]) -> Saturation:
    """Return the saturation of a parameter group."""
    return checked_saturation(
        power=group["power"], epsilon=group["epsilon"], history=group["history"], keep=group["keep"]
    )
