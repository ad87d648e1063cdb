"""Measures of songs: are they coherent, are they new, can one listen to them?

P. Ortego's paper judges its songs by coherence, novelty and listenability, by ear.
Here each has figures, every one held against the composer's own songs: `coherence`
compares nine features of two sets of songs, `descriptors` are five numbers of one,
`originality` finds what was copied and from where, `degeneration` flags what a
listener would not bear. What cannot be measured, whether a song is good, is left to
a listening test.
"""

from music.measures.coherence import Coherence, coherence
from music.measures.degeneration import Bounds, Loop, degeneration, longest_loop
from music.measures.descriptors import DESCRIPTORS, describe
from music.measures.features import FEATURES, features
from music.measures.heard import Heard, as_heard
from music.measures.originality import Copy, Originality, SelfBorrowing, SongIndex, self_borrowing

__all__ = [
    "DESCRIPTORS",
    "FEATURES",
    "Bounds",
    "Coherence",
    "Copy",
    "Heard",
    "Loop",
    "Originality",
    "SelfBorrowing",
    "SongIndex",
    "as_heard",
    "coherence",
    "degeneration",
    "describe",
    "features",
    "longest_loop",
    "self_borrowing",
]
