"""The contract of ServingValidator."""

from __future__ import annotations

from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components.artifacts import MusicPanel, MusicReference, MusicVocabulary, Songs, Verdicts

MODEL = "model"
EVALUATION = "evaluation"
SONGS = "songs"
VERDICTS = "verdicts"
VOCABULARY = "vocabulary"
REFERENCE = "reference"
BLESSING = "blessing"
PANEL = "panel"
SETTINGS = "settings"
CARD = "card"
REQUEST = "request"
CODE = "code"


class ServingValidatorSpec(ComponentSpec):
    """A candidate and the composer's songs in, a blessing and a panel out."""

    PARAMETERS = {
        SETTINGS: ExecutionParameter(type=str),
        CARD: ExecutionParameter(type=str),
        REQUEST: ExecutionParameter(type=str),
        CODE: ExecutionParameter(type=str),
    }
    INPUTS = {
        MODEL: ChannelParameter(type=standard_artifacts.Model),
        EVALUATION: ChannelParameter(type=standard_artifacts.ModelEvaluation),
        SONGS: ChannelParameter(type=Songs),
        VERDICTS: ChannelParameter(type=Verdicts),
        VOCABULARY: ChannelParameter(type=MusicVocabulary),
        REFERENCE: ChannelParameter(type=MusicReference),
    }
    OUTPUTS = {
        BLESSING: ChannelParameter(type=standard_artifacts.InfraBlessing),
        PANEL: ChannelParameter(type=MusicPanel),
    }
