"""Does the kernel of a GPU, run here by Triton's interpreter, make the steps of the rule?"""

import importlib.util

import pytest
import torch
from torch import nn

from neurocl.plasticity import CLASSP, DriveGate, classp, saturating_step
from neurocl.plasticity.saturating_step import Saturation
from neurocl.primitives.checks import BadInput

triton = pytest.importorskip("triton", reason="Triton is not installed: it comes with the test extra on Linux")


@pytest.fixture(scope="module")
def kernel():
    """The kernel as a module of its own, interpreted, apart from the one that a GPU of this machine would compile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", "1")
        found = importlib.util.find_spec("neurocl.plasticity.saturating_kernel")
        module = importlib.util.module_from_spec(found)
        found.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def compiled():
    """The kernel as it is installed: Triton's compiler reads its source, which the type checks of the tests wrap."""
    place = importlib.util.find_spec("neurocl.plasticity.saturating_kernel").origin
    found = importlib.util.spec_from_file_location("saturating_kernel_as_installed", place)
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.fixture
def on_gpu(kernel, monkeypatch):
    """CLASSP that takes tensors of the CPU for those of a GPU."""

    def fits(*tensors):
        return all(each.is_contiguous() and each.dtype != torch.float64 for each in tensors)

    calls = []
    monkeypatch.setattr(classp, "fits_kernel", fits)
    monkeypatch.setattr(classp, "kernel", lambda: calls.append(1) or kernel.step_in_one_kernel)
    return calls


GATES = {
    "absolute": DriveGate(kind="absolute", threshold=0.3),
    "relative": DriveGate(kind="relative", threshold=0.8),
    "two thresholds": DriveGate(kind="relative", threshold=0.2, threshold_depression=1.0),
    "quantile": DriveGate(kind="quantile", threshold=0.3),
    "winners": DriveGate(kind="winners", threshold=0.2),
    "winners, two thresholds": DriveGate(kind="winners", threshold=0.1, threshold_depression=0.4),
}
SATURATIONS = [
    Saturation(power=2.0),
    Saturation(power=1.0, history="all"),
    Saturation(power=3.0, history="decaying", keep=0.9),
    Saturation(power=0.7, epsilon=0.0),
]


@pytest.mark.parametrize(("gate", "place"), [(gate, at + n) for at, gate in enumerate(GATES) for n in (0, 1)])
def test_the_kernel_agrees_with_the_rule(kernel, gate, place):
    saturation, climb = SATURATIONS[place % len(SATURATIONS)], place % 3 == 0  # every gate with two, alternating
    draws = torch.Generator().manual_seed(5)
    weight = torch.randn(37, 61, generator=draws)  # three blocks, the last one partly filled
    history = torch.rand(37, 61, generator=draws)
    for _ in range(2):
        gradient = torch.randn(37, 61, generator=draws)
        expected = saturating_step(
            weight, history, gradient if climb else -gradient, step_size=0.1, gate=GATES[gate], saturation=saturation
        )
        before = weight.clone()
        kernel.step_in_one_kernel(
            weight, history, gradient, gate=GATES[gate], step_size=0.1, climb=climb, saturation=saturation, plain=False
        )
        torch.testing.assert_close(weight, expected[0], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(history, expected[1], rtol=1e-5, atol=1e-6)
        assert torch.equal(weight == before, expected[0] == before)  # just the drives that pass move
        assert 0.05 < float((weight == before).float().mean()) < 0.95


@pytest.mark.parametrize(
    ("dtype", "gate", "plain_steps"),
    [(torch.float32, "relative", 0), (torch.bfloat16, "winners", 2), (torch.float16, "relative", 2)],
)
def test_the_optimiser_learns_alike_by_kernel_and_by_chunks(on_gpu, dtype, gate, plain_steps):
    draws = torch.Generator().manual_seed(0)
    x, y = torch.randn(16, 6, generator=draws).to(dtype), torch.randn(16, 2, generator=draws).to(dtype)
    found = []
    for way in ({"fused": True}, {}):
        torch.manual_seed(3)
        network = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 2)).to(dtype)
        optimiser = CLASSP(network.parameters(), gate=gate, threshold=0.3, plain_steps=plain_steps, **way)
        optimiser.freeze(network[0].weight, torch.arange(48).reshape(8, 6) % 3 == 0)
        for _ in range(4):
            optimiser.zero_grad()
            (network(x) - y).square().mean().backward()
            optimiser.step()
        found.append([*network.parameters(), *(state["history"] for state in optimiser.state.values())])
    assert len(on_gpu) == 4 * 4  # every tensor, at every step, by the kernel; none without fused
    loose = {"rtol": 0.02, "atol": 0.004} if dtype != torch.float32 else {}  # a half may round the other way once
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, **loose)


def test_tensors_that_the_kernel_cannot_take_go_another_way(on_gpu):
    weights = [
        torch.randn(4, 3, 2, 2).to(memory_format=torch.channels_last),
        torch.randn(5, 3, dtype=torch.float64),
        torch.randn(3, 5).t(),
        torch.zeros(0, 3),
    ]
    for weight in weights:
        other = weight.clone().requires_grad_()
        weight.requires_grad_()
        optimisers = CLASSP([weight], fused=True), CLASSP([other])
        weight.grad = torch.randn_like(weight)
        other.grad = weight.grad.clone()
        for optimiser in optimisers:
            optimiser.step()
        torch.testing.assert_close(weight, other)
    assert len(on_gpu) == 1  # the empty one


def test_other_devices_are_refused_by_name():
    with pytest.raises(BadInput, match=r"fused=True is for the CPU and CUDA devices; parameter 0 .* is on meta"):
        CLASSP([torch.zeros(2, device="meta", requires_grad=True)], fused=True)


@pytest.mark.filterwarnings("ignore:TRITON_DEFAULT_FP_FUSION")
@pytest.mark.parametrize(("dtype", "power", "by_row"), [("fp32", 2, False), ("bf16", 1, True), ("fp16", 0, True)])
def test_the_kernel_compiles_to_machine_code_of_a_gpu(compiled, dtype, power, by_row, tmp_path, monkeypatch):
    """Triton brings its own compiler and assembler, so that this takes no GPU; what runs on one is asked below."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    tensors = {"weight": f"*{dtype}", "history": "*fp32", "gradient": f"*{dtype}", "above": "*fp32", "below": "*fp32"}
    numbers = {"size": "i32", "row": "i32", "step": "fp32", "floor": "fp32", "power": "fp32", "keep": "fp32"}
    fixed = {"POWER": power, "ALL": by_row, "PLAIN": False, "BY_ROW": by_row, "BLOCK": compiled.BLOCK}
    signature = tensors | numbers | dict.fromkeys(fixed, "constexpr")
    made = triton.compile(ASTSource(compiled.saturate, signature, fixed), target=GPUTarget("cuda", 90, 32))
    assert len(made.asm["cubin"]) > 1000
    assert ("div.s64" in made.asm["ptx"]) == by_row  # no long division where one cut serves the tensor


@pytest.mark.filterwarnings("ignore:TRITON_DEFAULT_FP_FUSION")
def test_a_gpu_does_what_the_interpreter_does(compiled, monkeypatch):
    if not torch.cuda.is_available():
        pytest.skip("no GPU here")
    monkeypatch.setattr(classp, "kernel", lambda: compiled.step_in_one_kernel)
    weights = [torch.randn(300, 70, requires_grad=True) for _ in range(2)]
    weights[1] = weights[0].detach().cuda().requires_grad_()
    optimisers = CLASSP([weights[0]], gate="winners"), CLASSP([weights[1]], gate="winners", fused=True)
    for _ in range(5):
        weights[0].grad = torch.randn(300, 70)
        weights[1].grad = weights[0].grad.cuda()
        for optimiser in optimisers:
            optimiser.step()
    torch.testing.assert_close(weights[0], weights[1].cpu())
