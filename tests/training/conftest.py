"""The toy model as a fixture: pytest's importlib mode lets no test module import a neighbour."""

import importlib.util
import pathlib

import pytest


@pytest.fixture(scope="session")
def toy():
    spec = importlib.util.spec_from_file_location("toy", pathlib.Path(__file__).with_name("toy.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
