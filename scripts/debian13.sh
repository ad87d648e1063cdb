#!/usr/bin/env bash
# Segue as a new user of Debian 13 gets it: a root of its own, Debian's Python, the
# packages that the README names, then `make test` and a pipeline in it, and models
# that one stack made and the other serves.
#
#   scripts/debian13.sh              all of: root setup test smoke cross
#   scripts/debian13.sh STEP...      some of them, or: demo, run COMMAND, remove
#   SEGUE_DEBIAN13=DIR               where the root is (default: out/debian13; about 6 GB)
#
#   root    a Debian 13, made with debootstrap once, with a user and this checkout
#   setup   `make setup` there, as that user
#   test    `make test` there; SEGUE_DEBIAN13_TESTS=PATHS runs those files alone
#   smoke   a pipeline with the smoke preset there, the server, and a song
#   demo    `make demo` there
#   cross   that model on this machine's stack and one of this machine's there
#
# Needs debootstrap, unshare and to be root, on Linux for x86-64. Packages come from where
# this machine's own apt and pip get them. Mounts end with the command that needs them.
set -euo pipefail

CHECKOUT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
cd "$CHECKOUT"
ROOT=${SEGUE_DEBIAN13:-$CHECKOUT/out/debian13}
SUITE=trixie
# What the README has a user install, and make's own.
PACKAGES=(ca-certificates python3-venv python3-dev g++ make)
NAME=segue
INSIDE=/home/$NAME/segue
# The stack on this side of `cross`.
PYTHON=${PYTHON:-$CHECKOUT/.venv/bin/python}

say() { printf 'debian13: %s\n' "$*"; }
give_up() {
  printf 'debian13: %s\n' "$*" >&2
  exit 1
}

needs() {
  [ "$(id -u)" = 0 ] || give_up "making a Debian root takes root's rights; run it with sudo"
  [ "$(uname -sm)" = 'Linux x86_64' ] || give_up "TFX is published for Linux on x86-64, and this is $(uname -sm)"
  local command
  for command in "$@"; do
    command -v "$command" >/dev/null || give_up "$command is missing (Debian, Ubuntu: apt install debootstrap util-linux)"
  done
}

# ---- The way in --------------------------------------------------------------

# What a command in the root is told of the network: this machine's proxies and package
# index, and its certificates where they lie in the root.
environment() {
  local name
  printf '%s\n' "HOME=$1" "USER=$2" "LOGNAME=$2" LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
  for name in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY \
    PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_TRUSTED_HOST PIP_DEFAULT_TIMEOUT; do
    [ -z "${!name:-}" ] || printf '%s=%s\n' "$name" "${!name}"
  done
  for name in SSL_CERT_FILE REQUESTS_CA_BUNDLE CURL_CA_BUNDLE PIP_CERT; do
    [ -z "${!name:-}" ] || printf '%s=%s\n' "$name" /etc/ssl/certs/ca-certificates.crt
  done
  for name in STACK WORKERS SEGUE_PORT; do
    [ -z "${!name:-}" ] || printf '%s=%s\n' "$name" "${!name}"
  done
}

# A shell command in the root, as a user. A namespace of mounts and processes is its own:
# when it ends, by itself or not, neither is left behind.
in_root() {
  local user=$1 home=/root command=$2
  local -a variables
  [ "$user" = root ] || home=/home/$user
  mapfile -t variables < <(environment "$home" "$user")
  ROOT=$ROOT unshare --mount --pid --fork --kill-child -- bash -c '
    set -e
    mount --make-rprivate /
    mount --rbind /dev "$ROOT/dev"
    mount --rbind /sys "$ROOT/sys"
    mount -t proc proc "$ROOT/proc"
    user=$1 command=$2
    shift 2
    exec chroot --userspec="$user:$user" "$ROOT" /usr/bin/env -i "$@" bash -c "$command"
  ' in-root "$user" "$command" "${variables[@]}"
}

as_user() { in_root "$NAME" "cd $INSIDE && $1"; }

# ---- The root ----------------------------------------------------------------

# The mirror that this machine's apt uses for Debian itself; nothing on other systems,
# where debootstrap knows one.
mirror() {
  apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' 2>/dev/null |
    head -n 1 || true
}

carry_over_network() {
  local file
  for file in /etc/resolv.conf /etc/hosts /etc/pip.conf; do
    if [ -f "$file" ]; then cp -L "$file" "$ROOT$file"; fi
  done
  if [ -d /etc/xdg/pip ]; then
    mkdir -p "$ROOT/etc/xdg"
    cp -RL /etc/xdg/pip "$ROOT/etc/xdg/"
  fi
  apt-config dump 2>/dev/null | grep -E '^Acquire::(http|https)::(Proxy|Verify)' \
    >"$ROOT/etc/apt/apt.conf.d/90this-machine" || true
  mkdir -p "$ROOT/usr/local/share/ca-certificates"
  find /usr/local/share/ca-certificates -name '*.crt' \
    -exec cp -L {} "$ROOT/usr/local/share/ca-certificates/" \; 2>/dev/null || true
}

# This checkout as it stands, edits included, beside what was made there before.
copy_checkout() {
  local target=$ROOT$INSIDE
  mkdir -p "$target"
  find "$target" -mindepth 1 -maxdepth 1 ! -name .venv ! -name out ! -name segue-demo -exec rm -rf {} +
  git ls-files -z --cached --others --exclude-standard |
    while IFS= read -r -d '' file; do
      # A link is somebody's own environment, or no file of the project.
      if [ -f "$file" ] && [ ! -L "$file" ]; then printf '%s\0' "$file"; fi
    done | tar --null --files-from=- -cf - | tar -xf - -C "$target"
  in_root root "chown -R $NAME:$NAME /home/$NAME"
}

make_root() {
  needs debootstrap unshare chroot git tar
  if [ ! -e "$ROOT/.segue-root" ]; then
    if [ -e "$ROOT" ] && [ -n "$(ls -A "$ROOT")" ]; then
      give_up "$ROOT is there, and not a root that was finished here; remove it, or name another: SEGUE_DEBIAN13=DIR"
    fi
    local from
    from=$(mirror)
    say "making $ROOT (some minutes)"
    mkdir -p "$ROOT"
    debootstrap --variant=minbase --include="$(IFS=, && echo "${PACKAGES[*]}")" \
      "$SUITE" "$ROOT" ${from:+"$from"} >"$ROOT/debootstrap.log" 2>&1 ||
      give_up "debootstrap did not work; its words are in $ROOT/debootstrap.log (remove $ROOT before the next try)"
    chroot "$ROOT" useradd --create-home --shell /bin/bash "$NAME"
    touch "$ROOT/.segue-root"
  fi
  carry_over_network
  in_root root 'update-ca-certificates >/dev/null'
  copy_checkout
  say "$(in_root root '. /etc/os-release; printf "%s %s, %s, %s" "$NAME" "$(cat /etc/debian_version)" "$(python3 -V)" "$(getconf GNU_LIBC_VERSION)"')"
}

# ---- What is tried in it -----------------------------------------------------

timed() {
  local began=$SECONDS
  "${@:2}"
  say "$1 passed in $((SECONDS - began)) s"
}

ITS_PYTHON=.venv/bin/python

smoke() {
  as_user "$ITS_PYTHON scripts/cross_serving.py model out/smoke &&
    $ITS_PYTHON scripts/cross_serving.py song out/smoke/root out/smoke/song.mid"
}

# Both models on both stacks with one seed: four songs of two models. Songs and all lie
# in the root, in out/cross.
cross() {
  [ -x "$PYTHON" ] || give_up "$PYTHON is missing; 'make setup STACK=1.16' makes it, PYTHON=FILE names another"
  local shared=$ROOT$INSIDE/out/cross
  [ -d "$ROOT$INSIDE/out/smoke/root/serving" ] || smoke
  rm -rf "$shared"
  mkdir -p "$shared"
  "$PYTHON" scripts/cross_serving.py model "$shared/here"
  in_root root "chown -R $NAME:$NAME $INSIDE/out"
  "$PYTHON" scripts/cross_serving.py song "$shared/here/root" "$shared/here-by-here.mid"
  "$PYTHON" scripts/cross_serving.py song "$ROOT$INSIDE/out/smoke/root" "$shared/there-by-here.mid"
  as_user "$ITS_PYTHON scripts/cross_serving.py song out/cross/here/root out/cross/here-by-there.mid &&
    $ITS_PYTHON scripts/cross_serving.py song out/smoke/root out/cross/there-by-there.mid"
  "$PYTHON" scripts/cross_serving.py compare "$shared"/here-by-{here,there}.mid
  "$PYTHON" scripts/cross_serving.py compare "$shared"/there-by-{here,there}.mid
}

has_root() { [ -e "$ROOT/.segue-root" ] || give_up "there is no root in $ROOT; the step root makes it"; }

step() {
  case $1 in setup | test | smoke | demo | cross) has_root ;; esac
  case $1 in
    root) make_root ;;
    setup) timed "make setup" as_user 'make setup' ;;
    test)
      if [ -n "${SEGUE_DEBIAN13_TESTS:-}" ]; then
        timed "$SEGUE_DEBIAN13_TESTS" as_user ".venv/bin/python -m pytest -q -m 'not slow' $SEGUE_DEBIAN13_TESTS"
      else
        timed "make test" as_user 'make test'
      fi
      ;;
    smoke) timed "the smoke pipeline" smoke ;;
    demo) timed "make demo" as_user 'make demo' ;;
    cross) timed "serving each other's models" cross ;;
    remove)
      [ -e "$ROOT/.segue-root" ] || give_up "$ROOT is no root that was made here"
      rm -rf --one-file-system "$ROOT"
      ;;
    *) give_up "unknown step $1; there are root, setup, test, smoke, demo, cross, run COMMAND and remove" ;;
  esac
}

needs unshare chroot
if [ "${1:-}" = run ]; then
  has_root
  as_user "${2:?a command}"
  exit
fi
if [ $# = 0 ]; then set -- root setup test smoke cross; fi
for name in "$@"; do step "$name"; done
