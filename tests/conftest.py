"""Every test draws the same numbers, on one thread, without a network."""

import dataclasses
import functools
import inspect
import os
import socket
import typing
from pathlib import Path

import beartype
import jaxtyping
import pytest
import torch
from hypothesis import settings

# a whole number is as good as a float (PEP 484's numeric tower), which beartype takes only when told so
beartype.beartype = beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))

with_shapes = jaxtyping.jaxtyped


def names_shapes(hint):
    if isinstance(hint, type) and issubclass(hint, jaxtyping.AbstractArray):
        return True
    return any(names_shapes(part) for part in typing.get_args(hint))


def checked(made=None, *, typechecker):
    """Check the types of what neurocl defines, at the price of what its annotations ask.

    The import hook writes ``jaxtyping.jaxtyped`` before every definition, and the suite spent more time there than in
    neurocl: each call binds its arguments to the signature, for shapes that most functions do not name, and a function
    within a function has its two checkers compiled whenever the outer one runs. So where no shape is named beartype
    asks the same alone, and functions within functions are not asked.
    """
    if made is None:
        return functools.partial(checked, typechecker=typechecker)
    if "<locals>" in made.__qualname__:
        return made
    if inspect.isclass(made):
        if dataclasses.is_dataclass(made) and not hasattr(made.__init__, "__wrapped__"):
            made.__init__ = checked(made.__init__, typechecker=typechecker)
        return made
    try:
        hints = typing.get_type_hints(made, include_extras=True)
    except NameError:  # a class that is not there yet
        return with_shapes(made, typechecker=typechecker)
    if any(names_shapes(hint) for hint in hints.values()) or inspect.isgeneratorfunction(made):
        return with_shapes(made, typechecker=typechecker)
    strict = typechecker(made)
    if strict is made:
        return made

    @functools.wraps(made)
    def either(*args, **kwargs):
        return (made if jaxtyping.config.jaxtyping_disable else strict)(*args, **kwargs)

    return either


jaxtyping.jaxtyped = checked

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
