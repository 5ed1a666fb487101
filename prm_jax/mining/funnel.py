"""The funnel of mining: how much there was, how much of it each demand left over, and why the rest fell.

Comes in: `FileReport`s and the counts of later demands. Goes out: lines to print and plain data to keep. Called by
`stages/mine.py`.
"""

from __future__ import annotations

import collections
import dataclasses
from typing import Any

from prm_jax.mining.functions import FileReport

STAGES = {
    "files": "files",
    "lines": "lines",
    "functions": "functions",
    "documented": "with docstring",
    "with_examples": "with examples",
    "executable": "executable",
    "deterministic": "deterministic",
    "unique": "unique",
    "kept": "kept",
}


@dataclasses.dataclass
class Funnel:
    """Counts; `counts` by the keys of `STAGES`, `skipped` of files and `dropped` of functions by reason.

    `packages` is of what is kept; `corpus` has the functions in the corpus, their lines, and the others by reason.
    """

    counts: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    skipped: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    dropped: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    packages: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    corpus: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)

    def add(self, report: FileReport) -> None:
        """Counts one file."""
        if report.skipped:
            self.skipped[report.skipped] += 1
            return
        self.counts["files"] += 1
        for name in ("lines", "functions", "documented", "with_examples"):
            self.counts[name] += getattr(report, name)
        self.dropped.update(dict(report.dropped))
        self.corpus.update(dict(report.not_in_corpus))

    def lines(self) -> list[str]:
        """The funnel from wide to narrow, then what fell out of it and why, then the packages of what was kept."""
        width = len(max(STAGES.values(), key=len))
        told = [f"{title:{width}}  {self.counts[name]:>12,}" for name, title in STAGES.items()]
        for title, counter in (
            ("files skipped", self.skipped),
            ("functions dropped", self.dropped),
            ("kept of", self.packages),
            ("corpus", self.corpus),
        ):
            if +counter:
                reasons = ", ".join(f"{reason} {count:,}" for reason, count in (+counter).most_common())
                told.append(f"{title}: {reasons}")
        return told

    def plain(self) -> dict[str, Any]:
        """The same as plain data."""
        return {
            **{name: self.counts[name] for name in STAGES},
            "skipped": dict(+self.skipped),
            "dropped": dict(+self.dropped),
            "packages": dict(+self.packages),
            "corpus": dict(+self.corpus),
        }
