"""What a song may be, for hypothesis: `st.from_type(Song)` draws from here."""

from hypothesis import settings
from hypothesis import strategies as st

from music.song import Song

# The first example of a test may import music21, which takes longer than any
# deadline worth having.
settings.register_profile("segue", deadline=None)
settings.load_profile("segue")


def _songs() -> st.SearchStrategy[Song]:
    """Up to 16 notes, with unisons, chords, overlaps and long gaps all likely."""
    often_together = st.one_of(st.sampled_from([0, 6, 12]), st.integers(0, 20_000))
    often_the_same = st.one_of(st.integers(58, 62), st.integers(0, 127))
    note = st.tuples(
        often_together,
        st.one_of(st.sampled_from([3, 6, 24]), st.integers(1, 3_000)),
        often_the_same,
        st.integers(1, 127),
        st.integers(0, 17),
    )
    return st.lists(note, max_size=16).map(Song)


st.register_type_strategy(Song, _songs())
