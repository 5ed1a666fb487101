# shellcheck shell=bash
# Sourced by the launch scripts, in the clone's root: refusing, telling what is run, checking variables, options, and
# the virtual environment.

# A mistake of the caller's: one line, exit status 2.
fail() {
  echo "launch/$(basename "$0"): $*" >&2
  exit 2
}

# One command as a line that a shell takes back; only words that need quotes get them.
quoted() {
  local word line=''
  for word in "$@"; do
    [[ "$word" =~ ^[A-Za-z0-9_./:=@%+,-]+$ ]] || word="${word@Q}"
    line+="${line:+ }$word"
  done
  printf '%s\n' "$line"
}

# Runs a command; under --dry_run prints it instead.
run() {
  if [ "${dry_run:-0}" = 1 ]; then quoted "$@"; else "$@"; fi
}

# usage: check NAME PATTERN 'what is expected'    (the variable NAME must match the whole of the extended expression)
check() {
  [[ "${!1}" =~ ^($2)$ ]] || fail "$1='${!1}', expected $3: set it in front of the command, $1=… launch/$(basename "$0")"
}

# Prints the comment that stands at the head of the calling script.
usage() {
  sed -n '2,/^[^#]/{s/^# \{0,1\}//p}' "$0"
}

# usage: take_options "$@"; shift "$taken"
# --dry_run sets dry_run, --help prints the comment at the head and ends.
take_options() {
  dry_run=0
  if [ "${1:-}" = --dry_run ]; then dry_run=1 && shift; fi
  if [ "${1:-}" = --help ]; then usage && exit 0; fi
  # shellcheck disable=SC2034  # For the caller.
  taken=$dry_run
}

# usage: prepare_environment EXTRA,...    (an empty word for none)
# Makes .venv beside the code if it is not there, installs the package into it, and puts it in front of the PATH. Python
# compiles what it imports; pip would compile all of TensorFlow.
prepare_environment() {
  local extras="${1:-}" python="${PYTHON:-python3}" venv="${PRM_JAX_VENV:-.venv}"
  if [ "${dry_run:-0}" = 1 ]; then
    quoted "$python" -m venv "$venv"
    quoted "$venv/bin/python" -m pip install --quiet --no-compile --disable-pip-version-check --editable ".${extras:+[$extras]}"
    return
  fi
  if [ ! -x "$venv/bin/python" ]; then
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
      fail "prm_jax needs Python 3.11 or newer, and '$python' is not; set PYTHON=/path/to/python3.11"
    "$python" -m venv "$venv"
  fi
  local stamp="$venv/.prm_jax-$extras"
  if [ ! -e "$stamp" ] || [ setup.cfg -nt "$stamp" ]; then
    "$venv/bin/python" -m pip install --quiet --no-compile --disable-pip-version-check --editable ".${extras:+[$extras]}"
    touch "$stamp"
  fi
  PATH="$(cd "$venv/bin" && pwd):$PATH"
  export PATH
}
