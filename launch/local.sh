#!/usr/bin/env bash
# Any command of prm_jax on this machine's CPU, in one process or as a rehearsal of several hosts over loopback.
# usage: [VARIABLE=…] launch/local.sh [--dry_run] COMMAND [flags of `prm_jax COMMAND`]
#   PROCESSES=1    processes, each standing for one host; their lines are told apart by [number]
#   DEVICES=1      simulated CPU devices of each process
#   PORT=8480      where the processes meet, if there are several
#   PYTHON=python3, PRM_JAX_VENV=.venv    the interpreter and the virtual environment
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/_env.sh

take_options "$@"
shift "$taken"
: "${PROCESSES:=1}" "${DEVICES:=1}" "${PORT:=8480}"
check PROCESSES '[1-9][0-9]?' 'a number from 1 to 99'
check DEVICES '[1-9][0-9]{0,2}' 'a number from 1 to 999'
check PORT '[1-9][0-9]{3,4}' 'a port from 1024 on'
[ $# -gt 0 ] || fail "no command: give one of prm_jax, for example run --gin_file=gin/quickstart.gin"

prepare_environment ''
settings=(JAX_PLATFORMS=cpu "JAX_NUM_CPU_DEVICES=$DEVICES")
if [ "$PROCESSES" = 1 ]; then
  run env "${settings[@]}" prm_jax "$@"
  exit
fi
settings+=("PRM_JAX_COORDINATOR=127.0.0.1:$PORT" "PRM_JAX_PROCESSES=$PROCESSES")
running=()
trap 'kill -TERM "${running[@]}" 2>/dev/null || true' INT TERM
for ((process = 0; process < PROCESSES; process++)); do
  if [ "$dry_run" = 1 ]; then
    run env "${settings[@]}" "PRM_JAX_PROCESS=$process" prm_jax "$@"
    continue
  fi
  env "${settings[@]}" "PRM_JAX_PROCESS=$process" prm_jax "$@" > >(sed -u "s/^/[$process] /") 2>&1 &
  running+=($!)
done
status=0
for process in "${running[@]}"; do
  while true; do
    ended=0
    wait "$process" || ended=$?
    # A signal, which is passed on, ends `wait` before the process.
    kill -0 "$process" 2>/dev/null || break
  done
  [ "$ended" = 0 ] || status=$ended
done
exit "$status"
