#!/usr/bin/env bash
# What launch/tpu_vm.sh has every worker of a slice do, in the copy of the code that lies there.
# usage: launch/_worker.sh install | start COMMAND [FLAGS] | follow | ended | stop
# A run goes on when the connection breaks; launch/ keeps its process number, log and exit status for `follow`.
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/_env.sh
state=.launch
mkdir -p "$state"

is_running() {
  [ -e "$state/pid" ] && kill -0 "$(cat "$state/pid")" 2>/dev/null
}

# TPU VM images bring an older Python: one that will do, or else one that uv fetches.
find_python() {
  local name
  for name in "${PYTHON:-python3.12}" python3.12 python3.11; do
    if "$name" -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$name"
      return
    fi
  done
  python3 -m pip install --quiet --user uv
  python3 -m uv python install --quiet 3.12
  python3 -m uv python find 3.12
}

case "${1:-}" in
  install)
    [ -x "${PRM_JAX_VENV:-.venv}/bin/python" ] || PYTHON="$(find_python)"
    prepare_environment tpu
    ;;
  start)
    shift
    is_running && fail "a run is going on on $(hostname): follow it, or stop it first"
    prepare_environment tpu
    rm -f "$state/status"
    # No falling back to the CPU: a worker without its chips is to say so.
    export PRM_JAX_COORDINATOR=tpu JAX_PLATFORMS="${JAX_PLATFORMS:-tpu,cpu}"
    # The shell in between outlives the run by its exit status; a session of its own, so that `stop` reaches both.
    setsid bash -c 'trap : TERM; prm_jax "$@"; echo $? >.launch/status' run "$@" >"$state/log" 2>&1 </dev/null &
    echo $! >"$state/pid"
    ;;
  follow)
    [ -e "$state/pid" ] || fail "nothing was started on $(hostname)"
    tail --lines=+1 --follow --sleep-interval=1 --pid="$(cat "$state/pid")" "$state/log" | sed -u "s/^/[$(hostname)] /"
    exit "$(cat "$state/status" 2>/dev/null || echo 1)"
    ;;
  ended)
    ! is_running
    ;;
  stop)
    is_running || exit 0
    kill -TERM -- "-$(cat "$state/pid")"
    ;;
  *)
    fail "'${1:-}' is none of install, start, follow, ended, stop"
    ;;
esac
