"""`Tally`: what labelling did beside the rows: what it ran, left out, made and compared.

`label.py` fills one for each shard, `beam.py` keeps it beside the shard's rows, `card.py` adds it to the card.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any

from prm_jax.problems.problem import Test

_COUNTERS = ("dropped", "runs", "inputs", "agreement")


@dataclasses.dataclass
class Tally:
    """What the rows do not tell.

    Attributes:
      skipped: the reason for each problem whose reference could not be used.
      dropped: number of programs without a row, by reason: `"flaky"`, `"unknown"`, `"broken refactoring"`, …
      runs: number of programs that were run: `"references"`, `"demonstrations"`, `"variants"`, `"samples"`.
      inputs: what became of generated calls, see `generated.generate_tests`.
      agreement: where the trace put the first wrong step, against another method; see `agreement.py`.
      tests: the generated tests that each problem gained.
    """

    skipped: dict[str, str] = dataclasses.field(default_factory=dict)
    dropped: Counter[str] = dataclasses.field(default_factory=Counter)
    runs: Counter[str] = dataclasses.field(default_factory=Counter)
    inputs: Counter[str] = dataclasses.field(default_factory=Counter)
    agreement: Counter[str] = dataclasses.field(default_factory=Counter)
    tests: dict[str, tuple[Test, ...]] = dataclasses.field(default_factory=dict)

    def add(self, other: Tally) -> None:
        """Adds what another part of the work did."""
        self.skipped |= other.skipped
        self.tests |= other.tests
        for name in _COUNTERS:
            getattr(self, name).update(getattr(other, name))

    def as_json(self) -> dict[str, Any]:
        """Plain data, of which `from_json` makes an equal tally."""
        tests = {name: [dataclasses.asdict(test) for test in own] for name, own in self.tests.items()}
        return {"skipped": self.skipped, "tests": tests} | {name: dict(getattr(self, name)) for name in _COUNTERS}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Tally:
        """The tally that `as_json` gave the data for."""
        counters = {name: Counter(data[name]) for name in _COUNTERS}
        tests = {name: tuple(Test(**test) for test in tests) for name, tests in data["tests"].items()}
        return cls(skipped=dict(data["skipped"]), tests=tests, **counters)
