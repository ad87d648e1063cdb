"""The musical domain of Segue: songs, their files, their codes and their statistics.

A song enters as the bytes of a MIDI file and becomes a `Song`: notes on a grid
of 24 ticks to the quarter. A `Codec` writes a song as a matrix of integers and
reads it back; a `Vocabulary` says which of those integers a model keeps and
where the others go; `windows` cuts songs into training and evaluation examples;
`split` puts whole songs on one side or the other; `ngram` is the baseline that
a trained model has to beat. `measures` says whether songs are coherent, new and fit
to be heard; `statistics`, `roll` and `catalogue` show people what is in a song, and in
a folder of them.

Nothing here knows TensorFlow, TFX or Beam, and music21 is imported only inside
the functions that need it, so that importing this package costs a numpy import.
"""

from music.codec import ChordsCodec, Codec, NotesCodec, build_codec
from music.errors import MidiError, SegueError
from music.song import TICKS_PER_QUARTER, Song

__all__ = [
    "TICKS_PER_QUARTER",
    "ChordsCodec",
    "Codec",
    "MidiError",
    "NotesCodec",
    "SegueError",
    "Song",
    "build_codec",
]
