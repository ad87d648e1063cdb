"""What the last run did, read from ML Metadata."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from music.errors import SegueError


@dataclasses.dataclass(frozen=True)
class RunHistory:
    """One run of the pipeline.

    Attributes:
      run: its name.
      executed: the nodes that ran, in order.
      cached: the nodes whose earlier outputs were reused.
      outputs: folder of each output artifact, by (node, output).
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
      SegueError: there is none.
    """
    try:
        is_there = metadata.exists()
    except OSError as error:
        raise SegueError(f"cannot look into {metadata.parent}: {error.strerror}") from None
    if not is_there:
        raise SegueError(f"there is no run under {metadata.parent}; make one: segue pipeline run")
    from ml_metadata import MetadataStore
    from ml_metadata.proto import metadata_store_pb2 as pb

    connection = pb.ConnectionConfig()
    connection.sqlite.filename_uri = str(metadata)
    connection.sqlite.connection_mode = pb.SqliteMetadataSourceConfig.READWRITE
    store = MetadataStore(connection)
    runs = store.get_contexts_by_type("pipeline_run")
    if not runs:
        raise SegueError(f"there is no run under {metadata.parent}; make one: segue pipeline run")
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
