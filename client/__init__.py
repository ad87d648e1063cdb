"""The client of Segue's model servers, TensorFlow Serving or the embedded one.

`Connection` speaks to one server or several; `GenerationClient` asks a model for
events, by one call, in chunks or a call a note; `AsyncConnection` and
`AsyncGenerationClient` do so in an event loop; `priming` finds what a song begins
with; `songs` does the whole way from a wish to a MIDI file.

    with Connection("127.0.0.1:8500") as connection:
        song = GenerationClient(connection).generate([prime], steps=250)[0]

    report = generate_song(GenerateRequest(out=Path("song.mid"), prime=Path("bach.mid")))

Importing this package costs numpy, protobuf and gRPC. It never imports TensorFlow,
and what reads, writes and judges songs only when that is asked for.
"""

import importlib
from typing import TYPE_CHECKING, Any

from client.aio import AsyncCaller, AsyncConnection, AsyncGenerationClient
from client.connection import Answer, Connection, VersionStatus
from client.generation import (
    Caller,
    Generated,
    GenerationClient,
    Limits,
    ModelFacts,
    Sampling,
)
from client.security import Security

if TYPE_CHECKING:
    from client.priming import Prime, prime_from_file, prime_from_nothing, random_section
    from client.songs import GenerateRequest, SongReport, generate_song

__all__ = [
    "Answer",
    "AsyncCaller",
    "AsyncConnection",
    "AsyncGenerationClient",
    "Caller",
    "Connection",
    "GenerateRequest",
    "Generated",
    "GenerationClient",
    "Limits",
    "ModelFacts",
    "Prime",
    "Sampling",
    "Security",
    "SongReport",
    "VersionStatus",
    "generate_song",
    "prime_from_file",
    "prime_from_nothing",
    "random_section",
]

# Where the names are that are imported when they are first asked for.
_LATER = {
    "GenerateRequest": "client.songs",
    "Prime": "client.priming",
    "SongReport": "client.songs",
    "generate_song": "client.songs",
    "prime_from_file": "client.priming",
    "prime_from_nothing": "client.priming",
    "random_section": "client.priming",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LATER[name]), name)
