"""The synthetic domain: splits apart, references right, tests that tell programs apart."""

import ast
import dataclasses
import random

import pytest

from prm_jax.errors import UserError
from prm_jax.problems.operation import VARIABLES
from prm_jax.problems.operations import OPERATIONS
from prm_jax.problems.skeleton import count_statements, skeleton
from prm_jax.problems.synthetic import SyntheticSource, generate

SPLITS = ("train", "validation", "test")
INPUTS = {
    "ints": [[3, -1, 4, 4, 10], [12, 7, -9, 0, 5, 6, 7], [2, 2]],
    "text": ["old tree", "a silver moon", "open stone bee"],
    "words": [["old", "tree"], ["a", "silver", "moon"], ["bee", "an", "bee"]],
    "number": [7, -38, 4096],
}


@pytest.fixture(scope="module")
def problems():
    return {split: generate(split, 70, 2, 8, seed=3) for split in SPLITS}


def run(source, call):
    namespace = {}
    exec(source, namespace)
    return eval(call, namespace)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_every_form_computes_its_meaning(operation):
    takes, gives = VARIABLES[operation.takes], VARIABLES[operation.gives]
    for form in operation.forms:
        for operand in operation.operands or (0,):
            text = form.replace("{k}", str(operand))
            block = text if "\n" in text else f"{gives} = {text}"
            body = "".join(f"    {line}\n" for line in block.split("\n"))
            for value in INPUTS[operation.takes]:
                found = run(f"def solve({takes}):\n{body}    return {gives}\n", f"solve({value!r})")
                assert repr(found) == repr(operation.meaning(value, operand)), (form, operand, value)


def test_the_table_is_well_formed():
    names = [operation.name for operation in OPERATIONS]
    assert len(set(names)) == len(names)
    phrases = [(operation.takes, phrase) for operation in OPERATIONS for phrase in operation.phrases]
    assert len(set(phrases)) == len(phrases)
    for operation in OPERATIONS:
        assert operation.expressions
        assert len(operation.phrases) >= 2
        for text in (*operation.phrases, *operation.forms):
            assert ("{k}" in text) == bool(operation.operands), (operation.name, text)


def test_references_agree_with_expected_values(problems):
    for problem in (problem for split in SPLITS for problem in problems[split]):
        for test in problem.tests:
            assert repr(run(problem.reference, test.call)) == test.expected, (problem.reference, test)
            assert ast.literal_eval(test.expected) is not None


def test_each_problem_has_the_promised_parts(problems):
    for split in SPLITS:
        for problem in problems[split]:
            assert problem.split == split and problem.entry_point == "solve"
            assert len(problem.visible_tests) >= 6 and len(problem.hidden_tests) >= 6
            assert all(test.visible for test in problem.tests[:6])
            assert len({test.call for test in problem.tests}) == len(problem.tests)
            assert len({test.expected for test in problem.tests}) > 1
            body = ast.parse(problem.reference).body[0].body
            assert problem.difficulty == sum(isinstance(n, ast.stmt) for top in body for n in ast.walk(top))


def test_counts_of_statements_are_balanced(problems):
    for split in SPLITS:
        assert [sum(p.difficulty == m for p in problems[split]) for m in range(2, 9)] == [10] * 7


def test_splits_share_no_skeleton_and_no_prompt(problems):
    skeletons = {split: {skeleton(p.reference) for p in problems[split]} for split in SPLITS}
    prompts = [p.prompt for split in SPLITS for p in problems[split]]
    assert not skeletons["train"] & skeletons["test"]
    assert not skeletons["train"] & skeletons["validation"]
    assert not skeletons["validation"] & skeletons["test"]
    assert len(set(prompts)) == len(prompts)


def test_splits_stay_apart_between_seeds():
    train = generate("train", 60, 2, 3, seed=0)
    test = generate("test", 60, 2, 3, seed=1)
    assert not {skeleton(p.reference) for p in train} & {skeleton(p.reference) for p in test}
    assert not {p.prompt for p in train} & {p.prompt for p in test}


def test_generation_is_deterministic_and_seeded(problems):
    random.seed(99)
    assert generate("train", 70, 2, 8, seed=3) == problems["train"]
    assert {p.prompt for p in generate("train", 70, 2, 8, seed=4)} != {p.prompt for p in problems["train"]}


def test_a_problem_does_not_depend_on_the_span_or_the_count(problems):
    by_id = {p.id: p for p in problems["train"]}
    narrow = generate("train", 10, 3, 4, seed=3)
    assert [by_id[p.id] for p in narrow] == narrow


def test_leaving_out_the_first_statement_fails_a_visible_test(problems):
    checked = 0
    for problem in (problem for split in SPLITS for problem in problems[split]):
        lines = problem.reference.splitlines(keepends=True)
        if lines[0] != "def solve(xs):\n" or not lines[1].startswith("    xs = "):
            continue
        shorter = "".join(lines[:1] + lines[2:])
        results = []
        for test in problem.visible_tests:
            try:
                results.append(repr(run(shorter, test.call)) == test.expected)
            except (ValueError, IndexError):
                results.append(False)
        assert not all(results), problem.reference
        checked += 1
    assert checked > 50


def test_no_stretch_of_a_chain_does_nothing(problems):
    references = [p.reference for split in SPLITS for p in problems[split]]
    assert not any('    ws = s.split()\n    s = " ".join(ws)\n' in reference for reference in references)


def test_prompts_have_as_many_phrases_as_asked_for():
    drawn = generate("train", 40, 5, 8, seed=2, min_phrases=5)
    assert min(problem.prompt.count(", then ") + 1 for problem in drawn) == 5
    assert {problem.difficulty for problem in drawn} == {5, 6, 7, 8}
    assert not {problem.id for problem in drawn} & {problem.id for problem in generate("train", 40, 5, 8, seed=2)}


def test_demonstrations_slip_as_often_as_asked_and_only_there():
    plain, slipped = (generate("train", 400, 2, 4, seed=1, slips=slips) for slips in (0.0, 0.3))
    assert not any(problem.demonstration for problem in plain)
    assert [dataclasses.replace(problem, demonstration="") for problem in slipped] == plain
    flawed = [problem for problem in slipped if problem.demonstration]
    failing = [problem for problem in flawed if not all(passes(problem.demonstration, t) for t in problem.tests)]
    # Two to four phrases, each right with 0.7 on average: between 0.51 and 0.76 of the programs have a slip.
    assert 0.45 < len(flawed) / len(plain) < 0.8
    assert len(failing) > 0.9 * len(flawed)


def passes(source, test):
    try:
        return repr(run(source, test.call)) == test.expected
    except Exception:
        return False


def test_skeleton_erases_names_and_literals_only():
    source = "def solve(xs):\n    return [x * 2 for x in xs if x > 3]\n"
    renamed = "def other(ys):\n    return [y * 'a' for y in ys if y > 9]\n"
    assert skeleton(source) == skeleton(renamed)
    assert skeleton(source) != skeleton(source.replace("*", "+"))
    assert skeleton(source) != skeleton(source.replace(" if x > 3", ""))


def test_the_skeleton_is_the_same_in_every_python():
    """It decides the split; versions since 3.12 have one field more, and since 3.13 dump empty lists otherwise."""
    arguments = "arguments([], [arg('_')], kwonlyargs=[], kw_defaults=[], defaults=[])"
    body = "[Return(Attribute(Name('_', Load()), '_', Load()))]"
    assert skeleton("def f(x):\n    return x.y\n") == f"Module([FunctionDef('_', {arguments}, {body}, [])], [])"


def test_statements_are_counted_without_def_and_docstring():
    source = 'def f(x):\n    """Doc."""\n    if x:\n        return 1\n    def g():\n        return 2\n    return g()\n'
    assert count_statements(source) == 5


def test_mistakes_are_user_errors():
    with pytest.raises(UserError, match="slips of 1.1"):
        generate("train", 1, 2, 3, slips=1.1)
    with pytest.raises(UserError, match="at least 6 phrases and 5 statements"):
        generate("train", 1, 5, 8, min_phrases=6)
    with pytest.raises(UserError, match="'dev'"):
        generate("dev", 1, 2, 3)
    with pytest.raises(UserError, match="span"):
        generate("train", 1, 1, 3)
    with pytest.raises(UserError, match="span"):
        generate("train", 1, 5, 4)


def test_sources_are_hashable_and_load():
    source = SyntheticSource("validation", 4, 2, 3, seed=1)
    assert hash(source) == hash(SyntheticSource("validation", 4, 2, 3, seed=1))
    assert source.load() == generate("validation", 4, 2, 3, seed=1)
