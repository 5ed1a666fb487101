"""The static half of labelling on other people's code: the functions of the standard library, as they stand there."""

from __future__ import annotations

import ast
import collections
import itertools
import random
import sysconfig
import textwrap
import warnings
from collections.abc import Iterator

import pytest

from prm_jax.labelling.donors import Donors
from prm_jax.labelling.operators import MUTATIONS, REFACTORINGS
from prm_jax.labelling.splice import apply
from prm_jax.labelling.variants import Variant, sample_variants
from prm_jax.mining.functions import functions_of
from prm_jax.mining.walk import UnreadableError, find_files, read_source
from prm_jax.text.step_map import step_end_tokens
from prm_jax.text.steps import split_steps
from prm_jax.text.tokenizer import BpeTokenizer, ByteTokenizer

SAMPLE_FILES, SAMPLE = 40, 60
LONGEST = 80  # Lines; what is longer is no program that a policy writes, and takes most of the time.


def sources() -> list[str]:
    """Paths of the standard library without its own tests, some of which are broken on purpose."""
    files = find_files([sysconfig.get_path("stdlib")], collections.Counter())
    return [file.path for file in files if not {"test", "tests", "idle_test"} & set(file.parts)]


def functions(paths: list[str]) -> Iterator[str]:
    """The text of every function and method, by itself and at the margin."""
    for path in paths:
        try:
            text = read_source(path)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Invalid escapes.
                tree = ast.parse(text)
        except (UnreadableError, SyntaxError):
            continue
        lines = text.splitlines(keepends=True)
        for node in functions_of(tree):
            first = min(each.lineno for each in (node, *node.decorator_list))
            if node.end_lineno - first < LONGEST:
                yield textwrap.dedent("".join(lines[first - 1 : node.end_lineno]))


@pytest.fixture(scope="module")
def some() -> list[str]:
    rng = random.Random(0)
    found = list(functions(rng.sample(sources(), SAMPLE_FILES)))
    return rng.sample(found, SAMPLE)


def check_steps(text: str, tokenizer: BpeTokenizer | ByteTokenizer) -> None:
    """The steps tile the text, and each ends on the token that holds its last byte."""
    steps, data = split_steps(text), text.encode()
    assert b"".join(data[step.start : step.end] for step in steps) == data
    ids = [*tokenizer.encode(text), tokenizer.eos_id]
    assert tokenizer.decode(ids[:-1]) == text
    offsets = [0, *itertools.accumulate(len(tokenizer.token_bytes(each)) for each in ids[:-1])]
    assert offsets[-1] == len(data)
    *ends, last = step_end_tokens(ids, tokenizer, steps)
    assert last == len(ids) - 1
    for step, end in zip(steps, ends, strict=False):
        assert offsets[end] < step.end <= offsets[end + 1]


def check_edits(text: str) -> int:
    """Every edit changes the text and nothing in front of it or behind it; how many there are."""
    count = 0
    for name, operator in {**MUTATIONS, **REFACTORINGS}.items():
        for edit in operator.edits(text):
            edited = apply(text, edit)
            assert edited != text, name
            assert edited.startswith(text[: edit.start]) and edited.endswith(text[edit.end :]), name
            count += 1
    return count


def check_variants(text: str, donors: Donors) -> list[Variant]:
    """Drawn as labelling draws them; all differ, and the steps that they share with the text are the text's."""
    variants = sample_variants(text, 2, 1, random.Random(text), donors)
    assert len({text, *(variant.text for variant in variants)}) == len(variants) + 1
    steps, data = split_steps(text), text.encode()
    for variant in variants:
        edited = variant.text.encode()
        for own, shared in zip(steps[: variant.before], variant.steps, strict=False):
            assert data[own.start : own.end] == edited[shared.start : shared.end]
        for back in range(1, variant.after + 1):
            own, shared = steps[-back], variant.steps[-back]
            assert data[own.start : own.end] == edited[shared.start : shared.end]
        assert 0 <= variant.edited < len(variant.steps) and not variant.steps[variant.edited].neutral
    return variants


def test_a_sample_of_the_standard_library(some):
    tokenizer = BpeTokenizer.train(some, 600)
    donors = Donors(some)
    edits = variants = 0
    for text in some:
        check_steps(text, tokenizer)
        edits += check_edits(text)
        variants += len(check_variants(text, donors))
    assert edits > 10 * SAMPLE and variants > 3 * SAMPLE


@pytest.mark.slow
def test_the_whole_standard_library(some):
    tokenizer, donors = ByteTokenizer(), Donors(some)
    texts = dict.fromkeys(functions(sources()))
    edits = 0
    for text in texts:
        check_steps(text, tokenizer)
        edits += check_edits(text)
        check_variants(text, donors)
    assert len(texts) > 5_000 and edits > 100_000
