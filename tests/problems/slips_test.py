"""Slips: the same misconceptions in every program, as frequent as asked."""

import random
from collections import Counter

import pytest

from prm_jax.problems.operations import OPERATIONS
from prm_jax.problems.slips import slip

DRAWS = 200


def shares(share):
    """How often each operation is misread."""
    rng = random.Random(0)
    misread = Counter()
    for operation in OPERATIONS:
        operand = operation.operands[0] if operation.operands else 0
        for _ in range(DRAWS):
            misread[operation.name] += slip(operation, operand, share, rng)[0] is not operation
    return sorted(misread[operation.name] / DRAWS for operation in OPERATIONS)


@pytest.mark.parametrize("share", [0.1, 0.2, 0.4])
def test_the_mean_over_the_table_is_the_share(share):
    # An operation without a neighbour is never misread, so a little less.
    assert share - 0.05 < sum(shares(share)) / len(OPERATIONS) < share + 0.02


def test_most_operations_are_seldom_misread_and_a_few_nearly_always():
    each = shares(0.2)
    assert each[len(each) // 2] < 0.1
    assert each[-1] > 0.9


def test_the_ends_of_the_scale():
    assert sum(shares(0.0)) == 0
    operation = next(each for each in OPERATIONS if slip(each, 2, 1.0, random.Random(0))[0] is not each)
    assert all(slip(operation, 2, 1.0, random.Random(seed))[0] is not operation for seed in range(20))


def test_an_operand_fits_the_operation_that_is_written():
    rng = random.Random(1)
    for operation in OPERATIONS:
        for operand in operation.operands or (0,):
            written, used = slip(operation, operand, 1.0, rng)
            assert not written.operands or used in written.operands
