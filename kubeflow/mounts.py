"""Where the backend's launcher puts what lies in a bucket.

Kubeflow's launcher downloads a task's inputs and uploads its outputs; what a
container is told are the URIs all the same: `minio://bucket/x` lies at
`/minio/bucket/x`, `s3://` at `/s3/`, `gs://` at `/gcs/`.
"""

from __future__ import annotations

import os

# Below another folder than /, for runs outside of containers (kubeflow/one_machine.py).
VARIABLE = "SEGUE_MOUNTS"
FOLDERS = {"minio": "minio", "s3": "s3", "gs": "gcs"}


def to_path(uri: str, top: str | None = None) -> str:
    """The path at which a URI's content lies; whatever is no such URI stays as it is.

    Args:
      uri: of an artifact.
      top: the folder that the mounts lie in; None asks the environment.
    """
    scheme, separator, rest = uri.partition("://")
    if not separator or scheme not in FOLDERS:
        return uri
    top = os.environ.get(VARIABLE, "/") if top is None else top
    return os.path.join(top, FOLDERS[scheme], rest.lstrip("/"))
