"""Rasters compressed in time: what stays, what merges."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neurocl.memory import compressed_in_time
from neurocl.primitives.checks import BadInput


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.integers(1, 14), st.integers(0, 10**6))
def test_a_unit_fires_where_it_fired_in_any_of_the_steps_brought_together(steps, factor, seed):
    raster = (torch.rand(steps, 3, 4, generator=torch.Generator().manual_seed(seed)) < 0.3).float()
    fast = compressed_in_time(raster, factor)
    assert fast.shape == (-(-steps // factor), 3, 4)
    for step, spikes in enumerate(fast):
        assert torch.equal(spikes, raster[step * factor : (step + 1) * factor].amax(0))


def test_thinned_spikes_keep_the_rate_of_a_step():
    draws = torch.Generator().manual_seed(0)
    raster = (torch.rand(16, 200, 50, generator=draws) < 0.2).float()
    fast = compressed_in_time(raster, 4, merge="thinned", generator=draws)
    assert fast.shape[0] == 4
    assert float(fast.mean()) == pytest.approx(0.2, abs=0.01)
    assert float(compressed_in_time(raster, 4).mean()) == pytest.approx(1 - 0.8**4, abs=0.01)
    assert torch.equal(compressed_in_time(raster, 1, merge="thinned", generator=draws), raster)


def test_what_is_no_raster_is_refused_by_name():
    with pytest.raises(BadInput, match="0 and 1"):
        compressed_in_time(torch.full((2, 3), 0.5), 2)
    with pytest.raises(BadInput, match="factor"):
        compressed_in_time(torch.ones(2, 3), 0)
    with pytest.raises(BadInput, match="at least one step"):
        compressed_in_time(torch.ones(0, 3), 2)
    with pytest.raises(BadInput, match="merge"):
        compressed_in_time(torch.ones(2, 3), 2, merge="all")
