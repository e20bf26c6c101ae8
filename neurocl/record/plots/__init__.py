"""Figures of recorded activity from plain arrays: one function a figure, each returns it, :func:`save` writes it.

Sized for print: 85 mm for a column, 174 mm for a page, text of 8 points. What is left out is said in the figure.
"""

from neurocl.record.plots.courses import Span as Span
from neurocl.record.plots.courses import drift_curves as drift_curves
from neurocl.record.plots.courses import rate_over_recording as rate_over_recording
from neurocl.record.plots.courses import spans_of as spans_of
from neurocl.record.plots.courses import voltage_traces as voltage_traces
from neurocl.record.plots.courses import weight_drift_curves as weight_drift_curves
from neurocl.record.plots.matrices import accuracy_beside_drift as accuracy_beside_drift
from neurocl.record.plots.matrices import angle_heat_map as angle_heat_map
from neurocl.record.plots.matrices import captured_heat_map as captured_heat_map
from neurocl.record.plots.matrices import dissimilarity_heat_map as dissimilarity_heat_map
from neurocl.record.plots.matrices import overlap_heat_map as overlap_heat_map
from neurocl.record.plots.matrices import task_matrix as task_matrix
from neurocl.record.plots.page import COLUMN_MM as COLUMN_MM
from neurocl.record.plots.page import PAGE_MM as PAGE_MM
from neurocl.record.plots.page import save as save
from neurocl.record.plots.page import shortened as shortened
from neurocl.record.plots.spikes import rate_histogram as rate_histogram
from neurocl.record.plots.spikes import spike_raster as spike_raster

__all__ = [
    "COLUMN_MM",
    "PAGE_MM",
    "Span",
    "accuracy_beside_drift",
    "angle_heat_map",
    "captured_heat_map",
    "dissimilarity_heat_map",
    "drift_curves",
    "overlap_heat_map",
    "rate_histogram",
    "rate_over_recording",
    "save",
    "shortened",
    "spans_of",
    "spike_raster",
    "task_matrix",
    "voltage_traces",
    "weight_drift_curves",
]
