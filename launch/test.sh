#!/usr/bin/env bash
# Installs the test extra, lints, type-checks and runs the tests.
# usage: launch/test.sh [--all] [arguments for pytest]     (--all adds the slow tests; -m download: SmolLM2's)
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/_env.sh
prepare_environment test

select=(-m "not slow")
if [ "${1:-}" = "--all" ]; then
  select=(-m "not download")
  shift
fi
ruff format --check .
ruff check .
mypy prm_jax
shellcheck -x launch/*.sh .ci/run
exec pytest --numprocesses=auto --dist=loadgroup "${select[@]}" "$@"
