"""Measures of songs: are they coherent, are they new, can one listen to them?

P. Ortego's paper judges its songs by coherence, novelty and listenability, by ear.
Here each has figures, every one held against the composer's own songs: `coherence`
compares nine features of two sets of songs, `descriptors` are five numbers of one,
`originality` finds what was copied and from where, `degeneration` flags what a
listener would not bear, and `panel` judges several songs together. `heard` brings a
real song into the form in which a model knows it, and a `Reference` is what all of a
composer's songs say together. What cannot be measured, whether a song is good, is left
to a listening test.
"""

from music.measures.coherence import Coherence, coherence
from music.measures.degeneration import Bounds, Loop, Signs, degeneration, longest_loop, signs
from music.measures.descriptors import DESCRIPTORS, describe
from music.measures.features import FEATURES, features
from music.measures.heard import Heard, as_heard
from music.measures.originality import Copy, Originality, SelfBorrowing, SongIndex
from music.measures.panel import Finding, Judged, PanelBounds, PanelVerdict, judge
from music.measures.reference import (
    INDEX_FILE,
    REFERENCE_FILE,
    Measures,
    Reference,
    Spread,
    measure,
)

__all__ = [
    "DESCRIPTORS",
    "FEATURES",
    "INDEX_FILE",
    "REFERENCE_FILE",
    "Bounds",
    "Coherence",
    "Copy",
    "Finding",
    "Heard",
    "Judged",
    "Loop",
    "Measures",
    "Originality",
    "PanelBounds",
    "PanelVerdict",
    "Reference",
    "SelfBorrowing",
    "Signs",
    "SongIndex",
    "Spread",
    "as_heard",
    "coherence",
    "degeneration",
    "describe",
    "features",
    "judge",
    "longest_loop",
    "measure",
    "signs",
]
