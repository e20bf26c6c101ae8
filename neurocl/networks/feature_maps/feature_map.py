"""The contract of a fixed feature map."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neurocl.networks.operations import Operations
from neurocl.primitives.checks import BadInput, check_finite
from neurocl.primitives.tasks import TaskShape


class FeatureMap(nn.Module):
    """Contract: ``features(inputs [B, ...]) -> [B, F]``, fixed once :meth:`fit` has seen the first task's inputs.

    Nothing is trained and no gradient passes. The state dict holds all that :meth:`fit` found.

    Args:
        shape: What the inputs are.
        width: Number of features, F.
    """

    fitted: Tensor

    def __init__(self, shape: TaskShape, *, width: int) -> None:
        super().__init__()
        self.shape = shape
        self.width = width
        self.register_buffer("fitted", torch.zeros((), dtype=torch.bool))

    def fit(self, inputs: Tensor) -> None:
        """Take what the map needs from the inputs of the first task; once, and before any feature is asked for.

        Raises:
            BadInput: If the inputs cannot be used, or the map was fitted before.
        """
        if bool(self.fitted):
            raise BadInput(
                "features are fixed by the first task's inputs and were fitted already: build a new map instead"
            )
        with torch.no_grad():
            self._fit(self._checked(inputs))
        self.fitted.fill_(True)

    def forward(self, inputs: Tensor) -> Float[Tensor, "batch feature"]:
        """Return the features, one row a sample.

        Raises:
            BadInput: If the map was not fitted, or the inputs cannot be used.
        """
        if not bool(self.fitted):
            raise BadInput("features need the inputs of the first task before they can be read: call fit first")
        with torch.no_grad():
            return self._features(self._checked(inputs))

    def operations(self, inputs: Tensor) -> Operations:
        """Count what the map and the rates it hands on cost, per sample; see :func:`count_operations`."""
        raise NotImplementedError

    def _fit(self, inputs: Tensor) -> None:
        raise NotImplementedError

    def _features(self, inputs: Tensor) -> Tensor:
        raise NotImplementedError

    def _checked(self, inputs: Tensor) -> Tensor:
        """Return ``inputs`` if this map can take them."""
        steps, expected = self.shape.time_steps, self.shape.input_shape
        leading = ["B"] if steps is None else [str(steps), "B"]
        axes = inputs.ndim == len(leading) + len(expected)
        if not axes or tuple(inputs.shape[len(leading) :]) != expected or (steps is not None and len(inputs) != steps):
            raise BadInput(
                f"inputs must have shape [{', '.join([*leading, *map(str, expected)])}]; got {list(inputs.shape)}"
            )
        if inputs.numel() == 0:
            raise BadInput(f"inputs must hold at least one sample; got shape {list(inputs.shape)}")
        if not inputs.is_floating_point():
            raise BadInput(f"inputs must be floating-point; got {inputs.dtype}: convert them, bytes divided by 255")
        return check_finite("inputs", inputs)
