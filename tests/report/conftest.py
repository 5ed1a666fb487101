"""A made-up run for the report's tests, written by a hostile policy."""

import math

import pytest

from prm_jax.evaluation.prm_eval import evaluate_prm
from prm_jax.evaluation.results import policy_result
from prm_jax.evaluation.samples import GradedSample
from prm_jax.evaluation.score import ScoredProgram
from prm_jax.execution.verdict import Outcome
from prm_jax.labelling.labelled_program import Label, LabelledProgram
from prm_jax.report.data import Curve, ReportData, ShownProgram, StageTime, UpdateTime
from prm_jax.text.steps import split_steps

HOSTILE = """def f(x):
    # </pre><script>alert("1")</script>
    y = "<img src=x onerror=alert(2)> &lt; {{ name }} {% raw %}"

    return y' onmouseover="alert(3)"
"""


def scored(text=HOSTILE, wrong=2, operator="sample", prompt="Say <b>it</b>.", problem="p/1"):
    steps = split_steps(text)
    labels = [Label.NEUTRAL if s.neutral or i > wrong >= 0 else Label.RIGHT for i, s in enumerate(steps)]
    if wrong >= 0:
        labels[wrong] = Label.WRONG
    scores = tuple(math.nan if s.neutral else 0.9 - 0.15 * i for i, s in enumerate(steps))
    ends = tuple(s.end for s in steps)
    outcome = "passed" if wrong < 0 else "wrong_answer"
    row = LabelledProgram(
        problem, "s", "test", prompt, text, ends, tuple(labels), wrong < 0, operator, "trace", outcome
    )
    return ScoredProgram(row, scores)


def policy(name, passing):
    outcomes = [Outcome.PASSED] * passing + [Outcome.WRONG_ANSWER] * (12 - passing)
    samples = [GradedSample(f"p/{i}", 4 + i % 2, "x", o, False, 40, 5, 1) for i in range(20) for o in outcomes]
    return policy_result(name, samples, resamples=50)


@pytest.fixture
def data():
    arms = ("sft", "outcome", "<i>arm</i>")
    prm = evaluate_prm(
        "prm", [scored(operator="a<b"), scored(wrong=-1, operator="reference")], [scored()], resamples=50
    )
    curves = tuple(
        Curve(arm, metric, (1, 2, 3), (0.1, math.nan, 0.3)) for arm in arms for metric in ("pass_rate", "kl", "steps")
    )
    return ReportData(
        name="<run & co>",
        created="today",
        versions={"jax": "0.10"},
        configuration={"seed": "0", "bad": "</dd><script>"},
        results=tuple(policy(arm, 3 * i + 2) for i, arm in enumerate(arms)),
        curves=curves,
        prms=(prm,),
        times=(StageTime("sft", {"train": 12.0}), StageTime("<ppo>", {"rollout": 3.0, "update": 9.0})),
        update_time=UpdateTime("<i>arm</i>", 2, {"rollout": ((0.0, 2.0), (2.0, 4.5)), "verification": ((2.0, 3.0),)}),
        programs=tuple(ShownProgram(arm, scored()) for arm in arms),
    )
