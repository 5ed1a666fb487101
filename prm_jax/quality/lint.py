"""What ruff says of programs, many at once: more rules than the measures have, for reports.

Comes in: program texts. Goes out: `Finding`s of measure `"lint"`. One process of ruff reads all files, which costs less
than a tenth of a millisecond for each; one process per program would cost several. Called by whoever reports; ruff is
the extra `lint`.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from prm_jax.errors import UserError
from prm_jax.quality.finding import Finding

RULES = ("B", "C4", "E7", "F", "FURB", "N", "PERF", "PIE", "PLE", "RET", "SIM")
"""Families of rules: likely bugs, comprehensions, statements, names, refurb, naming, speed, returns, simplification."""

WEIGHT = 0.25


def lint(texts: Sequence[str], rules: Sequence[str] = RULES) -> list[tuple[Finding, ...]]:
    """Runs ruff on programs.

    Args:
      texts: the programs; broken ones have a finding of rule `"invalid-syntax"`.
      rules: ruff's codes or beginnings of codes.

    Returns:
      The findings of each program, in the order of its lines, each of weight 0.25.

    Raises:
      UserError: ruff is not installed, or does not know a rule.
    """
    if importlib.util.find_spec("ruff") is None:
        raise UserError('linting needs ruff: pip install "prm_jax[lint]"')
    with tempfile.TemporaryDirectory(prefix="prm_jax-") as folder:
        for index, text in enumerate(texts):
            (Path(folder) / f"{index}.py").write_bytes(text.encode("utf-8", "surrogatepass"))
        options = ["--isolated", "--no-cache", "--exit-zero", "--ignore-noqa", "--output-format=json"]
        options.append(f"--select={','.join(rules)}")
        done = subprocess.run(
            [sys.executable, "-m", "ruff", "check", *options, folder], capture_output=True, text=True, check=False
        )
    if done.returncode:
        raise UserError(f"{' '.join(done.stderr.split())[:300]}; give rules that this ruff knows")
    found: list[list[Finding]] = [[] for _ in texts]
    for row in json.loads(done.stdout):
        rule = row["code"] or "invalid-syntax"
        finding = Finding("lint", rule, row["location"]["row"], WEIGHT, row["message"])
        found[int(Path(row["filename"]).stem)].append(finding)
    return [tuple(sorted(own, key=lambda finding: (finding.line, finding.rule))) for own in found]
