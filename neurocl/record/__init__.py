"""Activity traces: recorded to HDF5 while a network runs, read lazily, in the formats of the field."""

from neurocl.record.population import Population, Spikes
from neurocl.record.reading import Marker, Traces, open
from neurocl.record.recorder import Recorder
from neurocl.record.selection import Selection

__all__ = ["Marker", "Population", "Recorder", "Selection", "Spikes", "Traces", "open"]
