"""Times by hand, and rates against Google's pages."""

import math

import pytest

from prm_jax.ahead.forecast import Forecast
from prm_jax.ahead.hlo import Traffic
from prm_jax.ahead.roofline import roofline
from prm_jax.ahead.slices import CHIPS, parse_slice

SLICE = parse_slice("v5e:2x4")


def of(traffic, flops=8 * 197e12):
    return roofline(Forecast("step", 1.0, 2.0, flops, traffic), SLICE)


def test_both_times_are_those_of_one_chip():
    line = of({"all-gather": Traffic(3, 100e9), "all-reduce": Traffic(1, 50e9)})
    assert line.flops == 197e12 and line.arithmetic == pytest.approx(1.0)
    # An all-reduce sends what it reduces twice; v5e sends 200 GB/s.
    assert line.sent == pytest.approx(200e9) and line.transfer == pytest.approx(1.0)
    assert line.intensity == pytest.approx(985)


def test_the_slower_of_the_two_bounds():
    assert of({"all-gather": Traffic(1, 199e9)}).bound == "arithmetic"
    assert of({"all-gather": Traffic(1, 201e9)}).bound == "communication"


def test_one_that_sends_nothing_is_bound_by_arithmetic():
    line = of({})
    assert line.transfer == 0 and line.bound == "arithmetic" and line.intensity == math.inf


def test_what_was_not_compiled_to_its_end_is_not_known():
    line = of(None)
    assert line.sent is None and line.transfer is None and line.bound == "?" and line.intensity is None


@pytest.mark.parametrize(
    ("chip", "tflops", "both_ways"), [("v4", 275, 600), ("v5e", 197, 400), ("v5p", 459, 1200), ("v6e", 918, 800)]
)
def test_rates_are_the_published_ones(chip, tflops, both_ways):
    """TFLOP/s in bfloat16 and GB/s of the interconnect in both directions, as published to a chip."""
    assert CHIPS[chip].peak == tflops * 1e12 and CHIPS[chip].interconnect == both_ways / 2 * 1e9
