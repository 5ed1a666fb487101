"""The loop's toy as a fixture: pytest's importlib mode lets no test module import a neighbour."""

import importlib.util
import pathlib

import pytest


@pytest.fixture(scope="session")
def toy():
    spec = importlib.util.spec_from_file_location("loop_toy", pathlib.Path(__file__).with_name("loop_test.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
