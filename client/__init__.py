"""The client of a Segue model server, TensorFlow Serving or the embedded one.

`Connection` speaks to the server; `GenerationClient` asks a model on it for
events, by one call, in chunks or a call a note; `priming` finds what a song
begins with; `songs` does the whole way from a wish to a MIDI file.

    report = generate_song(GenerateRequest(out=Path("song.mid"), prime=Path("bach.mid")))

Importing this package costs numpy, protobuf and gRPC. It never imports
TensorFlow, and music21 only when a MIDI file is read or written.
"""

from client.connection import Answer, Connection, VersionStatus
from client.generation import (
    Generated,
    GenerationClient,
    Limits,
    ModelFacts,
    Sampling,
)
from client.priming import Prime, prime_from_file, prime_from_nothing, random_section
from client.songs import GenerateRequest, SongReport, generate_song

__all__ = [
    "Answer",
    "Connection",
    "GenerateRequest",
    "Generated",
    "GenerationClient",
    "Limits",
    "ModelFacts",
    "Prime",
    "Sampling",
    "SongReport",
    "VersionStatus",
    "generate_song",
    "prime_from_file",
    "prime_from_nothing",
    "random_section",
]
