#!/usr/bin/env bash
# Makes .venv with everything Segue needs, or brings it up to date.
#
#   scripts/setup.sh                 set up; says and does nothing when nothing changed
#   scripts/setup.sh --check         say whether set-up is current; exit 0 if so, else 1
#   scripts/setup.sh --find-python   print the Python 3.10 that set-up would use
#
# PYTHON=/path/to/python3.10 chooses the interpreter. Needs no root. A set-up
# that was cut off leaves no stamp, so the next one starts over.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
cd "$ROOT"

CONSTRAINTS=constraints-py310.txt
VENV_PYTHON=.venv/bin/python
LOG=.venv/setup.log
# Holds a digest of what the set-up was made from, or `unfinished` while one is
# at work. Without this file, a .venv is somebody else's and is not deleted.
STAMP=.venv/.segue-setup
NEEDED_GB=5

# Each of these would send bytecode, imports or installed files elsewhere.
unset PYTHONDONTWRITEBYTECODE PYTHONPATH PYTHONHOME PIP_TARGET PIP_PREFIX PIP_USER

# The environment to be made must not be made from itself: neither by name nor
# by a pyenv shim that goes on to the next python3.10 of the PATH.
outside_venv() {
  local folder kept=''
  local IFS=:
  for folder in $PATH; do
    if [ -n "$folder" ] && ! [ "$folder" -ef .venv/bin ]; then kept=$kept:$folder; fi
  done
  PATH=${kept#:}
}

say() { printf 'set-up: %s\n' "$*"; }
complain() { printf 'set-up: %s\n' "$*" >&2; }

has() { command -v "$1" >/dev/null 2>&1; }

# ---- Which Python -----------------------------------------------------------

# A file called python3.10 proves nothing: a pyenv shim may stand there for a
# version that is not chosen. Only what runs and says 3.10 counts.
is_python_310() {
  [ "$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null </dev/null)" = 3.10 ]
}

candidates() {
  type -aP python3.10 python3 python || true
  if has uv; then uv python find --system --no-project 3.10 2>/dev/null </dev/null || true; fi
  local versions
  for versions in "${PYENV_ROOT:-}/versions" "${HOME:-}/.pyenv/versions"; do
    printf '%s\n' "$versions"/3.10.*/bin/python | sort -rV
  done
}

# Debian's python3.10 comes without the part that makes environments; uv does
# not need it.
can_make_venv() { has uv || "$1" -c 'import ensurepip, venv' >/dev/null 2>&1 </dev/null; }

# Sets FOUND.
find_python() {
  FOUND=
  outside_venv
  local candidate without_venv=
  if [ -n "${PYTHON:-}" ]; then
    if candidate=$(type -P "$PYTHON") && ! [ "${candidate%/*}" -ef .venv/bin ] &&
      is_python_310 "$candidate" && can_make_venv "$candidate"; then
      FOUND=$candidate
      return 0
    fi
    complain "PYTHON=$PYTHON is not a Python 3.10 that can make environments; looking further"
  fi
  while IFS= read -r candidate; do
    [ -x "$candidate" ] || continue
    is_python_310 "$candidate" || continue
    if can_make_venv "$candidate"; then
      FOUND=$candidate
      return 0
    fi
    without_venv=$candidate
  done < <(candidates)
  if [ -n "$without_venv" ]; then
    complain "$without_venv is a Python 3.10 without its venv module (Debian, Ubuntu: apt install python3.10-venv)"
  fi
  cat >&2 <<'END'
set-up: Segue needs Python 3.10, and none was found. Any one of these gets it:
          uv python install 3.10
          pyenv install 3.10
          conda create -n py310 python=3.10    then: conda run -n py310 make setup
        Or name one that is there: make setup PYTHON=/path/to/python3.10
END
  return 1
}

# ---- Is there anything to do ------------------------------------------------

# Of all that decides what lies in .venv: its Python, its place (scripts in
# .venv/bin name it), the requirements, the pins and this script.
digest() {
  "$VENV_PYTHON" -I -S -c '
import hashlib, sys
digest = hashlib.sha256("\n".join([sys.version, *sys.argv[1:]]).encode())
for name in sys.argv[2:]:
    with open(name, "rb") as file:
        digest.update(b"\0" + file.read())
print(digest.hexdigest())
' "$ROOT" setup.py pyproject.toml "$CONSTRAINTS" scripts/setup.sh 2>/dev/null </dev/null
}

missing_command() {
  local name
  for name in pip segue pytest ruff mypy; do
    if [ ! -x ".venv/bin/$name" ]; then
      echo ".venv/bin/$name"
      break
    fi
  done
}

stamp() { cat "$STAMP" 2>/dev/null || true; }

# Prints why set-up has work to do; nothing when it has none.
what_is_stale() {
  local now
  if [ ! -e .venv ]; then
    echo "there is no .venv"
  elif [ ! -e "$STAMP" ]; then
    echo ".venv was not made by this script"
  elif [ "$(stamp)" = unfinished ]; then
    echo "the last set-up did not finish"
  elif ! now=$(digest); then
    echo "the Python in .venv does not run"
  elif [ "$now" != "$(stamp)" ]; then
    echo "requirements, pins, Python or the checkout's place changed"
  elif [ -n "$(missing_command)" ]; then
    echo "$(missing_command) is missing"
  fi
}

# ---- The work ---------------------------------------------------------------

WORKER=

# Output to the log; in the background, so that a signal is acted on at once.
logged() {
  printf '\n$ %s\n' "$*" >>"$LOG"
  "$@" >>"$LOG" 2>&1 </dev/null &
  WORKER=$!
  local status=0
  wait "$WORKER" || status=$?
  WORKER=
  return "$status"
}

interrupted() {
  trap - INT TERM HUP
  if [ -n "$WORKER" ]; then
    kill "$WORKER" 2>/dev/null || true
    wait "$WORKER" 2>/dev/null || true
  fi
  complain "interrupted; the next set-up starts over"
  exit 130
}

fail() {
  complain "these are the last lines of $LOG:"
  tail -n 20 "$LOG" | sed 's/^/  | /' >&2
  complain "$1"
  exit 1
}

one_at_a_time() {
  has flock || return 0
  # The script itself is the lock: nothing to create, nothing left behind. What
  # a killed set-up left running holds it until it ends.
  exec 9<scripts/setup.sh
  if ! flock -n 9; then
    say "another set-up is at work in this checkout; waiting for it"
    flock 9 || true
  fi
}

enough_disk() {
  local free_kb
  free_kb=$(df -Pk . 2>/dev/null | awk 'NR == 2 { print $4 }') || return 0
  case $free_kb in '' | *[!0-9]*) return 0 ;; esac
  if [ "$free_kb" -lt $((NEEDED_GB * 1024 * 1024)) ]; then
    complain "too little disk: $((free_kb / 1024)) MB are free in $ROOT, and set-up needs $NEEDED_GB GB"
    return 1
  fi
}

# One of TFX's requirements (pyfarmhash) comes as C++ source.
can_compile() {
  if ! has g++ && ! has c++ && ! has "${CXX:-c++}"; then
    complain "a C++ compiler is needed and none was found (Debian, Ubuntu: apt install g++)"
    return 1
  fi
  if ! "$1" -c 'import os, sys, sysconfig
sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' </dev/null; then
    complain "$1 has no Python.h, needed to compile (Debian, Ubuntu: apt install python3.10-dev)"
    return 1
  fi
}

# Whether what stands in .venv can be brought up to date: a Python 3.10 with pip,
# made at this place (scripts in .venv/bin name it), and, if it is ours, whole:
# an installer that finds a package listed does not look for its files.
can_be_updated() {
  [ "$(stamp)" != unfinished ] &&
    is_python_310 "$VENV_PYTHON" &&
    [ -x .venv/bin/pip ] &&
    head -n 3 .venv/bin/pip | grep -qF "$ROOT/.venv/bin/" &&
    { [ ! -e "$STAMP" ] || [ -z "$(missing_command)" ]; }
}

set_aside() {
  local aside
  aside=.venv-$(date +%Y%m%d-%H%M%S)
  mv .venv "$aside"
  say "the .venv that was here is not ours and has no working Python 3.10 with pip; it is now $aside"
}

begin() {
  mkdir -p .venv
  echo unfinished >"$STAMP"
  : >"$LOG"
}

install_with_uv() {
  if [ ! -x "$VENV_PYTHON" ]; then
    # --seed: the tfx command calls pip.
    logged uv venv --seed --allow-existing --python "$1" .venv || return 1
  fi
  logged uv pip install --python "$VENV_PYTHON" --compile-bytecode \
    -c "$CONSTRAINTS" -e '.[dev,kubeflow]'
}

install_with_pip() {
  if [ ! -x "$VENV_PYTHON" ]; then
    logged "$1" -m venv .venv || return 1
  fi
  # pip would compile on one core, after each package.
  logged "$VENV_PYTHON" -m pip --disable-pip-version-check install --no-input \
    --progress-bar off --no-compile -c "$CONSTRAINTS" -e '.[dev,kubeflow]' || return 1
  # Some packages carry Python 2 files, which do not compile and are never read.
  logged "$VENV_PYTHON" -m compileall -q -j 0 .venv/lib || true
}

set_up() {
  local from='' said now
  case "$(uname -sm)" in
    'Linux x86_64') ;;
    *) say "TFX is published for Linux on x86-64; on $(uname -sm) this may not install" ;;
  esac

  if can_be_updated; then
    say "bringing .venv up to date (log: $LOG)"
    begin
  else
    find_python || exit 1
    from=$FOUND
    if [ -e .venv ] && [ ! -e "$STAMP" ]; then set_aside; fi
    rm -rf .venv
    enough_disk || exit 1
    can_compile "$from" || exit 1
    begin
    say "making .venv with $("$from" -V 2>&1) ($from)"
    say "the first time this takes some minutes and about 4 GB of disk (log: $LOG)"
  fi

  if ! has uv; then
    install_with_pip "$from" || fail "installing did not work; after mending the cause, run it again"
  elif ! install_with_uv "$from"; then
    # uv does not read pip's configuration, so a mirror may be known to pip alone.
    say "uv could not install; trying pip"
    find_python || exit 1
    from=$FOUND
    said=$(cat "$LOG")
    rm -rf .venv
    begin
    printf '%s\n' "$said" >"$LOG"
    install_with_pip "$from" || fail "installing did not work; after mending the cause, run it again"
  fi

  if ! logged "$VENV_PYTHON" -m pip --disable-pip-version-check check; then
    complain "installed, but 'pip check' reports versions that do not fit together (see $LOG)"
  fi
  now=$(digest) || fail "the new environment's Python does not run"
  echo "$now" >"$STAMP.new"
  mv "$STAMP.new" "$STAMP"
  say "ready after $SECONDS s"
}

case "${1:-}" in
  --find-python)
    find_python
    printf '%s\n' "$FOUND"
    ;;
  --check)
    stale=$(what_is_stale)
    if [ -n "$stale" ]; then
      say "not current: $stale"
      exit 1
    fi
    say "current"
    ;;
  '')
    [ -n "$(what_is_stale)" ] || exit 0
    one_at_a_time
    # Whoever was waited for may have done it all.
    [ -n "$(what_is_stale)" ] || exit 0
    trap interrupted INT TERM HUP
    set_up
    ;;
  *)
    complain "unknown option $1; there are --check and --find-python"
    exit 2
    ;;
esac
