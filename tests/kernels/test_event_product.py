"""Are products by the event what plain products are, at any density, shape and mood of autograd?"""

import pytest
import torch
from torch.nn import functional

from neurocl.kernels import event_linear, event_product
from neurocl.kernels.event_product import find_events
from neurocl.primitives.checks import BadInput


@pytest.fixture
def always_events(monkeypatch):
    """Take the event product whatever it costs."""
    monkeypatch.setattr(event_product, "_worthwhile", lambda *_: True)


def raster(*shape, density=0.05, seed=0):
    return (torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) < density).float()


def layer(pre, post, *, bias=True):
    weight = torch.randn(post, pre).requires_grad_()
    return weight, torch.randn(post).requires_grad_() if bias else None


def agree(spikes, weight, bias, **options):
    """Value and gradients of the event product against the plain one."""
    grad = torch.randn(*spikes.shape[:-1], weight.shape[0])
    leaves = [x for x in (spikes, weight, bias) if x is not None and x.requires_grad]
    found = []
    for product in (lambda *given: event_linear(*given, **options), functional.linear):
        out = product(spikes, weight, bias)
        found.append((out, torch.autograd.grad(out, leaves, grad) if leaves else ()))
    (out, grads), (wanted, wanted_grads) = found
    assert out.shape == wanted.shape
    for got, right in [(out, wanted), *zip(grads, wanted_grads, strict=True)]:
        assert got.shape == right.shape
        # another order of summation: some units in the last place of the largest sum
        assert (got - right).abs().max() <= 2e-6 * right.abs().max().clamp_min(1)
    return out


@pytest.mark.parametrize("density", [0.0, 0.002, 0.02, 0.05, 0.08, 0.099, 0.101, 0.3, 1.0])
def test_any_density_gives_the_plain_product(always_events, density):
    agree(raster(12, 16, 90, density=density), *layer(90, 50))


@pytest.mark.parametrize("shape", [(90,), (1, 90), (7, 90), (3, 1, 90), (2, 3, 4, 90)])
def test_any_leading_shape_will_do(always_events, shape):
    agree(raster(*shape, density=0.1), *layer(90, 5))


def test_blocks_of_rows_add_up(always_events, monkeypatch):
    monkeypatch.setattr(event_product, "BLOCK_BYTES", 7 * 50 * 4)
    agree(raster(12, 16, 90), *layer(90, 50))


def test_events_are_really_used(always_events, monkeypatch):
    used = []
    bags = event_product._bags
    monkeypatch.setattr(event_product, "_bags", lambda *given: used.append(1) or bags(*given))
    agree(raster(12, 16, 90), *layer(90, 50))
    assert len(used) == 2


@pytest.mark.parametrize(
    "needed", [(True, False, False), (False, True, False), (False, False, True), (True, True, True)]
)
def test_only_what_needs_a_gradient_gets_one(always_events, needed):
    weight, bias = layer(40, 30)
    tensors = [raster(4, 8, 40), weight, bias]
    for tensor, wanted in zip(tensors, needed, strict=True):
        tensor.requires_grad_(wanted)
    agree(*tensors)


def test_without_gradients_nothing_is_recorded(always_events):
    weight, _ = layer(40, 30, bias=False)
    with torch.no_grad():
        assert event_linear(raster(4, 8, 40), weight).grad_fn is None
    agree(raster(4, 8, 40), weight.detach(), None)


def test_graded_values_are_weighed(always_events):
    spikes = raster(6, 8, 60, density=0.1) * torch.randn(6, 8, 60)
    assert find_events(spikes.flatten(0, 1), outputs=30).values is not None
    agree(spikes, *layer(60, 30))


def test_values_of_one_are_not_weighed_and_the_promise_spares_the_look(always_events):
    spikes = raster(6, 8, 60)
    assert find_events(spikes.flatten(0, 1), outputs=30).values is None
    agree(spikes, *layer(60, 30), graded=False)


def test_nan_among_graded_values_reaches_its_row(always_events):
    spikes, (weight, _) = raster(10, 60), layer(60, 30)
    spikes[3, 7] = torch.nan
    assert event_linear(spikes, weight).isnan().any(1).tolist() == [row == 3 for row in range(10)]


def test_views_that_are_not_contiguous_will_do(always_events):
    weight, bias = layer(50, 60)
    agree(raster(60, 9, 4).permute(2, 1, 0), *layer(60, 30))
    agree(raster(4, 9, 60), weight.t(), bias[:50])


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_other_types_take_the_plain_product(always_events, dtype):
    spikes, weight = raster(6, 8, 60).to(dtype), torch.randn(30, 60, dtype=dtype)
    assert torch.equal(event_linear(spikes, weight), functional.linear(spikes, weight))


@pytest.mark.parametrize("shape", [(0, 60), (4, 0, 60), (5, 0)])
def test_empty_rasters_give_empty_products(shape):
    weight, bias = layer(shape[-1], 30)
    out = event_linear(torch.zeros(*shape), weight, bias)
    out.sum().backward()
    assert out.shape == (*shape[:-1], 30)
    assert weight.grad.shape == weight.shape


def test_a_raster_changed_after_the_product_does_not_change_its_gradient(always_events):
    spikes, (weight, _) = raster(6, 8, 60), layer(60, 30, bias=False)
    wanted = torch.autograd.grad(functional.linear(spikes, weight).sum(), weight)[0]
    out = event_linear(spikes, weight)
    spikes.zero_()
    torch.testing.assert_close(torch.autograd.grad(out.sum(), weight)[0], wanted)


@pytest.mark.parametrize("pre", [50, 70])
def test_a_raster_of_another_width_than_the_weight_is_refused(always_events, as_installed, pre):
    with pytest.raises(BadInput, match=f"spikes must have 60 columns, as the weight .* has; got {pre}"):
        event_linear(raster(4, 8, pre), *layer(60, 30))


def test_under_autocast_the_product_is_torchs_own(always_events):
    spikes, (weight, bias) = raster(4, 8, 60), layer(60, 30)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = event_linear(spikes, weight, bias)
        assert out.dtype == torch.bfloat16
        assert torch.equal(out, functional.linear(spikes, weight, bias))


def test_per_sample_gradients_run_under_vmap(always_events):
    spikes, (weight, _) = raster(5, 8, 60), layer(60, 30, bias=False)

    def loss(w, rows):
        return event_linear(rows, w).square().sum()

    together = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(weight.detach(), spikes)
    for one, rows in zip(together, spikes, strict=True):
        torch.testing.assert_close(one, torch.autograd.grad(functional.linear(rows, weight).square().sum(), weight)[0])


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_change_nothing(always_events, threads):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        agree(raster(32, 64, 200), *layer(200, 100))
    finally:
        torch.set_num_threads(before)


def test_sparse_rasters_take_events_and_busy_or_small_ones_do_not():
    def takes(*shape, density, outputs, products=2):
        return find_events(raster(*shape, density=density), outputs=outputs, products=products) is not None

    assert takes(4096, 400, density=0.05, outputs=400)
    assert takes(4096, 784, density=0.1, outputs=400, products=1)
    assert not takes(4096, 400, density=0.4, outputs=400)
    assert not takes(4096, 400, density=0.05, outputs=10)
    assert not takes(8, 40, density=0.05, outputs=40)


def test_the_search_finds_every_place_at_every_density():
    """Includes the densities where the search takes its detour."""
    for density in (0.0, 0.02, 0.04, 0.07, 0.0999, 0.15):
        spikes = raster(300, 70, density=density, seed=1)
        fired = torch.empty(300 * 70 + 300 * 70 // 9 + 1, dtype=torch.bool)
        fired[: 300 * 70] = spikes.bool().view(-1)
        places = event_product._places(fired.numpy(), 300 * 70, int(spikes.sum()))
        assert torch.equal(torch.from_numpy(places), spikes.view(-1).nonzero().squeeze(1))
