"""The contract of MidiParser."""

from __future__ import annotations

from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.artifacts import Songs, Verdicts

DATA = "data"
FINGERPRINT = "fingerprint"
CODE = "code"
SONGS = "songs"
VERDICTS = "verdicts"
VERDICTS_FILE = "verdicts.jsonl"


class MidiParserSpec(ComponentSpec):
    """No inputs: the folder is a parameter, and so is the fingerprint of its contents."""

    PARAMETERS = {
        DATA: ExecutionParameter(type=str),
        FINGERPRINT: ExecutionParameter(type=str),
        CODE: ExecutionParameter(type=str),
    }
    INPUTS: dict = {}
    OUTPUTS = {
        SONGS: ChannelParameter(type=Songs),
        VERDICTS: ChannelParameter(type=Verdicts),
    }
