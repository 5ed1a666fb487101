"""The policy's own programs as rows: a resumed stage takes the verdicts that it found before."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from prm_jax.errors import UserError
from prm_jax.execution import grading
from prm_jax.execution.sandbox import Sandbox, SandboxConfig
from prm_jax.labelling.labelled_program import Label
from prm_jax.problems.problem import Problem, Test
from prm_jax.sampling.sample import Completions
from prm_jax.stages import own_programs
from prm_jax.stages.experiment import Experiment, PolicySamplesConfig, ProblemSets
from prm_jax.stages.run_directory import RunDirectory
from prm_jax.stages.workbench import prompt_batch
from prm_jax.text.tokenizer import ByteTokenizer

REFERENCE = "def f(x):\n    y = x + 1\n    return y * 2\n"
PROBLEM = Problem(
    "toy/0", "toy", "train", "Add one and double.", "f", REFERENCE, (Test("f(1)", "4"), Test("f(5)", "12"))
)
WRITTEN = (REFERENCE, "def f(x):\n    y = x + 1\n    return y * 3\n", "def f(x):\n    return x.y\n")


def write(params, problems, samples, seed):
    """A policy that answers any problem with the same programs."""
    assert samples == len(WRITTEN)
    tokenizer = ByteTokenizer()
    ids = [[*tokenizer.encode(text), tokenizer.eos_id] for text in WRITTEN] * len(problems)
    tokens = np.zeros((len(ids), 64), np.int32)
    for row, own in zip(tokens, ids, strict=True):
        row[: len(own)] = own
    lengths = np.array([len(own) for own in ids], np.int32)
    prompts = prompt_batch([problem for problem in problems for _ in range(samples)], tokenizer, 32)
    return prompts, Completions(tokens, np.zeros(tokens.shape, np.float32), lengths, np.ones(len(ids), bool))


@dataclasses.dataclass(frozen=True)
class Author:
    """Stands for a `Writer`."""

    tokenizer: ByteTokenizer
    model: None = None
    say: Callable[[str], None] | None = None

    def completions(self, *given):
        if self.say is not None:
            self.say("decoding")
        return write(*given)


def own_rows(folder):
    config = PolicySamplesConfig(problems=1, samples_per_problem=len(WRITTEN))
    experiment = Experiment("toy", ProblemSets(), sandbox=SandboxConfig(workers=1), prm_samples=config)
    return own_programs.own_rows(experiment, RunDirectory(str(folder)), 128)


def test_a_resumed_stage_replays_its_verdicts(tmp_path, monkeypatch, capsys):
    writer = Author(ByteTokenizer())
    for name, value in (
        ("load_tokenizer", writer.tokenizer), ("writer_of", writer), ("practice_problems", [PROBLEM]),
        ("load_policy", None),
    ):  # fmt: skip
        monkeypatch.setattr(own_programs, name, lambda *_, value=value: value)
    first = own_rows(tmp_path / "run")
    assert "prm, programs of sft: decoding\n" in capsys.readouterr().out
    assert first[0].segments.max(axis=1).sum() == len(WRITTEN) and Label.WRONG in first[0].labels
    monkeypatch.setattr(
        Sandbox, "_execute", lambda _, programs: {each: grading.unknown(each, "a busy machine") for each in programs}
    )
    monkeypatch.setattr(Sandbox, "_refuse_weak_confinement", lambda _: None)
    for rows, again in zip(first, own_rows(tmp_path / "run"), strict=True):
        for name, value in rows._asdict().items():
            np.testing.assert_array_equal(value, getattr(again, name), err_msg=name)
    with pytest.raises(UserError, match="could be labelled"):
        own_rows(tmp_path / "other")
