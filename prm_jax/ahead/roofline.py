"""What bounds a program on many chips: arithmetic at its peak, or the wires between them.

The command `scaling` calls it. Both times are the least that a program can take, read off its text: a forecast, not a
measurement.
"""

from __future__ import annotations

import dataclasses
import math

from prm_jax.ahead.forecast import Forecast
from prm_jax.ahead.slices import Slice

# What leaves a chip, in parts of the larger of what a collective takes and gives. An all-reduce is a reduce-scatter and
# an all-gather. Of the others nearly all leaves: of n chips, the n-th part stays.
_SENT = {"all-reduce": 2.0}


@dataclasses.dataclass(frozen=True)
class Roofline:
    """A program on each chip of a slice.

    Attributes:
      flops: of matrix products.
      sent: bytes to other chips; None where the compiler gave up for want of memory.
      arithmetic: seconds of the matrix products at the chip's bfloat16 peak.
      transfer: seconds of sending over all links of a chip at once; None as `sent`.
    """

    flops: float
    sent: float | None
    arithmetic: float
    transfer: float | None

    @property
    def intensity(self) -> float | None:
        """FLOPs to each byte that is sent; infinite where nothing is, None where that is not known."""
        if self.sent is None:
            return None
        return self.flops / self.sent if self.sent else math.inf

    @property
    def bound(self) -> str:
        """What takes longer."""
        if self.transfer is None:
            return "?"
        return "communication" if self.transfer > self.arithmetic else "arithmetic"


def roofline(forecast: Forecast, wanted: Slice) -> Roofline:
    """The two times of a forecast on its slice."""
    flops = forecast.flops / wanted.chips
    sent = None
    if forecast.traffic is not None:
        sent = sum((_SENT.get(kind, 1.0) * moved.bytes for kind, moved in forecast.traffic.items()), 0.0)
    transfer = None if sent is None else sent / wanted.chip.interconnect
    return Roofline(flops, sent, flops / wanted.chip.peak, transfer)
