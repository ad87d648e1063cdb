"""Made-up vocabularies, untrained models, and a Session that serves them.

A model is exported once a session and loaded as TensorFlow Serving loads it: by
`tf.compat.v1.saved_model.load` in a Session with one intra-op thread. What Keras
would leave at zero (biases, the tables of what an event's earlier fields say of
the next) is moved off it, so that no test passes because a term is missing.
"""

import os
import sys

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# How often made-up music holds a number of ticks; the rarest are not kept.
TICKS = {0: 400, 3: 20, 6: 100, 8: 11, 12: 300, 18: 9, 24: 200, 48: 90, 96: 15, 5: 2, 700: 1}


@pytest.fixture(autouse=True)
def _no_arguments(monkeypatch):
    """absl, inside TFX, takes the flags of whoever started Python for its own."""
    monkeypatch.setattr(sys, "argv", sys.argv[:1])


def _vocabulary(name):
    from music.codec import ChordsCodec, NotesCodec
    from music.vocabulary import build_vocabulary

    if name == "notes":
        counts = [TICKS, {48: 5, 60: 90, 64: 40, 128: 20}, TICKS]
        return build_vocabulary(NotesCodec(), counts, min_count=5)
    # 128 notes and 47 chords make the paper's 175 classes; 20 tokens are too rare.
    tokens = [*range(128), *(128 + 7 * chord for chord in range(1, 68))]
    counts = {token: 12 if index < 175 else 3 for index, token in enumerate(tokens)}
    return build_vocabulary(ChordsCodec(), [counts], min_count=10, closed=name == "paper")


@pytest.fixture(scope="session")
def vocabulary():
    """vocabulary("notes" | "chords" | "paper"): as a VocabularyBuilder might make it."""
    return _vocabulary


class Exported:
    """A network, the InferenceModel made of it, and the folder it was saved to."""

    def __init__(self, kind, settings, window, vocabulary, path, bias=None):
        import keras

        from components.trainer.export import export
        from components.trainer.inference import InferenceModel
        from components.trainer.network import build_network, extract_weights

        keras.utils.set_random_seed(11)
        self.kind, self.settings, self.window = kind, settings, window
        self.vocabulary, self.path = vocabulary, str(path)
        self.network = build_network(settings, window, vocabulary)
        rng = np.random.default_rng(5)
        for layer in self.network.layers:
            if layer.name.startswith(("dense", "head", "condition", "embedding")):
                layer.set_weights(
                    [w + 0.3 * rng.standard_normal(w.shape) for w in layer.get_weights()]
                )
        if bias is not None:
            bias(self.network)
        self.weights = extract_weights(self.network, settings)
        self.model = InferenceModel(self.weights, settings, window, vocabulary)
        self.training = {"preset": kind, "nats": 3.25, "parameters": self.network.count_params()}
        export(self.model, self.training, self.path)


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """exported(kind): an `Exported`, the same one each time.

    `chain` and `paper` have the default size; `small` and `small paper` are for
    what takes many calls, and `ending` all but always draws the boundary.
    """
    from components.trainer.settings import ModelSettings
    from music.windows import WindowSpec

    made = {}
    tiny = {"units": (24, 40, 24), "dense": 32, "embedding": 12}

    def end_soon(network):
        kernel, bias = network.get_layer("head_1").get_weights()
        bias[128] += 12.0
        network.get_layer("head_1").set_weights([kernel, bias])

    def kinds(kind):
        return {
            "chain": (ModelSettings(), WindowSpec(), "notes", None),
            "small": (ModelSettings(**tiny, activation="gelu"), WindowSpec(6), "notes", None),
            "ending": (ModelSettings(**tiny), WindowSpec(6), "notes", end_soon),
            "paper": (ModelSettings("paper"), WindowSpec(75, "last"), "paper", None),
            "small paper": (
                ModelSettings("paper", **tiny), WindowSpec(75, "last"), "paper", None
            ),
        }[kind]  # fmt: skip

    def exported(kind):
        if kind not in made:
            settings, window, name, bias = kinds(kind)
            path = tmp_path_factory.mktemp("exported") / "model"
            made[kind] = Exported(kind, settings, window, _vocabulary(name), path, bias)
        return made[kind]

    return exported


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
