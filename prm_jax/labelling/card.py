"""The card of a labelled data set: what is in it, what was left out, and how far its labels are to be believed.

In: the rows and the `Tally` that labelling filled; out: a plain dictionary for `card.json` and the report, which
`card_text.py` puts into words.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

from prm_jax.labelling.labelled_program import Label, LabelledProgram
from prm_jax.labelling.operators import MUTATION_NAMES, REFACTORINGS
from prm_jax.labelling.tally import Tally
from prm_jax.quality.integrity import STATIC_MEASURES, integrity

QUALITY_PROGRAMS = 200
"""Programs of each operator on which the measures of quality are taken; all of them would cost minutes."""


def card(rows: Iterable[LabelledProgram], tally: Tally) -> dict[str, Any]:
    """The audit of a labelled data set.

    Returns:
      `programs`, `problems`, `labels`, `splits`, `methods`, `outcomes`: counts by name.
      `operators`: for each its kind, programs, those that passed, those that only a generated test failed
      (`by_generated`), its labels, and its programs by `outcomes`.
      `surviving_mutants`: see `_survivors`.
      `agreement`: counts of `agreement.placed`, by the two methods and place.
      `inputs`: what became of generated calls, see `generated.generate_tests`.
      `quality`: for each operator the means of the static measures of `quality/` over its first `QUALITY_PROGRAMS`
      programs, those that do not parse (0 in every measure) among them; `quality_by_kind`: the same for all
      `"reference"`s, `"demonstration"`s, `"refactoring"`s and `"mutant"`s.
      `runs`: programs run; `shares`: the flaky and the unknown ones among them; `skipped` and `dropped` from the tally.
    """
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    operators: dict[str, Counter[str]] = defaultdict(Counter)
    outcomes: dict[str, Counter[str]] = defaultdict(Counter)
    mutants: dict[str, Counter[str]] = defaultdict(Counter)
    quality: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        labels = Counter(Label(label).name.lower() for label in row.labels)
        counts["problems"][row.problem_id] += 1
        counts["labels"] += labels
        for key, value in (("splits", row.split), ("methods", row.method), ("outcomes", row.outcome)):
            counts[key][value] += 1
        told = Counter(programs=1, passed=int(row.passed), by_generated=int(row.by_generated))
        operators[row.operator].update(told + labels)
        outcomes[row.operator][row.outcome] += 1
        if quality[row.operator]["programs"] < QUALITY_PROGRAMS:
            found = integrity(row.text)
            measured = {name: getattr(found, name) for name in STATIC_MEASURES}
            quality[row.operator].update({"programs": 1} | measured)
        if row.operator in MUTATION_NAMES:
            mutants[row.problem_id].update(told)
    by_kind: dict[str, Counter[str]] = defaultdict(Counter)
    for name, sums in quality.items():
        by_kind[kind_of(name)].update(sums)
    run = max(tally.runs.total(), 1)
    return {
        "programs": counts["problems"].total(),
        "problems": len(counts["problems"]),
        **{key: dict(sorted(counts[key].items())) for key in ("labels", "splits", "methods", "outcomes")},
        "operators": {
            name: {"kind": kind_of(name), **operators[name], "outcomes": dict(sorted(outcomes[name].items()))}
            for name in sorted(operators)
        },
        "surviving_mutants": _survivors(mutants, tally),
        "agreement": _agreement(tally.agreement),
        "inputs": dict(sorted(tally.inputs.items())),
        "quality": _means(quality),
        "quality_by_kind": _means(by_kind),
        "runs": dict(sorted(tally.runs.items())),
        "shares": {reason: tally.dropped[reason] / run for reason in ("flaky", "unknown")},
        "skipped": dict(sorted(tally.skipped.items())),
        "dropped": dict(sorted(tally.dropped.items())),
    }


def kind_of(operator: str) -> str:
    """`"mutant"` or `"refactoring"`; another program is called as its row calls it."""
    if operator in MUTATION_NAMES:
        return "mutant"
    return "refactoring" if operator in REFACTORINGS else operator


def _survivors(mutants: dict[str, Counter[str]], tally: Tally) -> dict[str, Any]:
    """The mutants that pass.

    Returns:
      `own_tests`: the share of mutants that pass the problems' own tests; `share`: of those that pass the generated
      ones too; `tests_added`: the generated tests that problems gained; `problems`: for each problem with a mutant that
      passed its own tests the two shares and the number of tests added.
    """
    total: Counter[str] = Counter()
    problems = {}
    for name, found in sorted(mutants.items()):
        total.update(found)
        if found["passed"] + found["by_generated"]:
            problems[name] = _shares(found) | {"tests_added": len(tally.tests.get(name, ()))}
    return _shares(total) | {"tests_added": sum(map(len, tally.tests.values())), "problems": problems}


def _shares(found: Counter[str]) -> dict[str, float]:
    mutants = max(found["programs"], 1)
    return {"own_tests": (found["passed"] + found["by_generated"]) / mutants, "share": found["passed"] / mutants}


def _agreement(counts: Counter[str]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for key, count in sorted(counts.items()):
        methods, place = key.split(": ")
        found[methods][place] = count
    return dict(found)


def _means(sums: dict[str, Counter[str]]) -> dict[str, dict[str, float]]:
    return {
        name: {"programs": own["programs"]} | {m: own[m] / own["programs"] for m in STATIC_MEASURES}
        for name, own in sorted(sums.items())
    }
