"""Joining sources."""

import pytest

from prm_jax.errors import UserError
from prm_jax.problems.sources import load_all
from prm_jax.problems.synthetic import SyntheticSource


def test_sources_are_joined_in_order():
    train, test = SyntheticSource("train", 2, 2, 3), SyntheticSource("test", 2, 2, 3)
    assert load_all([test, train]) == test.load() + train.load()


def test_the_same_id_twice_is_refused():
    with pytest.raises(UserError, match="ids must be unique"):
        load_all([SyntheticSource("train", 2, 2, 3), SyntheticSource("train", 1, 2, 2)])
