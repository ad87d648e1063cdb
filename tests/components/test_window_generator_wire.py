"""Windows without protobuf objects: the same bytes as with them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.window_generator.stages import to_example
from components.window_generator.wire import serialized_windows
from music.windows import WindowSpec

specs = st.builds(WindowSpec, st.integers(1, 90), st.sampled_from(["every", "last"]))


def plainly(events, spec, song, names, nll):
    for window in spec.cut(events):
        stop = window.offset + len(window.events)
        mean = None if nll is None else nll[stop - window.scored : stop].mean()
        example = to_example(window, song, names, mean)
        # Protobuf maps have no order of their own: deterministic bytes want one.
        yield example.SerializeToString(deterministic=True)


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 2**32 - 1), st.integers(0, 400), st.integers(1, 5), specs, st.booleans(),
    st.text(max_size=200),
)  # fmt: skip
def test_the_bytes_are_protobufs(seed, count, fields, spec, nats, song):
    rng = np.random.default_rng(seed)
    # Codes of one byte, of two and of three, and the edges between them.
    kinds = [rng.integers(0, 128, (count, fields)), rng.integers(0, 2**21, (count, fields))]
    kinds.append(rng.choice([0, 127, 128, 2**14 - 1, 2**14, 2**21 - 1], (count, fields)))
    events = np.choose(rng.integers(0, 3, (count, fields)), kinds).astype(np.int32)
    names = ["step", "pitch", "duration", "velocity", "part"][:fields]
    nll = rng.exponential(5.0, count) if nats else None
    found = list(serialized_windows(events, spec, song, names, nll))
    assert [record for _, record in found] == list(plainly(events, spec, song, names, nll))
    assert [(w.offset, w.scored) for w, _ in found] == [
        (w.offset, w.scored) for w in spec.cut(events)
    ]


def test_a_long_song_has_offsets_of_three_bytes():
    events = np.arange(17_000, dtype=np.int32)[:, None] % 4224
    spec = WindowSpec(75, "last")
    found = [record for _, record in serialized_windows(events, spec, "x" * 64, ["token"])]
    assert found == list(plainly(events, spec, "x" * 64, ["token"], None))
    assert len(found[-1]) > len(found[0])


@pytest.mark.parametrize("code", [-1, 2**21])
def test_a_code_that_the_three_bytes_cannot_hold_is_refused(code):
    events = np.full((5, 1), code, np.int32)
    with pytest.raises(ValueError, match=str(code)):
        next(serialized_windows(events, WindowSpec(2), "x", ["token"]))
