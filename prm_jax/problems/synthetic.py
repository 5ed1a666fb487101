"""The synthetic domain: chains of phrases over lists, texts and numbers, each with a reference and tests.

In: a `SyntheticSource`; out: `Problem`s. Pure functions of (seed, split, statements): the i-th
problem with m statements is the same one in every call, and so is its id.

Three things keep the splits apart, for all seeds: the skeleton of the reference decides the split, the chain of
operations (whatever its wording and operands) decides it too and must agree, and a prompt has one reference only.
Expected values come from the operations' meanings, never from running the reference.
"""

from __future__ import annotations

import dataclasses
import itertools
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

from prm_jax.errors import UserError
from prm_jax.problems.operation import VARIABLES, Operation, form_statements
from prm_jax.problems.operations import OPERATIONS
from prm_jax.problems.problem import Problem, Test
from prm_jax.problems.skeleton import SPLIT_BUCKETS, skeleton, split_of
from prm_jax.problems.slips import slip

ENTRY_POINT = "solve"
MIN_STATEMENTS, MAX_STATEMENTS = 2, 8
MIN_PHRASES, MAX_PHRASES = 2, 7

_VISIBLE, _HIDDEN = 6, 6
_MAX_INT, _MAX_LENGTH = 10**6, 40
_EXPRESSION_SHARE = 0.75
_MAX_ATTEMPTS = 50_000  # Without one acceptance, the problems with this many statements count as exhausted.
_WORDS = (
    "a",
    "an",
    "bee",
    "cat",
    "dog",
    "ant",
    "river",
    "stone",
    "cloud",
    "apple",
    "tree",
    "moon",
    "light",
    "wind",
    "fire",
    "silver",
    "green",
    "old",
    "tiny",
    "open",
    "salt",
)

_KINDS = ("ints", "text", "number")
_KIND_SHARES = tuple(itertools.accumulate((0.8, 0.16, 0.04)))
_STAY = {"ints": 0.93, "text": 0.4, "words": 0.6, "number": 0.6}  # Share of operations that keep the kind.
_STAY_AT_END = {"ints": 0.35, "text": 0.3, "words": 0.4, "number": 0.85}
_CHOICES = {
    (kind, same): [op for op in OPERATIONS if op.takes == kind and (op.gives == kind) == same]
    for kind in VARIABLES
    for same in (True, False)
}


Link = tuple[Operation, int]
"""An operation with its operand."""


@dataclasses.dataclass(frozen=True)
class SyntheticSource:
    """One split of the synthetic domain as a problem source; the fields are the arguments of `generate`."""

    split: str = "train"
    count: int = 2000
    min_statements: int = 2
    max_statements: int = 8
    seed: int = 0
    slips: float = 0.0
    min_phrases: int = MIN_PHRASES

    def load(self) -> list[Problem]:
        """The problems, as `generate` gives them."""
        return generate(**dataclasses.asdict(self))


def generate(
    split: str,
    count: int,
    min_statements: int,
    max_statements: int,
    seed: int = 0,
    slips: float = 0.0,
    min_phrases: int = MIN_PHRASES,
) -> list[Problem]:
    """Generates problems, as many of each number of statements as possible.

    Args:
      split: `"train"`, `"validation"` or `"test"`; no two share a skeleton, a chain of operations or a prompt.
      count: number of problems.
      min_statements: least number of statements of a reference, from 2.
      max_statements: largest number of statements, up to 8.
      seed: other seeds give other problems of the same split.
      slips: mean share of phrases that a problem's `demonstration` misreads, in place of the operation writing its
        nearest neighbour in the table (the most similar code between the same kinds: `<` for `>`, largest for sum).
        Most operations are seldom misread, a few nearly always (`slips.slip`).
      min_phrases: least number of phrases of a prompt. A loop makes a program long, only phrases make it hard.

    Returns:
      `count` problems with distinct prompts, the numbers of statements taking turns.

    Raises:
      UserError: for an unknown split, a span of statements outside 2 to 8, or when there are fewer problems.
    """
    if split not in SPLIT_BUCKETS:
        raise UserError(f"synthetic split {split!r}: expected one of {', '.join(SPLIT_BUCKETS)}")
    if not MIN_STATEMENTS <= min_statements <= max_statements <= MAX_STATEMENTS:
        raise UserError(
            f"synthetic problems of {min_statements} to {max_statements} statements: expected a span within "
            f"{MIN_STATEMENTS} to {MAX_STATEMENTS}"
        )
    if not 0 <= slips <= 1:
        raise UserError(f"synthetic slips of {slips}: expected a share from 0 to 1")
    if not MIN_PHRASES <= min_phrases <= min(min_statements, MAX_PHRASES):
        raise UserError(
            f"synthetic problems of at least {min_phrases} phrases and {min_statements} statements: expected "
            f"{MIN_PHRASES} to {MAX_PHRASES} phrases, and no more than statements"
        )
    streams = {m: _stream(split, m, seed, slips, min_phrases) for m in range(min_statements, max_statements + 1)}
    problems: list[Problem] = []
    while streams and len(problems) < count:
        for statements, stream in list(streams.items()):
            problem = next(stream, None)
            if problem is None:
                del streams[statements]
            elif len(problems) < count:
                problems.append(problem)
    if len(problems) < count:
        raise UserError(
            f"{count} synthetic {split} problems of {min_statements} to {max_statements} statements: only "
            f"{len(problems)} exist; ask for fewer or for more statements"
        )
    return problems


def _stream(split: str, statements: int, seed: int, slips: float, min_phrases: int) -> Iterator[Problem]:
    """The problems of one split with a given number of statements, until they are exhausted."""
    family = f"{seed}" if min_phrases == MIN_PHRASES else f"{seed}-{min_phrases}"
    rng = random.Random(f"synthetic/{family}/{split}/{statements}")
    seen: set[str] = set()
    attempts = index = 0
    while attempts < _MAX_ATTEMPTS:
        attempts += 1
        chain = _draw_chain(rng, statements, min_phrases)
        names = [operation.name for operation, _ in chain]
        if len(set(names)) < len(names) or split_of(" ".join(names)) != split:
            continue
        prompt = _say(chain, rng)
        forms = _choose_forms(chain, prompt)
        if _count(forms) != statements or prompt in seen:
            continue
        tests = _make_tests(chain, rng)
        if tests is None:
            continue
        reference = _write(chain, forms)
        if split_of(skeleton(reference)) != split:
            continue
        seen.add(prompt)
        name = f"synthetic/{split}/{statements}-{index:05d}-{family}"
        yield Problem(
            id=name,
            source="synthetic",
            split=split,
            prompt=prompt,
            entry_point=ENTRY_POINT,
            reference=reference,
            tests=tests,
            difficulty=statements,
            provenance=f"generated by prm_jax, seed {seed}",
            demonstration=_demonstrate(chain, prompt, slips),
        )
        attempts, index = 0, index + 1


def _draw_chain(rng: random.Random, statements: int, min_phrases: int) -> tuple[Link, ...]:
    """A random chain of operations whose kinds of values fit; mostly on lists of integers."""
    length = rng.randint(max(min_phrases, (statements + 1) // 2), min(statements, MAX_PHRASES))
    (kind,) = rng.choices(_KINDS, cum_weights=_KIND_SHARES)
    chain: list[Link] = []
    for position in range(length):
        stay = _STAY[kind] if position < length - 1 else _STAY_AT_END[kind]
        operation = rng.choice(_CHOICES[kind, rng.random() < stay])
        chain.append((operation, rng.choice(operation.operands) if operation.operands else 0))
        kind = operation.gives
    return tuple(chain)


def _say(chain: tuple[Link, ...], rng: random.Random) -> str:
    """The prompt: one phrase for each operation."""
    phrases = [rng.choice(operation.phrases).replace("{k}", str(operand)) for operation, operand in chain]
    sentence = ", then ".join(phrases) + "."
    return sentence[0].upper() + sentence[1:]


def _choose_forms(chain: tuple[Link, ...], prompt: str) -> tuple[str, ...]:
    """One surface form for each operation: a function of the prompt alone, so that a prompt has one reference."""
    rng = random.Random(prompt)
    forms = []
    for operation, _ in chain:
        as_expression = not operation.blocks or rng.random() < _EXPRESSION_SHARE
        forms.append(rng.choice(operation.expressions if as_expression else operation.blocks))
    return tuple(forms)


def _count(forms: tuple[str, ...]) -> int:
    """Number of statements of the reference: a last expression is returned at once, after a block comes a `return`."""
    return sum(map(form_statements, forms)) + ("\n" in forms[-1])


def _write(chain: tuple[Link, ...], forms: tuple[str, ...]) -> str:
    """The reference program."""
    lines = [f"def {ENTRY_POINT}({VARIABLES[chain[0][0].takes]}):"]
    for position, ((operation, operand), form) in enumerate(zip(chain, forms, strict=True)):
        text = form.replace("{k}", str(operand))
        last = position == len(chain) - 1
        result = VARIABLES[operation.gives]
        if "\n" in form:
            block = [*text.split("\n"), *([f"return {result}"] if last else [])]
        else:
            block = [f"return {text}" if last else f"{result} = {text}"]
        lines += [f"    {line}" for line in block]
    return "\n".join(lines) + "\n"


def _demonstrate(chain: tuple[Link, ...], prompt: str, slips: float) -> str:
    """A program by an author who misreads some phrases; empty where none is misread. A function of the prompt alone."""
    rng = random.Random(f"{prompt}/demonstration")
    written = tuple(slip(operation, operand, slips, rng) for operation, operand in chain)
    return "" if written == chain else _write(written, _choose_forms(written, prompt))


def _draw_input(kind: str, rng: random.Random) -> Any:
    """A short argument of the given kind."""
    if kind == "number":
        return rng.randint(12, 9999)
    if kind == "text":
        return " ".join(rng.choice(_WORDS) for _ in range(rng.randint(3, 5)))
    numbers = [rng.randint(-9, 20) for _ in range(rng.randint(4, 7))]
    if rng.random() < 0.5:  # Repeated numbers, so that dropping them makes a difference.
        numbers[rng.randrange(len(numbers))] = rng.choice(numbers)
    return numbers


def _apply(chain: tuple[Link, ...], value: Any) -> list[Any]:
    """The values after each operation.

    Raises:
      ValueError: where a value is out of bounds or an operation has none (the largest number of an empty list).
    """
    values = []
    for operation, operand in chain:
        try:
            value = operation.meaning(value, operand)
        except (IndexError, ZeroDivisionError) as error:
            raise ValueError(f"{operation.name} has no value for {value!r}") from error
        if not _bounded(value):
            raise ValueError(f"{operation.name} leaves the bounds")
        values.append(value)
    return values


def _bounded(value: Any) -> bool:
    """Whether a value is short and its numbers are small."""
    if isinstance(value, int):
        return abs(value) < _MAX_INT
    if len(value) > _MAX_LENGTH:
        return False
    return not value or isinstance(value[0], str) or (max(value) < _MAX_INT and min(value) > -_MAX_INT)


def _make_tests(chain: tuple[Link, ...], rng: random.Random) -> tuple[Test, ...] | None:
    """Tests with expected values from the meanings; None for a degenerate chain."""
    kind = chain[0][0].takes
    inputs: dict[str, Any] = {}
    while len(inputs) < _VISIBLE + _HIDDEN:
        value = _draw_input(kind, rng)
        inputs[repr(value)] = value
    try:
        values = [_apply(chain, value) for value in inputs.values()]
    except ValueError:
        return None
    arguments = list(inputs.values())
    if not _varied(values) or _idles(arguments, values) or not _all_needed(chain, arguments, values):
        return None
    return tuple(
        Test(call=f"{ENTRY_POINT}({text})", expected=repr(row[-1]), visible=index < _VISIBLE)
        for index, (text, row) in enumerate(zip(inputs, values, strict=True))
    )


def _varied(values: list[list[Any]]) -> bool:
    """Whether no stage is often empty or often the same: at most a quarter empty, half equal."""
    for stage in zip(*values, strict=True):
        if sum(value in ([], "") for value in stage) > len(stage) // 4:
            return False
        if Counter(map(repr, stage)).most_common(1)[0][1] > len(stage) // 2:
            return False
    return True


def _idles(inputs: list[Any], values: list[list[Any]]) -> bool:
    """Whether a stretch of the chain gives back what it took in every test (words split and joined again)."""
    stages = [inputs, *map(list, zip(*values, strict=True))]
    return any(stage in stages[:index] for index, stage in enumerate(stages))


def _all_needed(chain: tuple[Link, ...], inputs: list[Any], values: list[list[Any]]) -> bool:
    """Whether leaving out any one operation changes the results of some visible and of at least two tests in all."""
    for position, (operation, _) in enumerate(chain):
        if operation.takes != operation.gives:
            continue  # The rest of the chain would not fit.
        changed = 0
        for index, (argument, row) in enumerate(zip(inputs, values, strict=True)):
            before = row[position - 1] if position else argument
            changed += _result(chain[position + 1 :], before) != row[-1]
            if changed >= 2 or (index == _VISIBLE - 1 and not changed):
                break
        if changed < 2:
            return False
    return True


def _result(chain: tuple[Link, ...], value: Any) -> Any:
    """The last value of a chain, None where it has none."""
    try:
        return ([value] + _apply(chain, value))[-1]
    except ValueError:
        return None
