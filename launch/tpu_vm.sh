#!/usr/bin/env bash
# Any command of prm_jax on a Cloud TPU slice: makes the slice or takes the one of that name, copies this code, installs
# it, starts the same command on every worker, follows their logs, and fetches the run directory.
# usage: [VARIABLE=…] launch/tpu_vm.sh [--dry_run] [--delete] COMMAND [flags of `prm_jax COMMAND`]
#        [VARIABLE=…] launch/tpu_vm.sh [--dry_run] follow | fetch | stop | delete
#   --dry_run                prints every command and runs none
#   --delete                 deletes the slice once the run has ended and its directory is here
#   TPU_NAME=prm-jax         the slice, and the queued resource
#   TPU_TYPE=v5litepod-8     its type, for example v4-32, v5p-64, v6e-16
#   RUNTIME_VERSION=…        its image (default: Google's for that type)
#   ZONE=us-west4-a          where
#   PROJECT=                 Google Cloud project (default: gcloud's own)
#   SPOT=0                   1: cheaper, may be taken away
#   QUEUED=0                 1: as a queued resource, which waits until there is room
#   WAIT_MINUTES=60          how long to wait for the slice
#   POLL_SECONDS=20          how often to ask
#   RUN_DIR=runs/TPU_NAME    the run; gs://BUCKET/… where there are several workers, who write one checkpoint together
#   FETCH_TO=runs            the folder here that receives it
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/_env.sh

dry_run=0 delete_after=0
while [[ "${1:-}" == --* ]]; do
  case "$1" in
    --dry_run) dry_run=1 ;;
    --delete) delete_after=1 ;;
    --help) usage && exit 0 ;;
    *) fail "unknown option $1: --dry_run and --delete come first, flags of prm_jax after its command" ;;
  esac
  shift
done

default_image() {
  case "$TPU_TYPE" in
    v5litepod-*) echo v2-alpha-tpuv5-lite ;;
    v5p-*) echo v2-alpha-tpuv5 ;;
    v6e-*) echo v2-alpha-tpuv6e ;;
    *) echo tpu-ubuntu2204-base ;;
  esac
}

: "${TPU_NAME:=prm-jax}" "${TPU_TYPE:=v5litepod-8}" "${ZONE:=us-west4-a}" "${PROJECT:=}" "${SPOT:=0}" "${QUEUED:=0}"
: "${WAIT_MINUTES:=60}" "${POLL_SECONDS:=20}" "${RUN_DIR:=runs/$TPU_NAME}" "${FETCH_TO:=runs}"
check TPU_NAME '[a-z]([a-z0-9-]{0,38}[a-z0-9])?' 'small letters, digits and hyphens, 40 at most'
check TPU_TYPE '(v[234]|v5litepod|v5p|v6e)-[1-9][0-9]*' 'a type with its size, such as v5litepod-8 or v4-32'
: "${RUNTIME_VERSION:=$(default_image)}"
check RUNTIME_VERSION '[A-Za-z0-9._-]+' 'the name of an image'
check ZONE '[a-z]+-[a-z]+[0-9]+-[a-z]' 'a zone such as us-west4-a'
check PROJECT '|[a-z0-9.:-]+' 'the id of a project, or nothing'
check SPOT '[01]' '0 or 1'
check QUEUED '[01]' '0 or 1'
check WAIT_MINUTES '[1-9][0-9]{0,4}' 'a number of minutes'
check POLL_SECONDS '[1-9][0-9]{0,2}' 'a number of seconds'
check RUN_DIR '(gs://)?[A-Za-z0-9._][A-Za-z0-9._/-]*' 'a relative path without spaces, or gs://BUCKET/PATH'
check FETCH_TO '[^-].*' 'a folder'
[ $# -gt 0 ] || fail "no command: give one of prm_jax, for example run --gin_file=gin/quickstart.gin"
for word in "$@"; do
  [[ "$word" != --run_dir* ]] || fail "$word: set RUN_DIR instead, so that the run is found again"
done
[ "$dry_run" = 1 ] || command -v gcloud >/dev/null || fail "gcloud is not on the PATH: install the Google Cloud SDK"

where=(--zone="$ZONE" ${PROJECT:+--project="$PROJECT"})
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT

tpu() { # usage: tpu ACTION ARGUMENT…
  run gcloud compute tpus tpu-vm "$@" "${where[@]}"
}

on_workers() { # usage: on_workers 'shell command'
  tpu ssh "$TPU_NAME" --worker=all --command="$1"
}

state_of() { # usage: state_of tpu-vm|queued-resources FIELD    prints nothing where there is none of that name
  local answer
  if answer="$(gcloud compute tpus "$1" describe "$TPU_NAME" "${where[@]}" --format="value($2)" 2>"$scratch/error")"; then
    echo "$answer"
  elif ! grep -qi 'not.found' "$scratch/error"; then
    fail "gcloud does not tell the state of $TPU_NAME: $(tr '\n' ' ' <"$scratch/error")"
  fi
}

wait_for() { # usage: wait_for tpu-vm|queued-resources FIELD STATE
  local state deadline=$((SECONDS + 60 * WAIT_MINUTES))
  while true; do
    state="$(state_of "$1" "$2")"
    case "$state" in
      "$3") return ;;
      FAILED | SUSPENDED | SUSPENDING | PREEMPTED | TERMINATED | DELETING | '')
        fail "$TPU_NAME is ${state:-gone}: launch/tpu_vm.sh delete, then try again or elsewhere" ;;
    esac
    ((SECONDS < deadline)) || fail "$TPU_NAME is still $state after $WAIT_MINUTES minutes: wait longer, or delete it"
    echo "$TPU_NAME is $state, waiting for $3" >&2
    sleep "$POLL_SECONDS"
  done
}

create_slice() {
  local kind=tpu-vm field=state good=READY
  local make=(create "$TPU_NAME" --accelerator-type="$TPU_TYPE" --version="$RUNTIME_VERSION")
  if [ "$QUEUED" = 1 ]; then
    kind=queued-resources field=state.state good=ACTIVE
    make=(create "$TPU_NAME" --node-id="$TPU_NAME" --accelerator-type="$TPU_TYPE" --runtime-version="$RUNTIME_VERSION")
  fi
  [ "$SPOT" = 0 ] || make+=(--spot)
  if [ "$dry_run" = 1 ]; then
    quoted gcloud compute tpus "$kind" describe "$TPU_NAME" "${where[@]}" --format="value($field)"
    echo "# if there is none of that name:"
    quoted gcloud compute tpus "$kind" "${make[@]}" "${where[@]}"
    return
  fi
  local state
  state="$(state_of "$kind" "$field")"
  if [ -z "$state" ]; then
    gcloud compute tpus "$kind" "${make[@]}" "${where[@]}"
  elif [ "$state" = STOPPED ]; then
    tpu start "$TPU_NAME"
  fi
  wait_for "$kind" "$field" "$good"
}

# Each host keeps its part of a checkpoint where it wrote it, so a folder of one worker's disk will not do.
check_workers() {
  local ask=(describe "$TPU_NAME" --format='value(networkEndpoints.len())') workers
  if [ "$dry_run" = 1 ]; then
    tpu "${ask[@]}"
    return
  fi
  workers="$(tpu "${ask[@]}")"
  [ "$workers" = 1 ] || [[ "$RUN_DIR" == gs://* ]] ||
    fail "RUN_DIR='$RUN_DIR', expected gs://BUCKET/PATH: the $workers workers of $TPU_NAME write one run directory together"
}

copy_code() {
  local archive="$scratch/prm_jax.tar.gz"
  run tar --create --gzip --file="$archive" --exclude-vcs --exclude=./runs --exclude="./${PRM_JAX_VENV:-.venv}" \
    --exclude=./build --exclude=./dist --exclude=./.launch --exclude='.*_cache' --exclude=__pycache__ --exclude='*.egg-info' .
  tpu scp "$archive" "$TPU_NAME:prm_jax.tar.gz" --worker=all
  on_workers 'rm -rf prm_jax/prm_jax && mkdir -p prm_jax && tar --extract --gzip --file=prm_jax.tar.gz --directory=prm_jax'
}

follow() {
  on_workers 'bash prm_jax/launch/_worker.sh follow'
}

fetch() {
  local here
  here="$FETCH_TO/$(basename "$RUN_DIR")"
  run mkdir -p "$here"
  if [[ "$RUN_DIR" == gs://* ]]; then
    run gcloud storage rsync --recursive "$RUN_DIR" "$here" ${PROJECT:+--project="$PROJECT"}
  else
    tpu scp --recurse "$TPU_NAME:prm_jax/$RUN_DIR" "$FETCH_TO" --worker=0
  fi
}

delete_slice() {
  if [ "$QUEUED" = 1 ]; then
    run gcloud compute tpus queued-resources delete "$TPU_NAME" "${where[@]}" --force --quiet
  else
    tpu delete "$TPU_NAME" --quiet
  fi
}

case "$1" in
  follow) follow ;;
  fetch) fetch ;;
  stop) on_workers 'bash prm_jax/launch/_worker.sh stop' ;;
  delete) delete_slice ;;
  *)
    create_slice
    check_workers
    copy_code
    on_workers 'bash prm_jax/launch/_worker.sh install'
    on_workers "bash prm_jax/launch/_worker.sh start $(quoted "$@" --run_dir="$RUN_DIR")"
    status=0
    follow || status=$?
    # A connection that broke is no end of the run, and a slice is not deleted under one.
    [ "$status" = 0 ] || on_workers 'bash prm_jax/launch/_worker.sh ended' ||
      fail "lost sight of the run, which may be going on: launch/tpu_vm.sh follow, then fetch"
    fetch
    [ "$delete_after" = 0 ] || delete_slice
    exit "$status"
    ;;
esac
