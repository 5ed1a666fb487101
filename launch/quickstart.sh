#!/usr/bin/env bash
# The whole pipeline on the synthetic domain, on a laptop CPU: problems, labels, SFT, PRM, PPO, evaluation, report.
# usage: launch/quickstart.sh [--run_dir=DIR] [any other flag of `prm_jax run`]
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/_env.sh
prepare_environment ''
exec prm_jax run --gin_file=gin/quickstart.gin "$@"
