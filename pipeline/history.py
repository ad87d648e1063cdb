"""What the last run did, read from ML Metadata, and where what it left lies now.

ML Metadata keeps where an artifact was written, from `/` on. A root that was moved or
copied since has its artifacts in the same places below itself, and those are its own,
whether or not the old ones are still there.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from components.read_back import intact
from music.errors import SegueError

_ARTIFACTS = "pipeline"  # in a root: as `Configuration.artifacts_dir`
_SQLITE = b"SQLite format 3\0"


@dataclasses.dataclass(frozen=True)
class RunHistory:
    """One run of the pipeline.

    Attributes:
      run: its name.
      executed: the nodes that ran, in order.
      cached: the nodes whose earlier outputs were reused.
      outputs: folder of each output artifact, by (node, output), where it lies now.
      pushed_version: what the Pusher pushed in this run or the one it reuses;
        None when nothing was.
    """

    run: str
    executed: tuple[str, ...]
    cached: tuple[str, ...]
    outputs: dict[tuple[str, str], str]
    pushed_version: int | None


def last_run(metadata: Path) -> RunHistory:
    """The newest run in a SQLite file of ML Metadata.

    Raises:
      SegueError: there is none, or the file is no database of ML Metadata.
    """
    root = metadata.parent
    try:
        is_there = metadata.exists()
    except OSError as error:
        raise SegueError(f"cannot look into {root}: {error.strerror}") from None
    if not is_there:
        raise SegueError(f"there is no run under {root}; make one: segue pipeline run")
    check_database(metadata)
    with intact(metadata, _OTHER_ROOT):
        found = _newest(metadata)
    if found is None:
        raise SegueError(f"there is no run under {root}; make one: segue pipeline run")
    outputs = {key: str(artifact_folder(uri, root)) for key, uri in found.outputs.items()}
    return dataclasses.replace(found, outputs=outputs)


_OTHER_ROOT = "remove it and run the pipeline again, or choose another --root"


def check_database(metadata: Path) -> None:
    """Refuses a file of ML Metadata that is no database.

    Raises:
      SegueError: it is none, or cannot be read.
    """
    with intact(metadata, _OTHER_ROOT), metadata.open("rb") as file:
        magic = file.read(len(_SQLITE))
    if magic and magic != _SQLITE:
        raise SegueError(f"{metadata} is no SQLite file; {_OTHER_ROOT}")


def artifact_folder(uri: str, root: Path) -> Path:
    """Where an artifact lies now that was written to `uri`.

    Args:
      uri: as ML Metadata has it: `<root>/pipeline/<node>/<output>/<execution>`.
      root: as it is called now.

    Returns:
      The folder of that name below the root; the recorded one where the root has no
      artifacts of its own, or the name is another.
    """
    recorded = Path(uri)
    below = Path(*recorded.parts[-4:])
    is_ours = len(recorded.parts) > 4 and below.parts[0] == _ARTIFACTS
    if not is_ours or recorded.parents[3] == root.absolute() or not (root / _ARTIFACTS).is_dir():
        return recorded
    return root / below


def _newest(metadata: Path) -> RunHistory | None:
    """The newest run, its outputs where they were written; None where there is no run."""
    from ml_metadata import MetadataStore
    from ml_metadata.proto import metadata_store_pb2 as pb

    connection = pb.ConnectionConfig()
    connection.sqlite.filename_uri = str(metadata)
    connection.sqlite.connection_mode = pb.SqliteMetadataSourceConfig.READWRITE
    store = MetadataStore(connection)
    runs = store.get_contexts_by_type("pipeline_run")
    if not runs:
        return None
    run = max(runs, key=lambda context: context.id)
    executions = sorted(store.get_executions_by_context(run.id), key=lambda e: e.id)
    node_type = {
        context_type.id for context_type in store.get_context_types() if context_type.name == "node"
    }
    states = pb.Execution.State
    by_state: dict[int, list[str]] = {}
    outputs: dict[tuple[str, str], str] = {}
    pushed: int | None = None
    for execution in executions:
        node = next(
            context.name.split(".", 1)[-1]
            for context in store.get_contexts_by_execution(execution.id)
            if context.type_id in node_type
        )
        by_state.setdefault(execution.last_known_state, []).append(node)
        events = [
            event
            for event in store.get_events_by_execution_ids([execution.id])
            if event.type in (pb.Event.OUTPUT, pb.Event.DECLARED_OUTPUT)
        ]
        artifacts = {a.id: a for a in store.get_artifacts_by_id([e.artifact_id for e in events])}
        for event in events:
            key = next(step.key for step in event.path.steps if step.HasField("key"))
            artifact = artifacts[event.artifact_id]
            outputs[node, key] = artifact.uri
            version = artifact.custom_properties.get("pushed_version")
            if version is not None and version.string_value:
                pushed = int(version.string_value)
    return RunHistory(
        run=run.name,
        executed=tuple(by_state.get(states.COMPLETE, ())),
        cached=tuple(by_state.get(states.CACHED, ())),
        outputs=outputs,
        pushed_version=pushed,
    )
