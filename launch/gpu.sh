#!/usr/bin/env bash
# Any command of prm_jax on the NVIDIA GPUs of this machine. With several machines: the same line on each, but PROCESS.
# usage: [VARIABLE=…] launch/gpu.sh [--dry_run] COMMAND [flags of `prm_jax COMMAND`]
#   GPUS=             which of the GPUs, for example 0,1 (default: all)
#   COORDINATOR=      HOST:PORT of machine 0, if there are several
#   PROCESSES=1       how many machines
#   PROCESS=0         which of them this is, from 0
#   PYTHON=python3, PRM_JAX_VENV=.venv    the interpreter and the virtual environment
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/_env.sh

take_options "$@"
shift "$taken"
: "${GPUS:=}" "${COORDINATOR:=}" "${PROCESSES:=1}" "${PROCESS:=0}"
check GPUS '|[0-9]+(,[0-9]+)*' 'numbers with commas between them, or nothing'
check COORDINATOR '|[A-Za-z0-9._-]+:[0-9]+' 'HOST:PORT, or nothing'
check PROCESSES '[1-9][0-9]{0,3}' 'a number from 1 on'
check PROCESS '0|[1-9][0-9]{0,3}' 'a number from 0 on'
((PROCESS < PROCESSES)) || fail "PROCESS=$PROCESS, expected less than PROCESSES=$PROCESSES: they count from 0"
[ "$PROCESSES" = 1 ] || [ -n "$COORDINATOR" ] || fail "PROCESSES=$PROCESSES but no COORDINATOR: set HOST:PORT of machine 0"
[ $# -gt 0 ] || fail "no command: give one of prm_jax, for example run --gin_file=gin/quickstart.gin"

# Without a driver JAX would fall back to the CPU with no more than a warning.
if [ "$dry_run" = 0 ] && ! nvidia-smi --list-gpus >/dev/null 2>&1; then
  fail "nvidia-smi finds no GPU here: install NVIDIA's driver, or use launch/local.sh"
fi
prepare_environment cuda
settings=("JAX_PLATFORMS=cuda,cpu")
[ -z "$GPUS" ] || settings+=("CUDA_VISIBLE_DEVICES=$GPUS")
if [ "$PROCESSES" -gt 1 ]; then
  settings+=("PRM_JAX_COORDINATOR=$COORDINATOR" "PRM_JAX_PROCESSES=$PROCESSES" "PRM_JAX_PROCESS=$PROCESS")
fi
run env "${settings[@]}" prm_jax "$@"
