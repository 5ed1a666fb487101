"""The card of a labelled data set in words: the dictionary of `card.py` in, Markdown or a few lines out.

`beam.py` writes `card.md` with it, the stage `label` prints the lines.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from prm_jax.labelling.agreement import PLACES
from prm_jax.quality.integrity import STATIC_MEASURES

_WEAKEST = 10
"""Problems with the weakest tests that the card names."""


def summary(card: Mapping[str, Any]) -> list[str]:
    """The card in short, a line each."""
    survivors, labels = card["surviving_mutants"], card["labels"]
    lines = [f"{card['programs']} programs of {card['problems']} problems; steps: {_counts(labels)}"]
    if _has_mutants(card):
        told = f"mutants that pass their problem's own tests: {_percent(survivors['own_tests'])}"
        if card["inputs"].get("kept"):
            told += f", the generated ones too: {_percent(survivors['share'])}; {survivors['tests_added']} tests added"
        lines.append(told)
    for methods, places in card["agreement"].items():
        lines.append(f"wrong step by {methods}: {_counts(_in_order(places))}")
    flaky, unknown = card["shares"]["flaky"], card["shares"]["unknown"]
    return [*lines, f"flaky {_percent(flaky)}, unknown {_percent(unknown)} of the programs run"]


def markdown(card: Mapping[str, Any], name: str) -> str:
    """The whole card as Markdown, under the name of the data set."""
    parts = [f"# Step labels: {name}", "\n".join(f"- {line}" for line in summary(card))]
    for key in ("labels", "splits", "methods", "outcomes", "runs", "dropped"):
        if card[key]:
            parts.append(f"**{key.capitalize()}**: {_counts(card[key])}.")
    parts += ["## Operators", _operators(card["operators"])]
    if _has_mutants(card):
        parts += ["## Weak tests", *_survivors(card)]
    if card["agreement"]:
        parts += ["## Agreement of the methods", *_agreement(card["agreement"])]
    parts += ["## How the programs are written", _quality(card["quality_by_kind"])]
    if card["skipped"]:
        lines = [f"- {problem}: {reason}" for problem, reason in card["skipped"].items()]
        parts += ["## Problems left out", "\n".join(lines)]
    return "\n\n".join(parts) + "\n"


def _has_mutants(card: Mapping[str, Any]) -> bool:
    return any(own["kind"] == "mutant" for own in card["operators"].values())


def _operators(operators: Mapping[str, Mapping[str, Any]]) -> str:
    columns = ("programs", "passed", "by_generated", "right", "wrong", "neutral")
    rows = [
        [name, own["kind"], *(own.get(column, 0) for column in columns), _counts(own["outcomes"])]
        for name, own in sorted(operators.items(), key=lambda item: (item[1]["kind"], item[0]))
    ]
    names = ("operator", "kind", "programs", "passed", "failed by generated tests only", *columns[3:], "verdicts")
    return _table(names, rows)


def _survivors(card: Mapping[str, Any]) -> list[str]:
    found = card["surviving_mutants"]
    told = f"{_percent(found['own_tests'])} of the mutants pass the tests of their problem"
    if card["inputs"].get("kept"):
        told += f", {_percent(found['share'])} the generated tests too. Calls: {_counts(card['inputs'])}"
    parts = [told + "."]
    weakest = sorted(found["problems"].items(), key=lambda item: (-item[1]["own_tests"], item[0]))[:_WEAKEST]
    if weakest:
        rows = [[name, _percent(own["own_tests"]), _percent(own["share"]), own["tests_added"]] for name, own in weakest]
        parts += [_table(("problem", "survive its tests", "survive all", "tests added"), rows)]
    return parts


def _agreement(agreement: Mapping[str, Mapping[str, int]]) -> list[str]:
    told = (
        "Where the first method puts the wrong step of failing programs, against where the second does: the edited "
        "step of a mutant, the first step of a policy's program that its completions could not save. Same block: "
        "another step is blamed and nothing is said of the second's. Undecided: nothing is said at all."
    )
    rows = [
        [methods, sum(places.values()), *(_percent(places.get(place, 0) / sum(places.values())) for place in PLACES)]
        for methods, places in agreement.items()
    ]
    return [told, _table(("methods", "programs", *PLACES), rows)]


def _quality(quality: Mapping[str, Mapping[str, float]]) -> str:
    rows = [[name, own["programs"], *(f"{own[m]:.3f}" for m in STATIC_MEASURES)] for name, own in quality.items()]
    return _table(("programs that are", "measured", *STATIC_MEASURES), rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def _in_order(places: Mapping[str, int]) -> dict[str, int]:
    return {place: places[place] for place in PLACES if place in places}


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
