"""Every test draws the same numbers, on one thread, without a network."""

import os
import socket
from pathlib import Path

import beartype
import jaxtyping
import pytest
import torch
from hypothesis import settings

# a whole number is as good as a float (PEP 484's numeric tower), which beartype takes only when told so
beartype.beartype = beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))

settings.register_profile("neurocl", derandomize=True, deadline=None, max_examples=25, database=None)
settings.load_profile("neurocl")

HERE = {"localhost", "127.0.0.1", "::1", "0.0.0.0"}


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """The tensors of tests are small: threads only get in each other's way."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _same_draws():
    torch.manual_seed(0)


@pytest.fixture(scope="session", autouse=True)
def _no_network():
    connect = socket.socket.connect

    def refuse(self, address):
        if isinstance(address, tuple) and address[0] not in HERE:
            raise OSError(f"tests have no network, and one reached for {address[0]}")
        return connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        yield


@pytest.fixture
def float64():
    """Double precision by default, for one test."""
    torch.set_default_dtype(torch.float64)
    yield torch.float64
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def as_installed():
    """Without the type checks that only the tests have: what somebody who gives a wrong type really sees."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(params=["cpu", *(["cuda"] if torch.cuda.is_available() else [])])
def device(request):
    """The CPU, and CUDA where there is one."""
    return torch.device(request.param)


@pytest.fixture(scope="session")
def neurocl_data():
    """Folder of the real datasets."""
    folder = os.environ.get("NEUROCL_DATA")
    if not folder:
        pytest.skip("NEUROCL_DATA is not set: it names the folder of the real datasets")
    path = Path(folder)
    if not path.is_dir():
        pytest.skip(f"NEUROCL_DATA names no folder: {folder}")
    return path
