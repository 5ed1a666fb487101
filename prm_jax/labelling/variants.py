"""Variants of a reference: mutants and refactorings sampled step by step, and what each may teach.

In: a `Problem`'s reference and the operators; out: `Variant`s, not yet run. `label.py` runs them and
asks for their labels with the verdict. Sampling is seeded per problem, so that neither the order of the problems nor
the number of workers matters.
"""

from __future__ import annotations

import dataclasses
import random
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence

from prm_jax.labelling.donors import Donors
from prm_jax.labelling.labelled_program import Label
from prm_jax.labelling.operators import EASY, FOREIGN, MUTATIONS, REFACTORINGS, REWRITE
from prm_jax.labelling.splice import Edit, apply
from prm_jax.text.steps import Step, split_steps

# The chance that an operator that any parser or linter sees through takes part at a step.
EASY_SHARE = 0.15

# Lines on which Python reports no execution: they run exactly when the step behind them does.
_SILENT = ("else:", "else ", "try:", "try ", "finally:", "finally ", "@")


@dataclasses.dataclass(frozen=True)
class Variant:
    """One edited program.

    Attributes:
      text: the program.
      steps: its steps.
      operator: the name of the operator.
      edited: index, in the new text, of the step that was edited.
      before: number of steps in front of the edit that both programs share.
      after: number of steps behind the edit that both programs share.
      spread: whether the edit touched several steps, or made several of one; then a failure has no one culprit.
    """

    text: str
    steps: tuple[Step, ...]
    operator: str
    edited: int
    before: int
    after: int
    spread: bool


def sample_variants(
    reference: str,
    mutants: int,
    refactorings: int,
    rng: random.Random,
    donors: Donors | None = None,
    rewrites: Sequence[Edit] = (),
) -> list[Variant]:
    """Draws edits of each step of a program, each resulting text once.

    Args:
      reference: the program.
      mutants: number of mutants of each step, where that many exist.
      refactorings: number of refactorings of each step, likewise.
      rng: the source of randomness.
      donors: statements of other programs, for mutants made of them.
      rewrites: what a teacher wrote in the place of steps; all of it is taken.
    """
    steps = split_steps(reference)
    seen = {reference}
    variants: list[Variant] = []
    foreign = {FOREIGN: list(donors.edits(reference, rng))} if donors else {}
    mutations = {name: list(operator.edits(reference)) for name, operator in MUTATIONS.items()} | foreign
    others = {name: list(operator.edits(reference)) for name, operator in REFACTORINGS.items()}
    taught = {REWRITE: rewrites} if rewrites else {}
    for edits, count in ((mutations, mutants), (others, refactorings), (taught, len(rewrites))):
        for _, by_operator in sorted(_by_step(reference, steps, edits).items()):
            wanted = len(variants) + count
            for name, edit in _in_turns(by_operator, rng):
                if len(variants) == wanted:
                    break
                text = apply(reference, edit)
                if text not in seen:
                    seen.add(text)
                    variants.append(_variant(reference, steps, name, edit))
    return variants


def _by_step(text: str, steps: Sequence[Step], edits: Mapping[str, Sequence[Edit]]) -> dict[int, dict[str, list[Edit]]]:
    """Each operator's edits, by the step of the text that they edit."""
    found: dict[int, dict[str, list[Edit]]] = defaultdict(lambda: defaultdict(list))
    for name, those in edits.items():
        for edit in those:
            found[_step_at(text, steps, edit.start)][name].append(edit)
    return found


def _in_turns(by_operator: Mapping[str, Sequence[Edit]], rng: random.Random) -> Iterator[tuple[str, Edit]]:
    """Edits in random order; operators take turns, so that one with many edits does not crowd out the others."""
    queues = {
        name: rng.sample(edits, len(edits))
        for name, edits in by_operator.items()
        if name not in EASY or rng.random() < EASY_SHARE
    }
    while queues:
        for name in rng.sample(sorted(queues), len(queues)):
            yield name, queues[name].pop()
            if not queues[name]:
                del queues[name]


def _step_at(text: str, steps: Sequence[Step], character: int) -> int:
    """Index of the step that holds a character; the end of the program where there is none."""
    byte = len(text[:character].encode("utf-8", "surrogatepass"))
    return next((i for i, step in enumerate(steps) if step.end > byte), len(steps) - 1)


def _variant(reference: str, steps: Sequence[Step], name: str, edit: Edit) -> Variant:
    text = apply(reference, edit)
    fresh = split_steps(text)
    first, last = _step_at(reference, steps, edit.start), _step_at(reference, steps, max(edit.start, edit.end - 1))
    behind = len(text) - (len(reference) - edit.end)
    new_last = _step_at(text, fresh, max(edit.start, behind - 1))
    edited = first
    while fresh[edited].neutral:  # A deleted line marks the step that takes its place.
        edited += 1
    return Variant(
        text=text,
        steps=fresh,
        operator=name,
        edited=edited,
        before=first,
        after=min(len(steps) - 1 - last, len(fresh) - 1 - max(new_last, edited)),
        spread=last > first or new_last > first,
    )


def executed_steps(text: str, steps: Sequence[Step], lines: Collection[int]) -> frozenset[int]:
    """The steps that ran, from the lines that ran.

    Args:
      text: the program.
      steps: its steps.
      lines: 1-based lines that at least one call executed.

    Returns:
      Indices of code steps and of the end. Steps at the margin run when the program is loaded; `else:` and its
      like run when the step behind them does.
    """
    data = text.encode("utf-8", "surrogatepass")
    executed: set[int] = {len(steps) - 1}
    for i in reversed(range(len(steps) - 1)):
        step = steps[i]
        if step.kind != "code":
            continue
        code = data[step.start : step.end].decode("utf-8", "surrogatepass")
        if not code[:1].isspace() or any(line in lines for line in range(step.line, step.last_line + 1)):
            executed.add(i)
        elif code.lstrip().startswith(_SILENT):
            behind = next(j for j in range(i + 1, len(steps)) if not steps[j].neutral)
            if behind in executed:
                executed.add(i)
    return frozenset(executed)


def map_executed(variant: Variant, reference_count: int, executed: Collection[int]) -> frozenset[int]:
    """Carries the executed steps of the reference over to a variant.

    Args:
      variant: the edited program.
      reference_count: number of steps of the reference.
      executed: the executed steps of the reference.

    Returns:
      Steps of the variant: those shared with the reference that ran there, and the edited ones where any step
      that they replace ran.
    """
    count = len(variant.steps)
    replaced = range(variant.before, max(reference_count - variant.after, variant.before + 1))
    edited = range(variant.before, max(count - variant.after, variant.edited + 1))
    mapped = {i for i in executed if i < variant.before}
    mapped |= {i - reference_count + count for i in executed if i >= reference_count - variant.after}
    if any(i in executed for i in replaced):
        mapped |= set(edited)
    return frozenset(i for i in mapped if i < count)


def passing_labels(steps: Sequence[Step], executed: Collection[int]) -> tuple[Label, ...]:
    """Labels of a program that passed: what ran is right."""
    return tuple(Label.RIGHT if i in executed and not step.neutral else Label.NEUTRAL for i, step in enumerate(steps))


def failing_labels(
    steps: Sequence[Step], wrong: int, executed: Collection[int], after_error: str, open_steps: Collection[int] = ()
) -> tuple[Label, ...]:
    """Labels of a program that failed.

    Args:
      steps: its steps.
      wrong: index of the first wrong step.
      executed: indices of the steps that ran.
      after_error: `"neutral"` or `"wrong"`: the label of what follows the wrong step.
      open_steps: steps about which nothing is known.
    """
    later = Label.WRONG if after_error == "wrong" else Label.NEUTRAL
    labels = []
    for i, step in enumerate(steps):
        if i == wrong:
            labels.append(Label.WRONG)
        elif step.neutral or i in open_steps:
            labels.append(Label.NEUTRAL)
        elif i < wrong:
            labels.append(Label.RIGHT if i in executed else Label.NEUTRAL)
        else:
            labels.append(later)
    return tuple(labels)
