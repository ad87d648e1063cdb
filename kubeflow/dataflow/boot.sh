#!/bin/sh
# Mounts the share that data and root lie on, then starts a worker as Beam's own image does.
set -eu
: "${SEGUE_SHARE:?the image was built without --build-arg SHARE=HOST:/SHARE}"
mkdir -p /segue
# Several workers may be started in one container.
if ! grep -q " /segue nfs" /proc/mounts; then
  mount -t nfs -o vers=3,nolock,hard "$SEGUE_SHARE" /segue
fi
exec /opt/apache/beam/boot "$@"
