r"""Products of a spike raster with a matrix that cost by the spike, in float32, exact to rounding, on the CPU.

A raster :math:`S` of R rows (time and batch) and N columns is reduced to the places of its non-zeros, once:

- forward, :math:`S W^\top`: row r is the sum of the rows of :math:`W^\top` named by the events of row r;
- weight gradient, :math:`G^\top S`: column n is the sum of the rows of :math:`G` named by the events of column n.

Both are ``embedding_bag``, the second over the events sorted by column (a counting sort) within blocks of rows, so
that the block of :math:`G` stays in the cache. The gradient of the spikes is dense, as surrogate slopes are. Above a
density that depends on the number of outputs the plain product is faster and is taken; likewise on a GPU (looking
would make the host wait), within ``torch.func`` transforms, under ``torch.compile`` and under ``torch.autocast``.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from neurocl.kernels.transforms import inside_compiler, inside_transform
from neurocl.primitives.checks import BadInput

BLOCK_BYTES = 1_200_000  # of the error, per block of rows: what a level-2 cache of 2 MB holds beside the rest

# Nanoseconds, one thread of a 2.6 GHz AVX-512 core, fitted to rasters of 4,096 rows (tests/benchmarks). On a core with
# slower dense products the crossover lies higher, so these err towards the dense product.
_SCAN = 1.2  # looking for events, per place of the raster
_INDEX = 8.0  # arranging them by row and by column, per event
_BAG = 0.055  # adding one weight, per event and output
_DENSE = 0.0135  # one multiply-accumulate of the dense product
_CALLS = 120_000.0  # what an event product costs before it does anything


@dataclass(frozen=True, kw_only=True)
class Events:
    """Places of the non-zeros of a raster ``[rows, inputs]``, by row.

    Attributes:
        rows: Number of rows of the raster.
        inputs: Number of columns.
        columns: ``[events]`` int32, column of each event, row after row.
        starts: ``[rows + 1]`` int32, where each row's events begin; the last entry is their number.
        values: ``[events]`` float32 where some differ from 1, otherwise ``None``.
    """

    rows: int
    inputs: int
    columns: np.ndarray
    starts: np.ndarray
    values: np.ndarray | None

    def times(self, table: Float[Tensor, "inputs outputs"]) -> Float[Tensor, "rows outputs"]:
        """Return the raster times ``table``."""
        return _bags(table, self.columns, self.starts, self.values)

    def transposed_times(self, table: Float[Tensor, "rows outputs"]) -> Float[Tensor, "inputs outputs"]:
        """Return the transposed raster times ``table``, summed over blocks of rows."""
        from scipy.sparse import csr_matrix  # here, as only training needs it

        block = max(1, BLOCK_BYTES // max(1, table.shape[1] * table.element_size()))
        blocks = max(1, -(-self.rows // block))
        counts = np.diff(self.starts[np.minimum(np.arange(blocks + 1) * block, self.rows)])
        in_block = self.columns + np.repeat(np.arange(blocks, dtype=np.int32) * self.inputs, counts)
        ones = np.ones(len(in_block), np.int8) if self.values is None else self.values
        by_row = csr_matrix((ones, in_block, self.starts), shape=(self.rows, blocks * self.inputs), copy=False)
        by_column = by_row.tocsc()
        total: Tensor | None = None
        for first in range(0, blocks * self.inputs, self.inputs):
            starts = by_column.indptr[first : first + self.inputs + 1]
            inside = slice(int(starts[0]), int(starts[-1]))
            values = None if self.values is None else by_column.data[inside]
            part = _bags(table, by_column.indices[inside], starts - starts[0], values)
            total = part if total is None else total.add_(part)
        return torch.zeros(self.inputs, table.shape[1]) if total is None else total


def _bags(table: Tensor, index: np.ndarray, starts: np.ndarray, values: np.ndarray | None) -> Tensor:
    """Sum the rows of ``table`` that each bag names."""
    return functional.embedding_bag(
        torch.from_numpy(index),
        table,
        torch.from_numpy(starts),
        mode="sum",
        per_sample_weights=None if values is None else torch.from_numpy(values),
        include_last_offset=True,
    )


def find_events(
    raster: Float[Tensor, "rows inputs"],
    *,
    outputs: int,
    products: int = 1,
    graded: bool = True,
    closing: bool = False,
) -> Events | None:
    """Return the events of a raster, or ``None`` where ``products`` dense products to ``outputs`` columns cost less.

    Args:
        raster: Any values, mostly zeros.
        outputs: Columns of the product.
        products: Products that share the events: 2 where the weights are trained.
        graded: Whether some values may differ from 0 and 1; without, nobody looks.
        closing: Whether every row ends in one event more, in a column of its own: the bias comes in through it.
    """
    rows, inputs = raster.shape[0], raster.shape[1] + closing
    size = rows * inputs
    if raster.dtype != torch.float32 or size >= 2**31 or not _worthwhile(0, rows, inputs, outputs, products):
        return None
    fired = torch.empty(size + size // 9 + 1, dtype=torch.bool)
    grid = fired[:size].view(rows, inputs)
    grid[:, : raster.shape[1]].copy_(raster)
    if closing:
        grid[:, -1] = True
    events = int(np.count_nonzero(fired[:size].numpy()))
    if not _worthwhile(events, rows, inputs, outputs, products):
        return None
    places = _places(fired.numpy(), size, events).astype(np.int32)
    starts = np.searchsorted(places, np.arange(rows + 1, dtype=np.int32) * np.int32(inputs)).astype(np.int32)
    values = _values(functional.pad(raster, (0, int(closing)), value=1.0), places) if graded else None
    row_starts = places // inputs
    row_starts *= inputs
    columns = np.subtract(places, row_starts, out=places)
    return Events(rows=rows, inputs=inputs, columns=columns, starts=starts, values=values)


def _places(fired: np.ndarray, size: int, events: int) -> np.ndarray:
    """Return where the first ``size`` flags are set; the tail of ``fired`` is scratch space.

    NumPy searches flags of at most a tenth set by a slower loop, one call an event; a tail of set flags lifts the
    share above a tenth where the other loop, one look a flag, is faster.
    """
    if not 0.03 < events / size <= 0.1:
        return np.flatnonzero(fired[:size])
    end = size + min(size // 9, int((0.1 * size - events) / 0.9) + 1) + 1
    fired[size:end] = True
    return np.flatnonzero(fired[:end])[:events]


def _values(raster: Tensor, places: np.ndarray) -> np.ndarray | None:
    """Return the values at ``places``, or ``None`` where all are 1."""
    values = raster.reshape(-1).numpy()[places]
    return None if bool((values == 1).all()) else values


def _worthwhile(events: int, rows: int, inputs: int, outputs: int, products: int) -> bool:
    """Compare the two costs, in nanoseconds."""
    size = rows * inputs
    by_event = _CALLS + size * _SCAN + events * (_INDEX + products * _BAG * outputs)
    return by_event < products * size * outputs * _DENSE


class _EventLinear(torch.autograd.Function):
    """Event product forward and for the weights; dense for the spikes. The raster itself is not kept.

    The bias is one row more of the table, which every row of the raster names once.
    """

    @staticmethod
    def forward(ctx: Any, spikes: Tensor, weight: Tensor, bias: Tensor | None, events: Events) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.events = events
        post, pre = weight.shape
        table = weight.new_empty((pre + (bias is not None), post))
        table[:pre].copy_(weight.t())
        if bias is not None:
            table[pre] = bias
        return events.times(table).view(*spikes.shape[:-1], post)

    @staticmethod
    @once_differentiable
    # pyrefly: ignore [bad-override]  # torch's stub of the decorator hides the name of ctx
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor | None, ...]:
        (weight,) = ctx.saved_tensors
        grad, (post, pre) = grad_outputs[0], weight.shape
        rows = grad.reshape(-1, post).contiguous()
        wants = ctx.needs_input_grad
        of_spikes = (rows @ weight).view(*grad.shape[:-1], pre) if wants[0] else None
        if not wants[1]:
            return of_spikes, None, rows.sum(0) if wants[2] else None, None
        table = ctx.events.transposed_times(rows)
        return of_spikes, table[:pre].t(), table[pre].clone() if wants[2] else None, None


def event_linear(
    spikes: Float[Tensor, "*leading pre"],
    weight: Float[Tensor, "post pre"],
    bias: Float[Tensor, " post"] | None = None,
    *,
    graded: bool = True,
) -> Float[Tensor, "*leading post"]:
    """Return ``spikes @ weight.T + bias``, at a cost that grows with the number of spikes where that is less.

    The result and the gradients are those of ``torch.nn.functional.linear`` to rounding, except that a place without a
    spike gives 0 even where its weight is not finite.

    Args:
        spikes: Raster of any leading shape, mostly zeros.
        weight: Weights ``[post, pre]``.
        bias: Added to every row.
        graded: Whether some values may differ from 0 and 1, and have to be weighed. Without, it is taken on trust that
            there are none, which saves a look at every event.

    Raises:
        BadInput: If raster and weight have not the same number of columns.
    """
    if spikes.shape[-1] != weight.shape[1]:
        raise BadInput(
            f"spikes must have {weight.shape[1]} columns, as the weight [post, pre] has; got {spikes.shape[-1]}: "
            "build the weight for this raster, or transpose it"
        )
    tensors = (spikes, weight) if bias is None else (spikes, weight, bias)
    eligible = all(x.device.type == "cpu" and x.dtype == torch.float32 for x in tensors) and spikes.numel() > 0
    if not eligible or inside_compiler() or inside_transform() or torch.is_autocast_enabled("cpu"):
        return functional.linear(spikes, weight, bias)
    training = torch.is_grad_enabled() and weight.requires_grad
    events = find_events(
        spikes.detach().reshape(-1, spikes.shape[-1]),
        outputs=weight.shape[0],
        products=2 if training else 1,
        graded=graded,
        closing=bias is not None,
    )
    if events is None:
        return functional.linear(spikes, weight, bias)
    return _EventLinear.apply(spikes, weight, bias, events)
