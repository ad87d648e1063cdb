#!/usr/bin/env bash
# Makes .venv with everything Segue needs, or brings it up to date.
#
#   scripts/setup.sh                 set up; says and does nothing when nothing changed
#   scripts/setup.sh --check         say whether set-up is current; exit 0 if so, else 1
#   scripts/setup.sh --find-python   print the Python that set-up would use
#
# There are two stacks: TFX 1.21 for Python 3.11 to 3.13 on a current system, TFX 1.16
# for Python 3.10, which is all that an older one can load. Set-up takes the first for
# which it finds a Python, and stays with what .venv holds. STACK=1.16 or STACK=1.21
# asks for one, PYTHON=/path/to/python for an interpreter. Needs no root. A set-up
# that was cut off leaves no stamp, so the next one starts over.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
cd "$ROOT"

CONSTRAINTS_116=constraints-py310.txt
CONSTRAINTS_121=constraints-py313.txt
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

# A file called python3.13 proves nothing: a pyenv shim may stand there for a version
# that is not chosen. Only what runs counts, and what it says: its version, the C
# library, and whether the C++ library is one that TFX 1.21's binary parts load with.
# It says nothing about a C++ library that is not there.
PROBE='
import os, sys
print("%d.%d" % sys.version_info[:2], (os.confstr("CS_GNU_LIBC_VERSION") or "glibc 0").split()[1])
try:
    import ctypes
    ctypes.CDLL("libstdc++.so.6")
    path = next(line.split(None, 5)[5].strip() for line in open("/proc/self/maps") if "libstdc++.so" in line)
    print(b"GLIBCXX_3.4.32\0" in open(path, "rb").read())
except (OSError, ImportError, StopIteration):
    print(False)
'

glibc_is_current() {
  local major=${1%%.*} minor=${1#*.}
  minor=${minor%%.*}
  case $major$minor in '' | *[!0-9]*) return 1 ;; esac
  [ "$major" -gt 2 ] || { [ "$major" -eq 2 ] && [ "$minor" -ge 38 ]; }
}

# What this machine's C library is, when no Python is there to say it.
glibc_here() { getconf GNU_LIBC_VERSION 2>/dev/null | sed 's/^glibc //' || true; }

# Sets STACK_OF to the stack that an interpreter can have, or to nothing and WHY_NOT
# to the reason, and VERSION to its version.
look_at() {
  local told glibc cxx
  STACK_OF='' VERSION='' WHY_NOT="$1 does not run"
  told=$("$1" -c "$PROBE" 2>/dev/null </dev/null) || return 0
  read -r VERSION glibc cxx <<<"${told//$'\n'/ }" || true
  case $VERSION in
    3.10) STACK_OF=1.16 ;;
    3.11 | 3.12 | 3.13)
      if ! glibc_is_current "$glibc"; then
        WHY_NOT="$1 is Python $VERSION, but TFX 1.21 needs glibc 2.38 and here is $glibc"
      elif [ "$cxx" != True ]; then
        WHY_NOT="$1 is Python $VERSION, but TFX 1.21 needs a libstdc++ with GLIBCXX_3.4.32 (GCC 13.2; Debian, Ubuntu: apt install g++)"
      else
        STACK_OF=1.21
      fi
      ;;
    *) WHY_NOT="$1 is Python ${VERSION:-of no version}, and TFX is made for 3.10 to 3.13" ;;
  esac
}

versions_of() { if [ "$1" = 1.16 ]; then echo 3.10; else echo "3.13 3.12 3.11"; fi; }
constraints_of() { if [ "$1" = 1.16 ]; then echo "$CONSTRAINTS_116"; else echo "$CONSTRAINTS_121"; fi; }

# Interpreters for a stack, the best first.
candidates() {
  local version versions
  for version in $(versions_of "$1"); do type -aP "python$version" || true; done
  type -aP python3 python || true
  for version in $(versions_of "$1"); do
    if has uv; then uv python find --system --no-project "$version" 2>/dev/null </dev/null || true; fi
    for versions in "${PYENV_ROOT:-}/versions" "${HOME:-}/.pyenv/versions"; do
      printf '%s\n' "$versions/$version".*/bin/python | sort -rV
    done
  done
}

# Debian's Python comes without the part that makes environments; uv does
# not need it.
can_make_venv() { has uv || "$1" -c 'import ensurepip, venv' >/dev/null 2>&1 </dev/null; }

# One line for people who have to install something first.
say_what_is_needed() {
  local glibc wanted=${STACK:-}
  if [ -n "$HINDRANCE" ]; then
    complain "$HINDRANCE"
    return
  fi
  if [ -z "$wanted" ]; then
    glibc=$(glibc_here)
    wanted=1.16
    if glibc_is_current "$glibc"; then wanted=1.21; fi
  fi
  if [ "$wanted" = 1.21 ]; then
    complain "Segue needs Python 3.11 to 3.13 for TFX 1.21, and none was found: apt install python3-venv python3-dev g++ (Debian 13, Ubuntu 24.04), or uv python install 3.13, or name one: make setup PYTHON=/path/to/python3.13"
  else
    complain "Segue needs Python 3.10 for TFX 1.16 (TFX 1.21 needs glibc 2.38${glibc:+, here is $glibc}), and none was found: uv python install 3.10, or pyenv install 3.10, or conda create -n py310 python=3.10, or name one: make setup PYTHON=/path/to/python3.10"
  fi
}

# Sets FOUND and STACK_FOUND.
find_python() {
  FOUND='' STACK_FOUND='' HINDRANCE=
  outside_venv
  local candidate stack
  if [ -n "${PYTHON:-}" ]; then
    if ! candidate=$(type -P "$PYTHON") || [ "${candidate%/*}" -ef .venv/bin ]; then
      WHY_NOT="no such Python outside .venv"
    else
      look_at "$candidate"
      if [ -n "$STACK_OF" ] && [ "${STACK:-$STACK_OF}" != "$STACK_OF" ]; then
        WHY_NOT="STACK=$STACK needs another Python than $VERSION"
      elif [ -n "$STACK_OF" ] && can_make_venv "$candidate"; then
        FOUND=$candidate STACK_FOUND=$STACK_OF
        return 0
      elif [ -n "$STACK_OF" ]; then
        WHY_NOT="Python $VERSION without its venv module"
      fi
    fi
    complain "PYTHON=$PYTHON will not do ($WHY_NOT); looking further"
  fi
  for stack in ${STACK:-1.21 1.16}; do
    while IFS= read -r candidate; do
      [ -x "$candidate" ] || continue
      look_at "$candidate"
      if [ "$STACK_OF" != "$stack" ]; then
        # What keeps the stack that was asked for away is worth a word.
        case " $(versions_of "$stack") " in
          *" $VERSION "*) if [ "${STACK:-}" = 1.21 ]; then HINDRANCE=${HINDRANCE:-$WHY_NOT}; fi ;;
        esac
      elif can_make_venv "$candidate"; then
        FOUND=$candidate STACK_FOUND=$stack
        return 0
      else
        HINDRANCE="$candidate is a Python $VERSION without its venv module (Debian, Ubuntu: apt install python$VERSION-venv)"
      fi
    done < <(candidates "$stack")
  done
  say_what_is_needed
  return 1
}

# ---- Is there anything to do ------------------------------------------------

# The stack in .venv, and a digest of all that decides what lies there: its Python, its
# place (scripts in .venv/bin name it), the requirements, the pins and this script.
digest() {
  "$VENV_PYTHON" -I -S -c '
import hashlib, sys
old = sys.version_info < (3, 11)
names = ["setup.py", "pyproject.toml", "scripts/setup.sh", sys.argv[2 if old else 3]]
digest = hashlib.sha256("\n".join([sys.version, sys.argv[1], *names]).encode())
for name in names:
    with open(name, "rb") as file:
        digest.update(b"\0" + file.read())
print("1.16" if old else "1.21", digest.hexdigest())
' "$ROOT" "$CONSTRAINTS_116" "$CONSTRAINTS_121" 2>/dev/null </dev/null
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
  elif [ "${STACK:-${now%% *}}" != "${now%% *}" ]; then
    echo ".venv has TFX ${now%% *}, and STACK=$STACK is asked for"
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
    complain "$1 has no Python.h, needed to compile (Debian, Ubuntu: apt install python$VERSION-dev)"
    return 1
  fi
}

# Whether what stands in .venv can be brought up to date: a Python that a stack is for,
# the one asked for, with pip, made at this place (scripts in .venv/bin name it), and,
# if it is ours, whole: an installer that finds a package listed does not look for its
# files.
can_be_updated() {
  look_at "$VENV_PYTHON"
  [ "$(stamp)" != unfinished ] &&
    [ -n "$STACK_OF" ] && [ "${STACK:-$STACK_OF}" = "$STACK_OF" ] &&
    [ -x .venv/bin/pip ] &&
    head -n 3 .venv/bin/pip | grep -qF "$ROOT/.venv/bin/" &&
    { [ ! -e "$STAMP" ] || [ -z "$(missing_command)" ]; }
}

set_aside() {
  local aside
  aside=.venv-$(date +%Y%m%d-%H%M%S)
  mv .venv "$aside"
  say "the .venv that was here is not ours and has no Python with pip that will do; it is now $aside"
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
    -c "$(constraints_of "$2")" -e '.[dev,kubeflow]'
}

install_with_pip() {
  if [ ! -x "$VENV_PYTHON" ]; then
    logged "$1" -m venv .venv || return 1
  fi
  # pip would compile on one core, after each package.
  logged "$VENV_PYTHON" -m pip --disable-pip-version-check install --no-input \
    --progress-bar off --no-compile -c "$(constraints_of "$2")" -e '.[dev,kubeflow]' || return 1
  # Some packages carry Python 2 files, which do not compile and are never read.
  logged "$VENV_PYTHON" -m compileall -q -j 0 .venv/lib || true
}

set_up() {
  local from='' stack said now
  case "$(uname -sm)" in
    'Linux x86_64') ;;
    *) say "TFX is published for Linux on x86-64; on $(uname -sm) this may not install" ;;
  esac

  if can_be_updated; then
    stack=$STACK_OF
    say "bringing .venv up to date, TFX $stack (log: $LOG)"
    begin
  else
    find_python || exit 1
    from=$FOUND stack=$STACK_FOUND
    if [ -e .venv ] && [ ! -e "$STAMP" ]; then set_aside; fi
    rm -rf .venv
    enough_disk || exit 1
    can_compile "$from" || exit 1
    begin
    say "making .venv with TFX $stack on $("$from" -V 2>&1) ($from)"
    say "the first time this takes some minutes and about 4 GB of disk (log: $LOG)"
  fi

  if ! has uv; then
    install_with_pip "$from" "$stack" || fail "installing did not work; after mending the cause, run it again"
  elif ! install_with_uv "$from" "$stack"; then
    # uv does not read pip's configuration, so a mirror may be known to pip alone.
    say "uv could not install; trying pip"
    STACK=$stack find_python || exit 1
    from=$FOUND
    said=$(cat "$LOG")
    rm -rf .venv
    begin
    printf '%s\n' "$said" >"$LOG"
    install_with_pip "$from" "$stack" || fail "installing did not work; after mending the cause, run it again"
  fi

  if ! logged "$VENV_PYTHON" -m pip --disable-pip-version-check check; then
    complain "installed, but 'pip check' reports versions that do not fit together (see $LOG)"
  fi
  now=$(digest) || fail "the new environment's Python does not run"
  echo "$now" >"$STAMP.new"
  mv "$STAMP.new" "$STAMP"
  say "ready after $SECONDS s"
}

case "${STACK:-}" in
  '' | 1.16 | 1.21) ;;
  *)
    complain "STACK=$STACK is no stack; there are 1.16 (Python 3.10) and 1.21 (Python 3.11 to 3.13)"
    exit 2
    ;;
esac

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
