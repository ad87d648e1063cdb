"""A Session that serves untrained models (`exported` in tests/conftest.py).

They are loaded as TensorFlow Serving loads them: by
`tf.compat.v1.saved_model.load` in a Session with one intra-op thread.
"""

import os
import sys

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Else the threads of whatever ran before in this process, training say, are used: as
# in serving/loader.py.
os.environ.setdefault("TF_OVERRIDE_GLOBAL_THREADPOOL", "1")


@pytest.fixture(autouse=True)
def _no_arguments(monkeypatch):
    """absl, inside TFX, takes the flags of whoever started Python for its own."""
    monkeypatch.setattr(sys, "argv", sys.argv[:1])


class Served:
    """The signatures of a SavedModel, through the loader that TensorFlow Serving uses."""

    def __init__(self, path):
        import tensorflow as tf

        config = tf.compat.v1.ConfigProto(intra_op_parallelism_threads=1)
        graph = tf.Graph()
        with graph.as_default():
            self.session = tf.compat.v1.Session(graph=graph, config=config)
            loaded = tf.compat.v1.saved_model.load(self.session, ["serve"], path)
        self.signatures = dict(loaded.signature_def)

    def __call__(self, signature, **inputs):
        """The outputs of one call, by name."""
        definition = self.signatures[signature]
        assert set(inputs) == set(definition.inputs)
        feed = {definition.inputs[name].name: value for name, value in inputs.items()}
        fetch = {name: info.name for name, info in definition.outputs.items()}
        return self.session.run(fetch, feed)

    def fails(self, signature, **inputs):
        """The message of INVALID_ARGUMENT, which the call must end in."""
        import tensorflow as tf

        with pytest.raises(tf.errors.InvalidArgumentError) as caught:
            self(signature, **inputs)
        return caught.value.message


@pytest.fixture(scope="session")
def load():
    """load(path): a `Served` of any SavedModel."""
    opened = []

    def load(path):
        opened.append(Served(str(path)))
        return opened[-1]

    yield load
    for served in opened:
        served.session.close()


@pytest.fixture(scope="session")
def served(exported, load):
    """served(kind): a `Served` of `exported(kind)`."""
    made = {}

    def served(kind):
        if kind not in made:
            made[kind] = load(exported(kind).path)
        return made[kind]

    return served


@pytest.fixture(scope="session")
def settings():
    """settings(rows, name=value or one value a row): sampling inputs as arrays."""
    kinds = {
        "temperature": (1.0, np.float32),
        "top_k": (0, np.int32),
        "top_p": (1.0, np.float32),
        "may_end": (False, bool),
        "seed": (0, np.int64),
        "position": (0, np.int32),
    }

    def settings(rows, **given):
        assert set(given) <= set(kinds)
        return {
            name: np.array(np.broadcast_to(given.get(name, default), rows), dtype)
            for name, (default, dtype) in kinds.items()
        }

    return settings


@pytest.fixture(scope="session")
def events_of():
    """events_of(vocabulary, count, seed): int32[count, F] codes, kept ones and others."""

    def events_of(vocabulary, count, seed):
        from music.codec import build_codec

        rng = np.random.default_rng(seed)
        columns = []
        for field, known in zip(
            build_codec(dict(vocabulary.codec)).fields, vocabulary.fields, strict=True
        ):
            anything = rng.integers(0, field.size, count)
            kept = rng.choice(known.kept, count)
            columns.append(
                kept if vocabulary.closed else np.where(rng.random(count) < 0.2, anything, kept)
            )
        return np.stack(columns, axis=1).astype(np.int32)

    return events_of


@pytest.fixture(scope="session")
def write_windows():
    """write_windows(path, songs, vocabulary, window, ngram): a gzip TFRecord file.

    `songs` are int32[T, F]; `ngram(song index, window)` gives a window's nats, or
    None to leave them out. Returns [(song index, window)] in the file's order.
    """

    def write_windows(path, songs, vocabulary, window, ngram=lambda song, cut: None):
        import tensorflow as tf

        from components.window_generator.stages import to_example

        names = [field.name for field in vocabulary.fields]
        cuts = [(song, cut) for song, events in enumerate(songs) for cut in window.cut(events)]
        path.parent.mkdir(parents=True, exist_ok=True)
        with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
            for song, cut in cuts:
                example = to_example(cut, f"song {song}", names, ngram(song, cut))
                writer.write(example.SerializeToString())
        return cuts

    return write_windows


@pytest.fixture(scope="session")
def make_song():
    """make_song(number, count): a song in memory, another for every number."""
    from music.song import Song

    def make_song(number, count=None):
        count = 20 + 9 * number if count is None else count
        rng = np.random.default_rng(number)
        notes = np.zeros((count, 5), np.int32)
        notes[:, 0] = np.cumsum(rng.choice([0, 6, 12, 24], count))
        notes[:, 1] = rng.choice([6, 12, 24], count)
        notes[:, 2] = rng.integers(50, 80, count)
        notes[:, 3] = 70
        return Song(notes, id=f"{number:064d}", title=f"song {number}", tempo=90.0 + number)

    return make_song


@pytest.fixture(scope="session")
def songs_artifact():
    """songs_artifact(folder, train, eval, shards): Songs as MidiParser leaves them.

    A song's file is its place in the list modulo the number of files, so that with
    few songs a file may be without any.
    """
    import pyarrow.parquet as pq

    from components.artifacts import Songs
    from components.records import songs_to_table

    def songs_artifact(folder, train, held_out, shards):
        made = Songs()
        made.uri = str(folder / "songs")
        for side, songs in (("train", train), ("eval", held_out)):
            split = folder / "songs" / f"Split-{side}"
            split.mkdir(parents=True)
            for shard in range(shards):
                rows = sorted(songs[shard::shards], key=lambda one: one.id)
                table = songs_to_table(rows)
                name = f"songs-{shard:05d}-of-{shards:05d}.parquet"
                pq.write_table(table, split / name)
        return made

    return songs_artifact


@pytest.fixture(scope="session")
def paper_splits(tmp_path_factory, vocabulary, events_of, write_windows):
    """paper_splits(window): patterns of a train and an eval split, a song each.

    The vocabulary is `vocabulary("paper")`, and lies beside them as in an artifact.
    """

    def paper_splits(window):
        folder = tmp_path_factory.mktemp("windows")
        known = vocabulary("paper")
        for number, side in enumerate(("train", "eval")):
            songs = [events_of(known, 60, seed=number)]
            path = folder / f"Split-{side}" / "w.gz"
            write_windows(path, songs, known, window, ngram=lambda *_: 2.5)
        (folder / "vocabulary.json").write_text(known.to_json())
        return [str(folder / "Split-train" / "*")], [str(folder / "Split-eval" / "*")]

    return paper_splits
