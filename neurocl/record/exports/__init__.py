"""Trace files in the formats of the field: Neo objects, NWB, NIR and SONATA files.

Each export takes an open trace file, also one that is still being written or whose writer was killed, and the same
words that choose from it: ``populations``, ``variables``, and samples as :meth:`~neurocl.record.reading.Traces.select`
does. Times are those of the trace file's clock, but for NIR's, which begin anew with every sample. Snapshots of weights
stay behind: none of the formats has a place for them.
"""

from neurocl.record.exports.neo import to_neo
from neurocl.record.exports.nir import to_nir
from neurocl.record.exports.nwb import to_nwb
from neurocl.record.exports.sonata import to_sonata

__all__ = ["to_neo", "to_nir", "to_nwb", "to_sonata"]
