# shellcheck shell=bash
# Sourced by the launch scripts: makes .venv beside the code if it is not there, and installs the package into it.
# usage: source launch/_env.sh; prepare_environment EXTRA,...    (an empty word for none)

prepare_environment() {
  local extras="${1:-}" python="${PYTHON:-python3}" venv="${PRM_JAX_VENV:-.venv}"
  if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "prm_jax needs Python 3.11 or newer, and '$python' is not; set PYTHON=/path/to/python3.11" >&2
    exit 2
  fi
  [ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
  local stamp="$venv/.prm_jax-$extras"
  if [ ! -e "$stamp" ] || [ setup.cfg -nt "$stamp" ]; then
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable ".${extras:+[$extras]}"
    touch "$stamp"
  fi
  PATH="$(cd "$venv/bin" && pwd):$PATH"
  export PATH
}
