"""Cost: what a program does to get its results, against the reference on the same tests.

Comes in: verdicts of traced runs (`Program.trace`). Goes out: a `Cost`. Called by `ppo/verify.py` for rewards and by
whoever reports. Only programs that pass are worth a comparison. Lines are counted, because their number is the same in
every run; a comprehension counts as the line that it stands on, and work within builtins is not seen. Processor time
sees all, but varies between runs: it is for reports and never enters a reward.
"""

from __future__ import annotations

import dataclasses

from prm_jax.execution.verdict import CallTrace, Verdict

_CPU_GRAIN = 1e-3  # Seconds; below it, differences are noise.


@dataclasses.dataclass(frozen=True)
class Cost:
    """How dear a program is; 1 is as cheap as the reference or cheaper, 0.5 twice as dear. All in (0, 1].

    With c_t and r_t the lines that program and reference execute on test t, s and l the tests with the fewest and the
    most r_t, and e a millisecond:

    Attributes:
      lines: min(1, sum r_t / sum c_t). This is the measure `"cost"`.
      growth: min(1, (c_s / r_s) / (c_l / r_l)): below 1 where the program falls back as inputs grow.
      cpu: min(1, (CPU seconds of the reference + e) / (CPU seconds of the program + e)).
    """

    lines: float
    growth: float
    cpu: float


def cost(program: Verdict, reference: Verdict) -> Cost | None:
    """Compares two traced runs on the same tests.

    A test on which the reference's trace was cut, or on which one of the two has none, is left out. A cut trace of the
    program counts with the lines that it has: its cost is then an upper bound of the score.

    Returns:
      None where no test is left.
    """
    pairs = [
        (_lines(ours), _lines(theirs))
        for ours, theirs in zip(program.traces, reference.traces, strict=False)
        if ours is not None and theirs is not None and theirs.complete
    ]
    if not pairs:
        return None
    by_reference = sorted(pairs, key=lambda pair: pair[1])
    (small, small_reference), (large, large_reference) = by_reference[0], by_reference[-1]
    total, total_reference = map(sum, zip(*pairs, strict=True))
    return Cost(
        lines=min(1.0, total_reference / total),
        growth=min(1.0, small / small_reference * large_reference / large),
        cpu=min(1.0, (reference.cpu_seconds + _CPU_GRAIN) / (program.cpu_seconds + _CPU_GRAIN)),
    )


def _lines(trace: CallTrace) -> int:
    return max(1, len(trace.events))
