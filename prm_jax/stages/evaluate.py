"""Stage `evaluate`: trained policies and scorers in, results out: pass@k of each policy, and how the PRM judges.

Every policy is sampled on the same held-out problems with the same seeds and graded on all tests; so is the published
checkpoint that a run starts from, as it came, and once more with examples in its prompts where there are any. Where
`GuidedConfig.evaluated` names methods, the SFT policy is evaluated once more with each, one program for each problem.
The PRM is judged on held-out mutants and, apart from them, on the SFT policy's own programs.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from etils import epath

from prm_jax.errors import UserError
from prm_jax.evaluation import plain
from prm_jax.evaluation.prm_eval import evaluate_prm
from prm_jax.evaluation.prm_pairs import write_judged
from prm_jax.evaluation.results import PolicyResult, policy_result
from prm_jax.evaluation.samples import draw_samples, read_samples, write_samples
from prm_jax.evaluation.score import ScoredProgram, score_programs
from prm_jax.execution.grade import grade, reference_limits
from prm_jax.execution.sandbox import Sandbox
from prm_jax.guided.config import check_varied
from prm_jax.labelling.label import label_samples
from prm_jax.labelling.labelled_program import LabelledProgram
from prm_jax.parallel.hosts import divided
from prm_jax.parallel.processes import is_first
from prm_jax.report.table import results_table
from prm_jax.stages.experiment import Experiment, guided_name
from prm_jax.stages.guided import guided_policy, scorer_of
from prm_jax.stages.label import labelled_programs
from prm_jax.stages.pretrained import first_policy
from prm_jax.stages.prm import SCORE_BATCH
from prm_jax.stages.problem_sets import problems_of
from prm_jax.stages.run_directory import RunDirectory
from prm_jax.stages.workbench import (
    load_policy,
    load_scorer,
    load_tokenizer,
    mesh_of,
    model_config,
    token_scorer,
    writer_of,
)
from prm_jax.text.step_map import prompt_ids
from prm_jax.training.progress import Progress

OWN_SAMPLES_PER_PROBLEM = 4
"""Of the samples drawn for pass@k, those that the PRM is judged on: tracing costs more than grading."""
SHOWN_PROGRAMS = 24


@dataclasses.dataclass(frozen=True)
class Policy:
    """A row of the result table.

    Attributes:
      name: what the row is called.
      stage: the stage that trained it; None for the published checkpoint as it came.
      asked: the field of `ProblemSets` that it is asked.
      method: how it is guided; None where it is not.
    """

    name: str
    stage: str | None
    asked: str = "evaluation"
    method: str | None = None


def evaluate(experiment: Experiment, run_dir: str) -> None:
    """Evaluates all policies that are there, and the PRM, into `<run_dir>/evaluate/…`, and prints the table."""
    run = RunDirectory(run_dir)
    run.check("tasks", pretrained={"chat": experiment.pretrained.chat})
    for method in experiment.guided.evaluated:
        check_varied(method, experiment.evaluation.temperature == 0)
    policies = [Policy(name, None, part) for name, part in base_policies(experiment).items()]
    stages = [f"ppo/{arm.name}" for arm in experiment.arms if run.is_done(f"ppo/{arm.name}")]
    if run.is_done("sft") or not policies:  # A published checkpoint can be evaluated before anything is trained.
        stages.insert(0, "sft")
    policies += [Policy(stage.removeprefix("ppo/"), stage) for stage in stages]
    for policy in policies:
        configuration = {
            "policy": run.fingerprint_of(policy.stage) if policy.stage else experiment.pretrained,
            "problems": getattr(experiment.problems, policy.asked),
            **_how_asked(experiment),
        }
        run.stage(
            f"evaluate/{policy.name}", configuration, functools.partial(_evaluate_policy, experiment, run, policy)
        )
    for method in experiment.guided.evaluated:
        name = guided_name(method)
        configuration = {
            "policy": run.fingerprint_of("sft"),
            "scorer": run.fingerprint_of(scorer) if (scorer := scorer_of(method)) else None,
            "problems": experiment.problems.evaluation,
            **_how_asked(experiment),
            "guided": dataclasses.replace(experiment.guided, evaluated=(method,)),
        }
        work = functools.partial(_evaluate_policy, experiment, run, Policy(name, "sft", method=method))
        run.stage(f"evaluate/{name}", configuration, work)
    if run.is_done("prm"):
        configuration = {
            "prm": run.fingerprint_of("prm"),
            "blind": run.fingerprint_of("prm_blind"),
            "samples": run.fingerprint_of("evaluate/sft"),
        }
        run.stage("evaluate/prm", configuration, functools.partial(_evaluate_prm, experiment, run))
    if is_first():
        print(results_table(policy_results(experiment, run)))


def _how_asked(experiment: Experiment) -> dict[str, Any]:
    """What a policy's programs depend on beside the policy and the problems: a longer prompt may be one more answer."""
    return {
        "evaluation": experiment.evaluation,
        "sampling": experiment.sampling,
        "text": experiment.text,
        "dtype": experiment.model.dtype,
    }


def policy_results(experiment: Experiment, run: RunDirectory) -> tuple[PolicyResult, ...]:
    """The results of every policy evaluated so far."""
    names = policy_names(experiment)
    return tuple(
        plain.load(PolicyResult, run.folder(f"evaluate/{name}") / "result.json")
        for name in names
        if run.is_done(f"evaluate/{name}")
    )


def policy_names(experiment: Experiment) -> list[str]:
    """The rows of the result table: the published checkpoint, SFT, SFT guided, the arms."""
    return [
        *base_policies(experiment),
        "sft",
        *map(guided_name, experiment.guided.evaluated),
        *(arm.name for arm in experiment.arms),
    ]


def base_policies(experiment: Experiment) -> dict[str, str]:
    """The rows of the published checkpoint, none where there is none, each with the `ProblemSets` that it is asked."""
    if not experiment.pretrained.path:
        return {}
    return {"base": "evaluation"} | ({"base_few_shot": "few_shot"} if experiment.problems.few_shot else {})


def _evaluate_policy(experiment: Experiment, run: RunDirectory, policy: Policy, folder: epath.Path) -> dict[str, Any]:
    config, tokenizer = experiment.evaluation, load_tokenizer(run)
    writer = dataclasses.replace(
        writer_of(experiment, tokenizer, config.temperature),
        say=lambda line: print(f"evaluate {policy.name}: {line}", flush=True),
    )
    if config.stop is not None:
        writer = dataclasses.replace(writer, sampling=dataclasses.replace(writer.sampling, stop=config.stop))
    problems = problems_of(experiment.problems, policy.asked)
    if policy.asked == "few_shot":  # `TextConfig` knows the prompts that policies are trained on.
        longest = max(len(prompt_ids(problem.prompt, tokenizer)) for problem in problems)
        writer = dataclasses.replace(writer, max_prompt=longest)
        new, context = writer.sampling.max_new_tokens, writer.model.context
        if context is not None and longest + new > context:
            raise UserError(
                f"the longest few-shot prompt has {longest} tokens, with SamplingConfig.max_new_tokens {new} more than "
                f"the model's context of {context}: lower it, or empty ProblemSets.few_shot"
            )
    programs = len(problems) * (config.samples_per_problem if policy.method is None else experiment.guided.candidates)
    with (
        mesh_of(experiment) as mesh,
        Sandbox(experiment.sandbox) as sandbox,
        Progress(f"evaluate {policy.name}", programs) as progress,
    ):
        writer = dataclasses.replace(writer, progress=progress.add)
        if policy.stage is None:
            params = first_policy(experiment, writer.model, mesh)
        else:
            params = load_policy(experiment, run, policy.stage, writer.model, mesh)
        limits = reference_limits(problems, sandbox)
        complete = writer.complete(params)
        if policy.method is not None:
            config = dataclasses.replace(config, samples_per_problem=1)
            complete = guided_policy(experiment, run, writer, params, policy.method, sandbox, mesh)
        samples = draw_samples(
            problems,
            complete,
            lambda pairs: divided(lambda own: grade(pairs[own], sandbox, hidden=True, limits=limits), len(pairs)),
            lambda text: len(tokenizer.encode(text)),
            config,
        )
    result = policy_result(policy.name, samples, seed=config.seed, resamples=config.resamples)
    if is_first():
        write_samples(folder, samples)
        plain.save(result, folder / "result.json")
    return {"pass_at_1": result.pass_at_1.value, "pass_at_10": result.pass_at_10.value}


def _evaluate_prm(experiment: Experiment, run: RunDirectory, folder: epath.Path) -> dict[str, Any]:
    config, tokenizer = experiment.evaluation, load_tokenizer(run)
    model = model_config(experiment, tokenizer)
    score = functools.partial(
        score_programs, tokenizer=tokenizer, max_length=experiment.text.max_length, batch_size=SCORE_BATCH
    )
    mutants = labelled_programs(run, "test")
    programs = _own_programs(experiment, run)
    with mesh_of(experiment) as mesh:
        prm = token_scorer(load_scorer(experiment, run, "prm", model, mesh), model)
        twin = token_scorer(load_scorer(experiment, run, "prm_blind", model, mesh), model)
        own, judged, blind = score(prm, programs), score(prm, mutants), score(twin, mutants, prompt=False)
    result = evaluate_prm(
        "prm",
        judged,
        own,
        blind,
        threshold=config.first_wrong_threshold,
        seed=config.seed,
        resamples=config.resamples,
    )
    if is_first():
        plain.save(result, folder / "result.json")
        plain.save(tuple(_to_show(own, config.seed)), folder / "programs.json")
        write_judged(judged, folder)
    return {
        "mutant_auc": result.mutant_auc,
        "blind_auc": result.blind_auc,
        "own_auc": result.own.auc.value,
        "own_auc_low": result.own.auc.low,
        "first_wrong_mutants": result.mutants.localisation.accuracy,
        "first_wrong_own": result.own.localisation.accuracy,
    }


def _own_programs(experiment: Experiment, run: RunDirectory) -> list[LabelledProgram]:
    """Programs that the SFT policy wrote for held-out problems, labelled by the interpreter.

    Raises:
      UserError: it was evaluated on a problem that is not among those of the experiment.
    """
    problems = {problem.id: problem for problem in problems_of(experiment.problems, "evaluation")}
    folder = run.folder("evaluate/sft")
    samples = read_samples(folder)
    if missing := [sample.problem_id for sample in samples if sample.problem_id not in problems]:
        raise UserError(
            f"{folder} holds programs for {missing[0]}, which is not among the evaluation problems: give those that "
            "SFT was evaluated on, or delete the folder to evaluate it again"
        )
    per_problem = experiment.evaluation.samples_per_problem
    chosen = [s for index, s in enumerate(samples) if index % per_problem < OWN_SAMPLES_PER_PROBLEM]
    with Sandbox(experiment.sandbox) as sandbox:
        pairs = [(problems[s.problem_id], s.text) for s in chosen]
        labelled = divided(lambda own: label_samples(pairs[own], sandbox, experiment.labels), len(pairs))
    return [row for row in labelled if row is not None]


def _to_show(own: Sequence[ScoredProgram], seed: int) -> list[ScoredProgram]:
    """A random choice, half of it programs that failed, so that nothing is picked by hand."""
    order = np.random.default_rng(seed).permutation(len(own))
    halves = ([own[i] for i in order if own[i].labelled.passed == passed] for passed in (False, True))
    return [row for half in halves for row in half[: SHOWN_PROGRAMS // 2]]
