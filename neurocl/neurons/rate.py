"""The rate unit: what a rate-coded network has in the place of spiking neurons."""

from torch import Tensor

from neurocl.neurons.neuron import Neuron


class Rate(Neuron):
    r"""Rectified linear units :math:`r = \max(0, I)`, without memory: the state is ``None`` throughout.

    Source:
        Nair & Hinton 2010, Rectified linear units improve restricted Boltzmann machines, ICML.
    """

    spiking = False

    def initial_state(self, current: Tensor) -> None:
        """Return ``None``: there is no state."""

    def advance(self, current: Tensor, state: None) -> tuple[Tensor, None]:
        """Return the rate of one step."""
        return current.relu(), None

    def advance_all(self, current: Tensor, state: None, time_steps: int | None) -> tuple[Tensor, None]:
        """Return the rates of all steps; those of a constant current share their memory."""
        rate = current.relu()
        return (rate if time_steps is None else rate.expand(time_steps, *rate.shape)), None
