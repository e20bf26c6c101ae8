"""What analysis accepts: anything NumPy can read, torch tensors of any device included, checked by its axes.

Axes, always in this order: sample (a trial, one presentation), time (steps within it), neuron. A train is a list of
times in milliseconds. Spike times count from the start of their sample; the spike of step k is at k times ``dt_ms``.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int64
from numpy import ndarray
from numpy.typing import ArrayLike

from neurocl.primitives.checks import BadInput, check_number


class NoValue(BadInput):
    """A measure that has no value for this activity, such as a drift from silence."""


def read(name: str, values: ArrayLike, *, axes: Sequence[str], empty: Sequence[str] = ()) -> ndarray:
    """Return ``values`` as an array that has these axes, none of them of size 0 but those in ``empty``.

    Raises:
        BadInput: If it has other axes, is empty, or does not hold numbers.
    """
    array = to_numpy(name, values)
    wanted = f"[{', '.join(axes)}]"
    if array.ndim != len(axes):
        raise BadInput(
            f"{name} must have the axes {wanted}; got shape {list(array.shape)}: reshape it, or index what is too much"
        )
    for axis, size in zip(axes, array.shape, strict=True):
        if size == 0 and axis not in empty:
            raise BadInput(f"{name} {wanted} must hold at least one {axis}; got shape {list(array.shape)}")
    return array


def to_numpy(name: str, values: ArrayLike) -> ndarray:
    """Return an array of real numbers or truth values."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        values = values.float() if values.dtype == torch.bfloat16 else values  # which NumPy does not know
    try:
        array = np.asarray(values)
    except (ValueError, TypeError, RuntimeError) as error:
        raise BadInput(f"{name} must be an array with rows of equal length; NumPy cannot make one: {error}") from error
    if array.dtype.kind not in "biuf":
        raise BadInput(f"{name} must hold real numbers or truth values; got dtype {array.dtype}")
    return array


def read_raster(raster: ArrayLike) -> Bool[ndarray, "sample time neuron"]:
    """Return a raster as truth values.

    Raises:
        BadInput: If it is not [sample, time, neuron], or holds anything but 0 and 1.
    """
    array = read("raster", raster, axes=("sample", "time", "neuron"))
    if array.dtype == bool:
        return array
    spikes = array != 0
    if not np.array_equal(array, spikes):
        wrong = array[spikes & (array != 1)][0]
        raise BadInput(f"raster must hold 0 and 1 only; got {wrong!r}: graded activity has no spike times")
    return spikes


def read_numbers(
    name: str, values: ArrayLike, *, axes: Sequence[str], empty: Sequence[str] = ()
) -> Float64[ndarray, "..."]:
    """Return finite numbers with these axes, in double precision."""
    array = np.asarray(read(name, values, axes=axes, empty=empty), dtype=np.float64)
    wrong = array.size - int(np.isfinite(array).sum())
    if wrong:
        raise BadInput(f"{name} must be finite; {wrong} of {array.size} values are NaN or infinite: leave them out")
    return array


def read_activity(name: str, activity: ArrayLike) -> Float64[ndarray, "sample neuron"]:
    """Return activity [sample, neuron]: rates, counts, currents or anything else with a number for each."""
    return read_numbers(name, activity, axes=("sample", "neuron"))


def read_counts(counts: ArrayLike, *, at_least: int) -> Float64[ndarray, "observation neuron"]:
    """Return counts [..., neuron] with all leading axes as one."""
    array = to_numpy("counts", counts)
    if array.ndim < 2 or array.size == 0:
        raise BadInput(f"counts must have the axes [..., neuron], none empty; got shape {list(array.shape)}")
    rows = read_numbers("counts", array.reshape(-1, array.shape[-1]), axes=("observation", "neuron"))
    if len(rows) < at_least:
        raise BadInput(f"counts need at least {at_least} observations of each neuron; got {len(rows)}")
    return rows


def read_train(name: str, times_ms: ArrayLike) -> Float64[ndarray, " spike"]:
    """Return spike times in the order of time, which may be none at all."""
    times = read_numbers(name, times_ms, axes=("spike",), empty=("spike",))
    if (np.diff(times) < 0).any():
        raise BadInput(f"{name} must be in the order of time; sort them first, one neuron and one sample at a time")
    return times


def read_labels(labels: ArrayLike, *, samples: int) -> Int64[ndarray, " sample"]:
    """Return a whole number for each sample."""
    array = read("labels", labels, axes=("sample",))
    if len(array) != samples:
        raise BadInput(f"labels must name each of {samples} samples; got {len(array)}")
    whole = array.astype(np.int64)
    if not np.array_equal(whole, array):
        raise BadInput(f"labels must be whole numbers; got dtype {array.dtype}")
    return whole


def read_same(before: ArrayLike, after: ArrayLike) -> tuple[ndarray, ndarray]:
    """Return two activities of the same samples and neurons."""
    first, second = read_activity("before", before), read_activity("after", after)
    if first.shape != second.shape:
        raise BadInput(
            "before and after must hold the same samples and neurons; "
            f"got shapes {list(first.shape)} and {list(second.shape)}"
        )
    return first, second


def steps_in(name: str, span_ms: float, dt_ms: float, *, at_least: int = 1) -> int:
    """Return how many steps of ``dt_ms`` a span of time is.

    Raises:
        BadInput: If that is no whole number, or less than ``at_least``.
    """
    dt_ms = check_number("dt_ms", dt_ms, above=0)
    ratio = check_number(name, span_ms, at_least=0) / dt_ms
    steps = round(ratio)
    if abs(ratio - steps) > 1e-6 * max(1.0, ratio) or steps < at_least:
        raise BadInput(
            f"{name} must be a whole number of steps of dt_ms ({dt_ms:g} ms), at least {at_least}; got {span_ms:g}"
        )
    return steps
