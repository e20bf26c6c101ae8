"""The libraries to compare with, imported without their warnings; tests skip where one is not installed."""

import importlib
import warnings

import pytest


def foreign(name: str, *modules: str):
    """Import a library whose import warns."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return [importlib.import_module(module) for module in (name, *modules)]
        except ModuleNotFoundError as missing:
            pytest.skip(f"{name} is not usable here: {missing}")


@pytest.fixture(autouse=True)
def _without_type_checks(as_installed):
    """The contract tests check types; here they would only make long loops longer."""


@pytest.fixture(scope="session")
def snntorch():
    """Package snntorch."""
    return foreign("snntorch", "snntorch.surrogate")[0]


@pytest.fixture(scope="session")
def norse():
    """Module norse.torch."""
    return foreign("norse.torch", "norse.torch.functional.reset")[0]


@pytest.fixture(scope="session")
def spikingjelly():
    """Module spikingjelly.activation_based."""
    package = "spikingjelly.activation_based"
    modules = (f"{package}.{name}" for name in ("neuron", "surrogate", "functional", "monitor"))
    return foreign(package, *modules)[0]
