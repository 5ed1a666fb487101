"""Starts the supervisor in a bare interpreter: `python -P -s -S boot.py CONFIG`.

Comes in: a JSON configuration as the only argument, frames on standard input. Goes out: frames on standard output.
`sandbox.py` executes this file by its path. It stands in for the package with an empty module, so that the files of
this room import each other without the package's own `__init__` and without `site-packages` on the path.
"""

from __future__ import annotations

import json
import os
import sys
import types


def main() -> None:
    """Makes this folder importable as `prm_jax.execution` and nothing else, then supervises until the input ends."""
    here = os.path.dirname(os.path.abspath(__file__))
    for name, path in (("prm_jax", []), ("prm_jax.execution", [here])):
        package = types.ModuleType(name)
        package.__path__ = path
        sys.modules[name] = package
    from prm_jax.execution import supervisor

    supervisor.main(json.loads(sys.argv[1]))


if __name__ == "__main__":
    main()
