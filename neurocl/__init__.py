"""neurocl: continual learning in spiking neural networks, beside the rate-coded methods it is compared with.

The rooms are modules (``neurocl.neurons``, ``neurocl.networks``, ``neurocl.streams``, ...), loaded when first used;
:func:`reset` starts every hidden state of a network anew, ours or another library's.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neurocl.neurons.hidden import reset as reset

__version__ = version("neurocl")

ROOMS = ("primitives", "kernels", "neurons", "plasticity", "memory", "networks", "learners", "streams", "run", "cli")


def __getattr__(name: str) -> Any:
    """Load a room, or :func:`reset`, when it is first asked for: importing neurocl alone stays cheap."""
    if name in ROOMS:
        return import_module(f"neurocl.{name}")
    if name == "reset":
        return import_module("neurocl.neurons.hidden").reset
    raise AttributeError(f"module 'neurocl' has no attribute {name!r}; rooms: {', '.join(ROOMS)}")


def __dir__() -> list[str]:
    """Names for completion."""
    return sorted([*globals(), *ROOMS, "reset"])
