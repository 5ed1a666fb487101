"""How well passing programs are written, for the reward `+quality`.

`verify.py` calls `measure` with the programs that passed. Only what the arm's `Quality` has a share in is computed;
cost takes two traced runs in the sandbox, the other measures read the text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from prm_jax.execution.grade import grade
from prm_jax.execution.sandbox import Sandbox
from prm_jax.ppo.quality import Quality
from prm_jax.problems.domain import CONSTRAINTS_FILE, domain_name
from prm_jax.problems.problem import Problem
from prm_jax.quality.constraints import Constraints, check_facts, load_constraints
from prm_jax.quality.cost import cost
from prm_jax.quality.finding import score
from prm_jax.quality.integrity import from_facts, given_names
from prm_jax.quality.walk import walk


def measure(
    samples: Sequence[tuple[Problem, str]],
    quality: Quality,
    sandbox: Sandbox,
    limits: Mapping[str, float] | None = None,
) -> list[tuple[float, ...]]:
    """Measures programs.

    Args:
      samples: problems with programs that pass their visible tests.
      quality: what is asked for.
      sandbox: where programs and references are traced, if cost is asked for.
      limits: CPU seconds of a call by problem id.

    Returns:
      For each program the values in the order of `quality.MEASURES`, each in [0, 1]. A cost that cannot be compared
      and the constraints of a problem that has none are 1: nothing speaks against the program.
    """
    rules = {domain_name(folder): load_constraints(f"{folder}/{CONSTRAINTS_FILE}") for folder in quality.domains}
    costs = _costs(samples, sandbox, limits) if quality.cost else [1.0] * len(samples)
    return [
        _static(problem, text, rules.get(problem.source), dear)
        for (problem, text), dear in zip(samples, costs, strict=True)
    ]


def _static(problem: Problem, text: str, rules: Constraints | None, dear: float) -> tuple[float, ...]:
    facts = walk(text)
    found = from_facts(facts, given_names(problem.entry_point, problem.setup))
    kept = 1.0 if rules is None else score(check_facts(facts, rules))
    return found.structure, found.naming, found.calls, dear, kept


def _costs(samples: Sequence[tuple[Problem, str]], sandbox: Sandbox, limits: Mapping[str, float] | None) -> list[float]:
    references = [(problem, problem.reference) for problem, _ in samples]
    # Equal programs of one call run once, so a group of samples shares its reference's run.
    verdicts = grade([*samples, *references], sandbox, hidden=False, limits=limits, trace=True)
    pairs = zip(verdicts[: len(samples)], verdicts[len(samples) :], strict=True)
    found = (cost(program, reference) for program, reference in pairs)
    return [1.0 if each is None else each.lines for each in found]
