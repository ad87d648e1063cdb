"""The TFX components of Segue, and the artifact types that travel between them.

Everything is re-exported here, on first use: an artifact type must be importable
as `components.Name` for Kubeflow, while importing TFX takes ten seconds that a
light part of this package (`components.progress`, say) must not cost.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "Songs": "components.artifacts",
    "Verdicts": "components.artifacts",
    "MusicVocabulary": "components.artifacts",
    "MusicReference": "components.artifacts",
    "MusicPanel": "components.artifacts",
    "MidiParser": "components.midi_parser.component",
    "VocabularyBuilder": "components.vocabulary_builder.component",
    "WindowGenerator": "components.window_generator.component",
    "ReferenceBuilder": "components.reference_builder.component",
    "ExampleValidator": "components.example_validator.component",
    "Evaluator": "components.evaluator.component",
    "ServingValidator": "components.serving_validator.component",
    "Pusher": "components.pusher.component",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
