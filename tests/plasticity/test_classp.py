"""Does CLASSP behave as an optimiser must, and refuse what it cannot use without touching anything?"""

import copy
import math
import pickle
import subprocess
import sys

import pytest
import torch
from torch import nn

from neurocl.plasticity import CLASSP, DriveGate
from neurocl.primitives.checks import BadInput

X, Y = (torch.randn(32, n, generator=torch.Generator().manual_seed(n)) for n in (6, 2))


def net(dtype: torch.dtype = torch.float32) -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 2)).to(dtype)


def backward(network: nn.Module) -> torch.Tensor:
    network.zero_grad()
    loss = (network(X.to(next(network.parameters()).dtype)) - Y).square().mean()
    loss.backward()
    return loss.detach()


def trained(network: nn.Module, optimiser: torch.optim.Optimizer, steps: int) -> list[torch.Tensor]:
    for _ in range(steps):
        backward(network)
        optimiser.step()
    return [p.detach().clone() for p in network.parameters()]


def test_it_learns_and_moves_only_what_passed_the_gate():
    network = net()
    optimiser = CLASSP(network.parameters(), gate="quantile", threshold=0.3)
    before, first = [p.detach().clone() for p in network.parameters()], float(backward(network))
    share = optimiser.fraction_updated()
    optimiser.step()
    changed = sum(int((a != b).sum()) for a, b in zip(before, network.parameters(), strict=True))
    assert changed == round(share * sum(p.numel() for p in network.parameters()))
    assert 0.3 <= share < 0.4  # shares are rounded up, tensor by tensor
    trained(network, optimiser, 200)
    assert float(backward(network)) < 0.8 * first


def test_groups_have_options_of_their_own():
    a, b = (torch.zeros(2, requires_grad=True) for _ in range(2))
    optimiser = CLASSP(
        [{"params": [a]}, {"params": [b], "lr": 0.5, "power": 1.0, "threshold": 9.0, "epsilon": 1.0}],
        lr=0.1, threshold=0.0, gate="absolute",
    )  # fmt: skip
    a.grad = b.grad = torch.tensor([2.0, 4.0])
    optimiser.step()
    assert torch.allclose(a, torch.tensor([-0.1, -0.1]))
    assert torch.allclose(b, torch.tensor([0.0, -0.5 * 4 / 5]))


@pytest.mark.parametrize("options", [{}, {"foreach": True}, {"history": "decaying", "gate": "winners"}])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_state_survives_saving_and_loading_bit_for_bit(options, dtype, tmp_path):
    whole, resumed = net(dtype), net(dtype)
    optimiser = CLASSP(whole.named_parameters(), plain_steps=5, **options)
    optimiser.freeze(whole[0].weight, torch.rand(8, 6) > 0.5)
    trained(whole, optimiser, 4)
    torch.save({"net": whole.state_dict(), "optimiser": optimiser.state_dict()}, tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    resumed.load_state_dict(state["net"])
    other = CLASSP(resumed.named_parameters(), lr=0.3, **options)
    other.load_state_dict(state["optimiser"])
    for a, b in zip(trained(whole, optimiser, 4), trained(resumed, other, 4), strict=True):
        assert torch.equal(a, b)
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(optimiser.state[a]["history"], other.state[b]["history"])
        assert other.state[b]["history"].dtype == (torch.float64 if dtype == torch.float64 else torch.float32)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda some: pickle.loads(pickle.dumps(some))])
@pytest.mark.parametrize("way", [{"foreach": True}, {"fused": True}])
def test_copies_and_pickles_go_on_by_themselves(copied, way):
    network = net()
    optimiser = CLASSP(network.parameters(), **way)
    trained(network, optimiser, 2)
    both = copied((network, optimiser))
    for a, b in zip(trained(network, optimiser, 2), trained(*both, 2), strict=True):
        assert torch.equal(a, b)
    assert (both[1].foreach, both[1].fused) == (optimiser.foreach, optimiser.fused)


def test_a_loaded_state_is_a_copy():
    network, other = net(), net()
    optimiser, resumed = CLASSP(network.parameters()), CLASSP(other.parameters())
    trained(network, optimiser, 1)
    resumed.load_state_dict(optimiser.state_dict())
    before = optimiser.state[network[0].weight]["history"].clone()
    trained(other, resumed, 1)
    assert torch.equal(optimiser.state[network[0].weight]["history"], before)


@pytest.mark.parametrize("way", [{}, {"foreach": True}])
@pytest.mark.parametrize("options", [{"gate": "winners", "threshold": 0.3, "power": 1.0}, {"power": 1.5}])
@pytest.mark.parametrize("moved", ["state", "network"])
@pytest.mark.parametrize("dtypes", [(torch.float32, torch.float64), (torch.float64, torch.bfloat16)])
def test_a_state_goes_on_in_another_precision(dtypes, moved, options, way):
    before, after = dtypes
    network = net(before)
    optimiser = CLASSP(network.parameters(), **options, **way)
    trained(network, optimiser, 3)
    state = copy.deepcopy(optimiser.state_dict())
    expected = trained(network, optimiser, 3)
    if moved == "state":
        other = net(before)
        trained(other, CLASSP(other.parameters(), **options), 3)
        other.to(after)
        resumed = CLASSP(other.parameters(), **options, **way)
        resumed.load_state_dict(state)
    else:
        other = net(before)
        resumed = CLASSP(other.parameters(), **options, **way)
        trained(other, resumed, 3)
        other.to(after)
    for a, b in zip(expected, trained(other, resumed, 3), strict=True):
        torch.testing.assert_close(a.double(), b.double(), rtol=0.05, atol=0.02)
    kept = torch.float64 if after == torch.float64 else torch.float32
    assert all(state["history"].dtype == kept for state in resumed.state.values())


def test_parameters_in_another_order_find_their_histories_by_name_and_are_refused_without():
    network = net()
    optimiser = CLASSP(network.named_parameters())
    trained(network, optimiser, 2)
    turned = list(network.named_parameters())[::-1]
    other = CLASSP(turned)
    other.load_state_dict(optimiser.state_dict())
    for parameter in network.parameters():
        assert torch.equal(other.state[parameter]["history"], optimiser.state[parameter]["history"])
    assert other.param_groups[0]["param_names"] == [name for name, _ in turned]
    unnamed = CLASSP([parameter for _, parameter in turned])
    with pytest.raises(BadInput, match=r"history of parameter 0 of group 0, shape \[2\] must be of its shape, \[2\]"):
        unnamed.load_state_dict(optimiser.state_dict())
    assert not unnamed.state


def test_the_state_of_another_optimiser_is_refused():
    network = net()
    adam = torch.optim.Adam(network.parameters())
    trained(network, adam, 1)
    fresh = torch.optim.SGD(net().parameters(), lr=0.1)  # has no state of any parameter
    for other in (adam, fresh):
        optimiser = CLASSP(network.parameters())
        with pytest.raises(BadInput, match=r"group 0 of the state lacks epsilon, gate, .* it is no state of CLASSP"):
            optimiser.load_state_dict(other.state_dict())
        trained(network, optimiser, 1)
    mixed = CLASSP(network.parameters()).state_dict() | {"state": adam.state_dict()["state"]}
    with pytest.raises(BadInput, match=r"holds \['exp_avg', 'exp_avg_sq', 'step'\], and no history"):
        CLASSP(network.parameters()).load_state_dict(mixed)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("history", torch.full((8, 6), math.nan), "the history of 0.weight must be at least 0 everywhere"),
        ("history", torch.full((8, 6), -1.0), "the history of 0.weight must be at least 0 everywhere"),
        (
            "frozen",
            torch.zeros(6, 8, dtype=torch.bool),
            r"the mask of 0.weight must be boolean and of its shape, \[8, 6\]",
        ),
    ],
)
def test_a_damaged_state_is_refused_and_nothing_changes(key, value, words):
    network = net()
    optimiser = CLASSP(network.named_parameters())
    trained(network, optimiser, 1)
    state = copy.deepcopy(optimiser.state_dict())
    state["state"][0][key] = value
    other = CLASSP(network.named_parameters(), lr=0.5)
    with pytest.raises(BadInput, match=words):
        other.load_state_dict(state)
    assert not other.state
    assert other.param_groups[0]["lr"] == 0.5


@pytest.mark.parametrize("way", [{}, {"foreach": True}])
@pytest.mark.parametrize("power", [0.1, 0.5, 1.0, 3.0])
def test_weights_that_nothing_drove_stay_as_they_are_whatever_the_power(power, way):
    weight = torch.ones(4, requires_grad=True)
    optimiser = CLASSP([weight], power=power, threshold=0.0, epsilon=0.0, gate="absolute", **way)
    weight.grad = torch.tensor([0.0, 1.0, -1e-3, 0.0])
    optimiser.step()
    assert weight.tolist() == pytest.approx([1.0, 0.99, 1.01, 1.0], rel=1e-4)  # the floor is felt at power 0.1


def test_memory_is_one_number_a_weight():
    network = net()
    optimiser = CLASSP(network.parameters())
    trained(network, optimiser, 1)
    kept = [v for state in optimiser.state_dict()["state"].values() for v in state.values() if torch.is_tensor(v)]
    assert sum(v.numel() for v in kept) == sum(p.numel() for p in network.parameters())


def test_closures_schedules_and_climbing_work_as_with_torchs_own():
    network = net()
    optimiser = CLASSP(network.parameters(), lr=0.02)
    schedule = torch.optim.lr_scheduler.StepLR(optimiser, step_size=1, gamma=0.5)
    losses = [float(optimiser.step(lambda: backward(network))) for _ in range(3)]
    assert losses[-1] < losses[0]
    schedule.step()
    assert optimiser.param_groups[0]["lr"] == 0.01
    before = [p.detach().clone() for p in network.parameters()]
    backward(network)
    optimiser.param_groups[0]["lr"] = 0.0
    optimiser.step()
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))
    climbing = net()
    loss = float(backward(climbing))
    trained(climbing, CLASSP(climbing.parameters(), maximize=True), 5)
    assert float(backward(climbing)) > loss


@pytest.mark.parametrize("options", [{}, {"foreach": True}])
def test_gradient_scaling_unscales_and_leaves_out_steps_that_overflowed(options):
    plain, scaled = net(), net()
    reference, optimiser = CLASSP(plain.parameters(), **options), CLASSP(scaled.parameters(), **options)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    for place in range(4):
        backward(plain)
        reference.step()
        scaled.zero_grad()
        loss = (scaled(X) - Y).square().mean()
        scaler.scale(loss).backward()
        if place == 2:  # once more, with an overflow
            keep = [p.grad.clone() for p in scaled.parameters()]
            scaled[0].bias.grad[0] = math.inf
            before = copy.deepcopy(scaled.state_dict())
            scaler.step(optimiser)
            scaler.update()
            assert all(torch.equal(a, b) for a, b in zip(before.values(), scaled.state_dict().values(), strict=True))
            for parameter, gradient in zip(scaled.parameters(), keep, strict=True):
                parameter.grad = gradient / 2  # the scale was halved
        scaler.step(optimiser)
        scaler.update()
    for a, b in zip(plain.parameters(), scaled.parameters(), strict=True):
        torch.testing.assert_close(a, b)
    assert scaler.get_scale() == 2.0**9


def test_halves_are_summed_in_full_precision():
    weight = torch.zeros(3, dtype=torch.bfloat16, requires_grad=True)
    optimiser = CLASSP([weight], power=1.0, threshold=0.0, gate="absolute")
    for _ in range(600):  # a sum in bfloat16 stands still at 256 times its increment
        weight.grad = torch.ones_like(weight)
        optimiser.step()
    assert optimiser.state[weight]["history"].tolist() == [600.0] * 3


def test_other_layouts_of_memory_give_the_same():
    for options in ({}, {"foreach": True}, {"gate": "winners", "threshold": 0.4}):
        plain = torch.randn(4, 3, 2, 2, generator=torch.Generator().manual_seed(0))
        laid = plain.clone().to(memory_format=torch.channels_last)
        weights = [plain.requires_grad_(), laid.requires_grad_()]
        for weight in weights:
            optimiser = CLASSP([weight], **options)
            for seed in range(3):
                weight.grad = torch.randn(4, 3, 2, 2, generator=torch.Generator().manual_seed(seed))
                optimiser.step()
        torch.testing.assert_close(plain, laid)


@pytest.mark.parametrize("options", [{}, {"foreach": True}, {"foreach": False, "fused": False}, {"history": "all"}])
@pytest.mark.parametrize("gate", ["relative", "winners"])
def test_frozen_weights_neither_move_nor_gather_history_nor_weigh_in_the_gate(gate, options):
    network = net()
    optimiser = CLASSP(network.parameters(), gate=gate, threshold=0.3, **options)
    mask = torch.rand(8, 6, generator=torch.Generator().manual_seed(0)) > 0.5
    before = network[0].weight.detach().clone()
    optimiser.freeze(network[0].weight, mask)
    trained(network, optimiser, 5)
    history = optimiser.state[network[0].weight]["history"]
    assert torch.equal(network[0].weight[mask], before[mask])
    assert (history[mask] == 0).all()
    assert (history[~mask] > 0).sum() > 10
    network[0].weight.grad = torch.where(mask, 1e6, network[0].weight.grad)  # would hide all others
    others = optimiser.fraction_updated()
    network[0].weight.grad = torch.where(mask, 0.0, network[0].weight.grad)
    assert others == optimiser.fraction_updated() > 0


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("options", [{}, {"foreach": True}, {"gate": "quantile", "threshold": 0.5}])
def test_gradients_that_are_not_finite_are_named_and_nothing_changes(bad, options):
    network = net()
    optimiser = CLASSP(network.named_parameters(), **options)
    trained(network, optimiser, 2)
    state = copy.deepcopy([network.state_dict(), optimiser.state_dict()["state"]])
    backward(network)
    network[2].weight.grad[1, 3] = bad
    with pytest.raises(BadInput, match=r"the gradient of 2\.weight must be finite; 1 of 16 values"):
        optimiser.step()
    assert all(torch.equal(a, b) for a, b in zip(state[0].values(), network.state_dict().values(), strict=True))
    for place, kept in state[1].items():
        assert torch.equal(kept["history"], optimiser.state_dict()["state"][place]["history"])
        assert kept["step"] == optimiser.state_dict()["state"][place]["step"]
    unnamed = CLASSP(network.parameters())
    with pytest.raises(BadInput, match=r"parameter 2 of group 0, shape \[2, 8\]"):
        unnamed.step()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("lr", math.nan), ("lr", -0.1), ("power", 0.0), ("power", [1]), ("threshold", -1.0), ("plain_steps", None),
        ("plain_steps", -1), ("maximize", "a"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("as_installed")
def test_options_gone_bad_since_are_refused_before_any_group_moves(option, value):
    first, second = (torch.ones(2, requires_grad=True) for _ in range(2))
    optimiser = CLASSP([{"params": [first]}, {"params": [second]}])
    optimiser.param_groups[1][option] = value
    first.grad = second.grad = torch.ones(2)
    with pytest.raises(BadInput, match=f"{option} must be"):
        optimiser.step()
    assert first.tolist() == second.tolist() == [1.0, 1.0]
    assert not optimiser.state


def test_finite_gradients_whose_sum_overflows_are_no_mistake():
    weight = torch.zeros(4, requires_grad=True)
    weight.grad = torch.full((4,), 3e38)
    CLASSP([weight], power=1.0, lr=0.1).step()
    assert torch.allclose(weight, torch.full((4,), -0.1))


def test_a_gate_that_lets_nothing_pass_is_no_mistake_and_doubles_have_their_range():
    weight = torch.zeros(4, requires_grad=True)
    weight.grad = torch.full((4,), 1e5)
    CLASSP([weight], threshold=1e38).step()
    assert not weight.any()
    for scale in (1e-200, 1e200):
        double = torch.zeros(4, dtype=torch.float64, requires_grad=True)
        double.grad = scale * torch.tensor([1.0, 1.0, 0.1, 0.1], dtype=torch.float64)
        optimiser = CLASSP([double], threshold=0.5)
        assert optimiser.fraction_updated() == 0.5


def test_the_share_that_moves_is_not_told_of_gradients_that_no_step_takes():
    network = net()
    optimiser = CLASSP(network.named_parameters())
    backward(network)
    network[0].weight.grad[0, 0] = math.nan
    with pytest.raises(BadInput, match=r"the gradient of 0\.weight must be finite"):
        optimiser.fraction_updated()


COMPILED = """
import torch
from neurocl.plasticity import CLASSP
for gate in ("relative", "quantile", "winners"):
    found = []
    for compiled in (False, True):
        weight = torch.randn(4, 6, generator=torch.Generator().manual_seed(0)).requires_grad_()
        optimiser = CLASSP([weight], gate=gate, threshold=0.3)
        step = torch.compile(optimiser.step, backend="eager") if compiled else optimiser.step
        for seed in range(2):
            weight.grad = torch.randn(4, 6, generator=torch.Generator().manual_seed(seed))
            step()
        found.append(weight.detach())
    assert torch.equal(*found), gate
"""


def test_a_compiled_step_is_the_step():
    """In a process of its own, without the type checks of the tests, which are not compiled."""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", COMPILED], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-1500:]


@pytest.mark.parametrize("kind", ["quantile", "winners"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_selecting_gates_take_halves(kind, dtype):
    drive = torch.tensor([[0.5, -3.0, 1.0, 0.0], [2.0, 0.25, -1.5, 4.0]]).to(dtype)
    passed = DriveGate(kind=kind, threshold=0.25).passed(drive)
    assert passed.tolist() == [[0.0, -3.0, 0.0, 0.0], [0.0, 0.0, 0.0, 4.0]]


def test_masks_follow_their_parameter():
    network = net()
    optimiser = CLASSP(network.parameters())
    optimiser.freeze(network[0].weight, torch.zeros(8, 6, dtype=torch.bool))
    optimiser.state[network[0].weight]["frozen"] = Elsewhere()
    backward(network)
    with pytest.raises(Elsewhere.Asked, match="cpu"):
        optimiser.step()


class Elsewhere:
    """Stands for a mask on another device."""

    class Asked(Exception):
        pass

    def to(self, device):
        raise self.Asked(str(device))


def test_sparse_gradients_are_refused_by_name():
    table = nn.Embedding(5, 3, sparse=True)
    table(torch.tensor([1, 2])).sum().backward()
    before = table.weight.detach().clone()
    with pytest.raises(BadInput, match=r"gradient of weight is sparse.*sparse=False"):
        CLASSP(table.named_parameters()).step()
    assert torch.equal(table.weight, before)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"lr": -0.1}, "lr must be"),
        ({"lr": math.nan}, "lr must be"),
        ({"power": 0.0}, "power must be"),
        ({"power": math.inf}, "power must be"),
        ({"threshold": -1.0}, "threshold must be"),
        ({"threshold_depression": math.nan}, "threshold_depression must be"),
        ({"epsilon": -1e-9}, "epsilon must be"),
        ({"keep": 1.5}, "keep must be"),
        ({"plain_steps": -1}, "plain_steps must be"),
        ({"gate": "quantile", "threshold": 1.0}, "share of synapses, must be"),
        ({"gate": "winners", "threshold": 0.0}, "share of synapses, must be"),
        ({"gate": "relativ"}, "did you mean 'relative'"),
        ({"history": "none"}, "no history named 'none'"),
        ({"threshold": None}, "threshold must be"),
        ({"threshold": [0.1]}, "threshold must be"),
        ({"gate": ["relative"]}, "no gate named"),
        ({"maximize": "no"}, "maximize must be True or False"),
        ({"foreach": True, "fused": True}, "cannot both be True"),
    ],
)
@pytest.mark.usefixtures("as_installed")
def test_bad_options_are_refused_by_name_in_groups_too(options, words):
    with pytest.raises(BadInput, match=words):
        CLASSP(net().parameters(), **options)
    if "foreach" not in options:
        good = CLASSP(net().parameters())
        with pytest.raises(BadInput, match=words):
            good.add_param_group({"params": [torch.zeros(2, requires_grad=True)], **options})
        assert len(good.param_groups) == 1


@pytest.mark.usefixtures("as_installed")
def test_nothing_to_learn_is_refused():
    with pytest.raises(BadInput, match="at least one parameter"):
        CLASSP([])
    with pytest.raises(BadInput, match="at least one parameter"):
        CLASSP([{"params": []}])
    with pytest.raises(BadInput, match=r"real floating-point numbers.*complex64"):
        CLASSP([torch.zeros(2, dtype=torch.complex64, requires_grad=True)])
    weight = torch.zeros(2, requires_grad=True)
    with pytest.raises(BadInput, match="no parameter has a gradient"):
        CLASSP([weight]).fraction_updated()
    with pytest.raises(BadInput, match="mask must be boolean"):
        CLASSP([weight]).freeze(weight, torch.ones(2))
    with pytest.raises(BadInput, match="a parameter that this optimiser learns"):
        CLASSP([weight]).freeze(torch.zeros(2), torch.ones(2, dtype=torch.bool))
    with pytest.raises(BadInput, match="no gate named"):
        DriveGate(kind="soft")
