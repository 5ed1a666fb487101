"""What `hosts_test.py` starts as one process or several: PPO on a toy, with real programs, on a mesh of four devices.

usage: python on_hosts.py DIRECTORY
"""

import functools
import json
import pathlib
import sys

import jax
from loop_test import CONFIG, MODEL, ONLINE, WANTED, ToyTokenizer, run

from prm_jax.execution.sandbox import Sandbox, SandboxConfig
from prm_jax.labelling.label import LabelConfig
from prm_jax.models.policy import boxed_policy, boxed_scorer
from prm_jax.parallel.mesh import MeshConfig, make_mesh
from prm_jax.parallel.processes import joined
from prm_jax.parallel.shardings import sharded_init
from prm_jax.ppo.verify import verify
from prm_jax.problems.problem import Problem, Test


class Programs(ToyTokenizer):
    """Each token is a whole function that gives its digit; the last one of a program counts."""

    def decode(self, ids):
        return "".join(self.token_bytes(i).decode() for i in ids)

    def token_bytes(self, token_id):
        return f"def f():\n    return {token_id}\n".encode() if token_id > 2 else b""


REFERENCE = f"def f():\n    return {WANTED}\n"
PROBLEMS = [Problem(f"toy/{i}", "toy", "train", "", "f", REFERENCE, (Test("f()", WANTED),)) for i in range(4)]


def train(folder: str) -> None:
    """Four updates with a PRM that follows; which problems this host verified goes to `verified-<host>.jsonl`."""
    mesh = make_mesh(MeshConfig(data=1, fsdp=4))
    log = pathlib.Path(folder) / f"verified-{jax.process_index()}.jsonl"
    # A busy machine may be slow; how slow is not what is tested here.
    labels = LabelConfig(min_cpu_seconds=5.0)
    with jax.set_mesh(mesh), Sandbox(SandboxConfig(workers=1)) as sandbox, log.open("a") as file:

        def note_and_verify(problems, texts, exact):
            print(json.dumps([problem.id for problem in problems]), file=file)
            return verify(problems, texts, exact, sandbox=sandbox, config=labels)

        policy, scorer = (
            sharded_init(functools.partial(boxed, MODEL), jax.random.key(0), mesh)
            for boxed in (boxed_policy, boxed_scorer)
        )
        run(
            folder, CONFIG, ONLINE, note_and_verify, policy_params=policy, reference_params=policy,
            scorer_params=scorer, problems=PROBLEMS, tokenizer=Programs(),
        )  # fmt: skip


if __name__ == "__main__":
    with joined(dict):
        train(sys.argv[1])
