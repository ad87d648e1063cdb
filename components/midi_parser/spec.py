"""The contract of MidiParser."""

from __future__ import annotations

from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.artifacts import Songs, Verdicts

DATA = "data"
FINGERPRINT = "fingerprint"
STORE = "store"
EVAL_SHARE = "eval_share"
SALT = "salt"
SHARDS = "shards"
CODE = "code"
SONGS = "songs"
VERDICTS = "verdicts"
VERDICTS_PATTERN = "verdicts-{shard:05d}-of-{shards:05d}.jsonl"


class MidiParserSpec(ComponentSpec):
    """No inputs: the folder is a parameter, and so is the fingerprint of its contents."""

    PARAMETERS = {
        DATA: ExecutionParameter(type=str),
        FINGERPRINT: ExecutionParameter(type=str),
        STORE: ExecutionParameter(type=str),
        EVAL_SHARE: ExecutionParameter(type=float),
        SALT: ExecutionParameter(type=str),
        SHARDS: ExecutionParameter(type=int),
        CODE: ExecutionParameter(type=str),
    }
    INPUTS: dict = {}
    OUTPUTS = {
        SONGS: ChannelParameter(type=Songs),
        VERDICTS: ChannelParameter(type=Verdicts),
    }
