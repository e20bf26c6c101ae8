"""neurocl: continual learning in spiking neural networks, beside the rate-coded methods it is compared with."""

from importlib.metadata import version

__version__ = version("neurocl")
