"""A copy of the launch scripts, an environment that looks installed, and fakes of `gcloud`, `prm_jax` and others."""

import dataclasses
import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]

FAKE = """#!{python}
import json, os, pathlib, subprocess, sys

folder = pathlib.Path({folder!r})
name = os.path.basename(sys.argv[0])
chosen = {{key: os.environ[key] for key in sorted(os.environ) if key.startswith(("PRM_JAX_", "JAX_", "CUDA_"))}}
with open(folder / "calls.jsonl", "a") as log:
    log.write(json.dumps({{"words": [name, *sys.argv[1:]], "environment": chosen}}) + "\\n")
line = " ".join(sys.argv)
for rule in sorted((folder / "rules").glob("*.json")):
    match, answers = json.loads(rule.read_text())
    if match in line:
        status, out, err = answers[0]
        if len(answers) > 1:
            rule.write_text(json.dumps([match, answers[1:]]))
        sys.stdout.write(out)
        sys.stderr.write(err)
        sys.exit(status)
worker = folder / "worker"
if name == "gcloud" and worker.exists():
    # One worker, whose home is that folder.
    if "scp" in sys.argv and "--recurse" not in sys.argv:
        (worker / "prm_jax.tar.gz").write_bytes(pathlib.Path(sys.argv[5]).read_bytes())
    for word in sys.argv:
        if word.startswith("--command="):
            sys.exit(subprocess.run(["bash", "-c", word.removeprefix("--command=")], cwd=worker).returncode)
"""


@dataclasses.dataclass
class Place:
    """A tree with `launch/` in it, in which scripts are run with fakes in front of the PATH."""

    tree: pathlib.Path
    fakes: pathlib.Path

    def answer(self, match: str, *answers: tuple[int, str, str]) -> None:
        """Calls whose line has `match` in it end with these statuses, outputs and errors, the last one for ever."""
        rules = self.fakes / "rules"
        (rules / f"{len(list(rules.iterdir()))}.json").write_text(json.dumps([match, answers]))

    def run(self, script: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess:
        environment = {
            "PATH": f"{self.fakes / 'bin'}:{os.environ['PATH']}",
            "HOME": str(self.fakes),
            "PRM_JAX_VENV": str(self.fakes / "venv"),
            **variables,
        }
        # Never a real one: that would cost money.
        assert shutil.which("gcloud", path=environment["PATH"]) == str(self.fakes / "bin/gcloud")
        return subprocess.run(
            ["bash", str(self.tree / "launch" / script), *arguments],
            capture_output=True, text=True, env=environment, cwd=self.fakes, timeout=300,
        )  # fmt: skip

    def calls(self) -> list[dict]:
        """What the fakes were called with, in order."""
        log = self.fakes / "calls.jsonl"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    def lines(self) -> list[str]:
        return [" ".join(call["words"]) for call in self.calls()]

    def refused(self, script: str, *arguments: str, **variables: str) -> str:
        """Runs what must be refused: status 2, one line, nothing called; gives the line."""
        done = self.run(script, *arguments, **variables)
        assert done.returncode == 2, done
        assert done.stdout == "" and done.stderr.count("\n") == 1 and done.stderr.startswith(f"launch/{script}: ")
        assert self.calls() == []
        return done.stderr


@pytest.fixture
def place(tmp_path) -> Place:
    tree, fakes = tmp_path / "tree", tmp_path / "fakes"
    shutil.copytree(ROOT / "launch", tree / "launch")
    shutil.copy(ROOT / "setup.cfg", tree)
    for folder in (fakes / "bin", fakes / "rules", fakes / "venv/bin"):
        folder.mkdir(parents=True)
    for path in (fakes / "bin/gcloud", fakes / "bin/nvidia-smi", fakes / "venv/bin/prm_jax", fakes / "venv/bin/python"):
        path.write_text(FAKE.format(python=sys.executable, folder=str(fakes)))
        path.chmod(0o755)
    for extra in ("", "cuda", "tpu"):
        (fakes / f"venv/.prm_jax-{extra}").touch()
    return Place(tree, fakes)
