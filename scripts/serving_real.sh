#!/usr/bin/env bash
# Tests the real TensorFlow Serving, from its Docker image: the conformance tests that
# the embedded server passes, then one song from a pushed model, served with
# serving/docker-compose.yaml as it stands.
#
#   scripts/serving_real.sh               a smoke model is trained first (minutes)
#   SEGUE_ROOT=DIR scripts/serving_real.sh   the model in DIR is used
#
# Needs Docker with Compose, on Linux (the tests' servers share the host's network).
# Everything it starts or writes is gone afterwards, except for the song and the image.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
PYTHON=${PYTHON:-.venv/bin/python}
COMPOSE_FILE=$PWD/serving/docker-compose.yaml
BINARY=tensorflow_model_server
LABEL=segue-serving-real=$$

say() { printf 'serving-real: %s\n' "$*"; }
give_up() {
  printf 'serving-real: %s\n' "$*" >&2
  exit 1
}

command -v docker >/dev/null ||
  give_up 'docker is not on PATH; install Docker, or put tensorflow_model_server itself on PATH and run `make test`'
docker info >/dev/null 2>&1 ||
  give_up 'docker is there, but its daemon does not answer; start it, and see that you may use it'
docker compose version >/dev/null 2>&1 ||
  give_up 'docker has no `compose` command; install the Compose plugin'

IMAGE=$(sed -n 's/^ *image: \(tensorflow\/serving:.*\)$/\1/p' "$COMPOSE_FILE")
work=$(mktemp -d)
# The Compose service runs as nobody in particular and has to read below it.
chmod 755 "$work"
clean_up() {
  docker ps -q --filter "label=$LABEL" | xargs -r docker rm -f >/dev/null || true
  [ ! -f "$work/up" ] || docker compose -p "segue-real-$$" -f "$COMPOSE_FILE" down --volumes >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap clean_up EXIT

say "image $IMAGE"
docker image inspect "$IMAGE" >/dev/null 2>&1 || docker pull "$IMAGE"

# The binary, as the tests look for it on PATH. All they give it lies under $work, which
# has the same name inside. --init: SIGTERM must reach it.
mkdir "$work/bin"
cat >"$work/bin/$BINARY" <<EOF
#!/usr/bin/env bash
exec docker run --rm --init --network=host --label='$LABEL' --user='$(id -u):$(id -g)' \\
  --volume='$work:$work' --entrypoint=$BINARY '$IMAGE' "\$@"
EOF
chmod +x "$work/bin/$BINARY"
"$work/bin/$BINARY" --version || give_up "$IMAGE does not run"

say "1 of 2: the tests that any server has to pass"
PATH=$work/bin:$PATH "$PYTHON" -m pytest tests/serving -k "$BINARY" --basetemp="$work/pytest"

say "2 of 2: a song from a pushed model, with serving/docker-compose.yaml"
if [ -n "${SEGUE_ROOT:-}" ]; then
  root=$(cd "$SEGUE_ROOT" && pwd -P)
else
  root=$work/root
  "$PYTHON" -m pipeline.cli corpus export bach --limit 16 --parts 4 --out "$work/midi"
  "$PYTHON" -m pipeline.cli pipeline run --engine local --preset smoke --data "$work/midi" --root "$root"
fi
read -r grpc rest < <("$PYTHON" -c '
import socket
probes = [socket.socket() for _ in range(2)]
for probe in probes:
    probe.bind(("127.0.0.1", 0))
print(*(probe.getsockname()[1] for probe in probes))')
touch "$work/up"
SEGUE_ROOT=$root SEGUE_GRPC_PORT=$grpc SEGUE_REST_PORT=$rest \
  docker compose -p "segue-real-$$" -f "$COMPOSE_FILE" up --wait --wait-timeout 300 serving
mkdir -p out
"$PYTHON" -m pipeline.cli generate --target "127.0.0.1:$grpc" --steps 250 --seed 7 --out out/serving-real.mid
say "passed; the song is out/serving-real.mid"
