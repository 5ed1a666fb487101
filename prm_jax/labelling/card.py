"""The card of a labelled data set: how many rows and labels, by operator, method and outcome, and what was left out.

In: the rows and a `Tally` that labelling filled; out: a plain dictionary for `card.json` and the report.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

from prm_jax.labelling.labelled_program import Label, LabelledProgram
from prm_jax.labelling.operators import MUTATION_NAMES
from prm_jax.labelling.tally import Tally
from prm_jax.quality.integrity import STATIC_MEASURES, integrity

QUALITY_PROGRAMS = 200
"""Programs of each operator on which the measures of quality are taken; all of them would cost minutes."""


def card(rows: Iterable[LabelledProgram], tally: Tally) -> dict[str, Any]:
    """Counts of a labelled data set.

    Returns:
      `programs`, `problems`, `labels`, `splits`, `methods`, `outcomes`: counts by name; `operators`: programs, those
      that passed and labels of each operator; `surviving_mutants`: share of mutants that passed, over all and for
      each problem that has one; `quality`: for each operator the means of the static measures of `quality/` over its
      first `QUALITY_PROGRAMS` programs, those that do not parse (0 in every measure) among them; `skipped` and
      `dropped` from the tally.
    """
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    operators: dict[str, Counter[str]] = defaultdict(Counter)
    mutants: Counter[str] = Counter()
    survivors: Counter[str] = Counter()
    quality: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        labels = Counter(Label(label).name.lower() for label in row.labels)
        counts["problems"][row.problem_id] += 1
        counts["labels"] += labels
        for key, value in (("splits", row.split), ("methods", row.method), ("outcomes", row.outcome)):
            counts[key][value] += 1
        operators[row.operator] += Counter(programs=1, passed=int(row.passed)) + labels
        if quality[row.operator]["programs"] < QUALITY_PROGRAMS:
            found = integrity(row.text)
            measured = {name: getattr(found, name) for name in STATIC_MEASURES}
            quality[row.operator].update({"programs": 1} | measured)
        if row.operator in MUTATION_NAMES:
            mutants[row.problem_id] += 1
            survivors[row.problem_id] += row.passed
    return {
        "programs": counts["problems"].total(),
        "problems": len(counts["problems"]),
        **{key: dict(sorted(counts[key].items())) for key in ("labels", "splits", "methods", "outcomes")},
        "operators": {name: dict(operators[name]) for name in sorted(operators)},
        "surviving_mutants": {
            "share": survivors.total() / max(mutants.total(), 1),
            "problems": {name: survivors[name] / mutants[name] for name in sorted(mutants) if survivors[name]},
        },
        "quality": {
            name: {"programs": sums["programs"]} | {m: sums[m] / sums["programs"] for m in STATIC_MEASURES}
            for name, sums in sorted(quality.items())
        },
        "skipped": dict(sorted(tally.skipped.items())),
        "dropped": dict(sorted(tally.dropped.items())),
    }
