"""What the PRM is judged on."""

import pytest

from prm_jax.errors import UserError
from prm_jax.evaluation.samples import GradedSample, write_samples
from prm_jax.execution.verdict import Outcome
from prm_jax.problems.synthetic import SyntheticSource
from prm_jax.stages.evaluate import _own_programs
from prm_jax.stages.experiment import Experiment, ProblemSets
from prm_jax.stages.run_directory import RunDirectory


def test_programs_for_a_problem_that_has_gone_are_refused(tmp_path):
    sets = ProblemSets((SyntheticSource("train", 2, 2, 2),), evaluation=(SyntheticSource("test", 2, 2, 2),))
    run = RunDirectory(str(tmp_path))
    write_samples(run.folder("evaluate/sft"), [GradedSample("p/0", 1, "pass\n", Outcome.PASSED, True, 1, 1, 0)])
    with pytest.raises(UserError, match=r"evaluate/sft holds programs for p/0, .* or delete the folder"):
        _own_programs(Experiment("toy", sets), run)
