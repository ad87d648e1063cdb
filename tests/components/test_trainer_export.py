"""The SavedModel as TensorFlow Serving sees it: names, scores, songs, refusals."""

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from components.window_generator.stages import to_example
from music.windows import Window

SAMPLING = {
    "temperature": ("float32", [-1]),
    "top_k": ("int32", [-1]),
    "top_p": ("float32", [-1]),
    "may_end": ("bool", [-1]),
    "seed": ("int64", [-1]),
    "position": ("int32", [-1]),
}


def contract(fields, state=2048):
    """Every signature's inputs and outputs, dtypes and shapes (-1 is any)."""
    prime = {
        "prime": ("int32", [-1, -1, fields]),
        "prime_length": ("int32", [-1]),
        "steps": ("int32", [-1]),
        **SAMPLING,
    }
    event, carried = ("int32", [-1, fields]), {"state": ("float32", [-1, state])}
    made = {"events": ("int32", [-1, -1, fields]), "log_prob": ("float32", [-1, -1]), **carried}
    one = {"event": event, "log_prob": ("float32", [-1])}
    return {
        "serving_default": (
            {"examples": ("string", [-1])},
            {
                "nll": ("float32", [-1]),
                "nll_minus_ngram": ("float32", [-1]),
                "nll_steps": ("float32", [-1, -1]),
            },
        ),
        "predict_next": ({"events": ("int32", [-1, -1, fields]), **SAMPLING}, one),
        "generate": (prime, made),
        "resume": ({**prime, **carried}, made),
        "step": ({"event": event, **carried, **SAMPLING}, {**one, **carried}),
        "describe": ({"keys": ("string", [-1])}, {"values": ("string", [-1])}),
    }


def described(infos):
    """{name: (dtype, shape)} of a signature's side; an unknown rank is None."""
    return {
        name: (
            tf.as_dtype(info.dtype).name,
            None if info.tensor_shape.unknown_rank else [d.size for d in info.tensor_shape.dim],
        )
        for name, info in infos.items()
    }


@pytest.fixture(scope="module")
def ask(served, settings):
    """ask(kind, prime, length, steps, **sampling): `generate`, or `resume` with a state."""

    def ask(kind, prime, length, steps, state=None, **given):
        rows = len(prime)
        inputs = {
            "prime": np.asarray(prime, np.int32),
            "prime_length": np.array(np.broadcast_to(length, rows), np.int32),
            "steps": np.array(np.broadcast_to(steps, rows), np.int32),
            **settings(rows, **given),
        }
        if state is None:
            return served(kind)("generate", **inputs)
        return served(kind)("resume", **inputs, state=state)

    return ask


@pytest.fixture(scope="module")
def primes(exported, events_of):
    """primes(kind, rows, count): int32[rows, count, F]."""

    def primes(kind, rows, count, seed=0):
        known = exported(kind).vocabulary
        return np.stack([events_of(known, count, 1000 * seed + row) for row in range(rows)])

    return primes


def same(one, other):
    """Whether two arrays are the same to the bit."""
    return one.shape == other.shape and one.tobytes() == other.tobytes()


# the contract


@pytest.mark.parametrize(
    ("kind", "fields", "state"), [("chain", 3, 2048 + 36 + 82), ("paper", 1, 2048)]
)
def test_the_six_signatures_are_those_of_the_contract(served, kind, fields, state):
    signatures = served(kind).signatures
    wanted = contract(fields, state)
    assert set(signatures) - {"__saved_model_init_op"} == set(wanted)
    for name, (inputs, outputs) in wanted.items():
        assert described(signatures[name].inputs) == inputs, name
        made = described(signatures[name].outputs)
        assert {key: dtype for key, (dtype, _) in made.items()} == {
            key: dtype for key, (dtype, _) in outputs.items()
        }, name
        for key, (_, shape) in made.items():
            # What the graph knows of a shape must not contradict the contract.
            static = tf.TensorShape(
                None if shape is None else [None if d < 0 else d for d in shape]
            )
            asked = tf.TensorShape([None if d < 0 else d for d in outputs[key][1]])
            assert static.is_compatible_with(asked), (name, key)


@pytest.mark.parametrize(("kind", "fields"), [("chain", 3), ("paper", 1)])
def test_tensorflow_servings_batching_file_fits_the_signatures(served, textproto, kind, fields):
    text = (Path(__file__).parents[2] / "serving" / "config" / "batching.config").read_text()
    batching = textproto("BatchingParameters", text)
    signatures = served(kind).signatures
    padded = set()
    for name in contract(fields):
        inputs, outputs = (
            described(side) for side in (signatures[name].inputs, signatures[name].outputs)
        )
        # Calls are joined and parted along the first dimension: it must be the rows.
        for _, shape in [*inputs.values(), *outputs.values()]:
            assert shape is None or shape[0] == -1, name
        padded |= {(name, key) for key, (_, shape) in inputs.items() if -1 in shape[1:]}
        assert re.search(rf"\b{name}\b", text), f"the file's comment does not tell of {name}"
    # Padding is asked for where an input says beside it how much of it is to be read;
    # the one that does not is warned of.
    assert padded == {("generate", "prime"), ("resume", "prime"), ("predict_next", "events")}
    assert batching.pad_variable_length_inputs
    assert re.search(r"predict_next\s+NOT TO BE BATCHED", text)
    limits = json.loads(served(kind)("describe", keys=["limits"])["values"][0])
    assert batching.max_batch_size.value == limits["max_batch"]


def test_padding_as_the_batcher_does_it_changes_what_predict_next_says(served, primes, settings):
    # Why the batching file warns of it; `generate` does not mind (see below).
    events = primes("small", 2, 6)
    as_sent = served("small")("predict_next", events=events, **settings(2, temperature=0.0))
    padded = np.pad(events, [(0, 0), (0, 3), (0, 0)], constant_values=events[0, 0, 0])
    as_padded = served("small")("predict_next", events=padded, **settings(2, temperature=0.0))
    assert not same(as_sent["log_prob"], as_padded["log_prob"])


@pytest.mark.parametrize("kind", ["chain", "paper"])
def test_the_graph_holds_nothing_that_only_a_gpu_can_run(exported, kind):
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel()
    with open(os.path.join(exported(kind).path, "saved_model.pb"), "rb") as file:
        saved.ParseFromString(file.read())
    types = set()
    for graph in saved.meta_graphs:
        types |= {node.op for node in graph.graph_def.node}
        for function in graph.graph_def.library.function:
            types |= {node.op for node in function.node_def}
    assert "MatMul" in types
    assert "While" in types or "StatelessWhile" in types
    assert not {name for name in types if "cudnn" in name.lower() or name.startswith("Xla")}


def test_the_session_loads_weights_once_and_shares_them(served):
    """Keras 3 models saved otherwise leave the Session loader without variables."""
    graph = served("chain").session.graph
    names = {op.node_def.attr["shared_name"].s for op in graph.get_operations() if "Var" in op.type}
    assert names


# describe


@pytest.mark.parametrize("kind", ["chain", "paper"])
def test_describe_answers_in_json_what_the_assets_say(served, exported, kind):
    model = exported(kind)
    with open(os.path.join(model.path, "assets", "segue.json")) as file:
        assets = json.load(file)
    keys = ["codec", "vocabulary", "training", "limits", "signatures"]
    values = served(kind)("describe", keys=keys)["values"]
    assert {key: json.loads(value) for key, value in zip(keys, values, strict=True)} == assets
    assert assets["codec"] == model.model.codec.config()
    assert assets["training"] == model.training
    assert [field["kept"] for field in assets["vocabulary"]["fields"]] == [
        list(field.kept) for field in model.vocabulary.fields
    ]
    assert assets["vocabulary"]["closed"] == model.vocabulary.closed
    assert assets["limits"]["min_prime"] == (75 if kind == "paper" else 1)
    assert set(assets["signatures"]) == set(contract(1))


def test_describe_takes_any_keys_in_any_number(served):
    describe = served("chain")
    assert describe("describe", keys=["nothing", "training", "", "nothing"])["values"].tolist() == [
        b"null",
        describe("describe", keys=["training"])["values"][0],
        b"null",
        b"null",
    ]
    assert describe("describe", keys=np.array([], object))["values"].shape == (0,)


def test_describe_says_what_a_model_does_not_do_and_the_call_says_the_same(
    served, ask, primes, settings
):
    value = served("paper")("describe", keys=["signatures"])["values"][0]
    signatures = json.loads(value)
    refused = {name for name, reason in signatures.items() if reason}
    assert refused == {"resume", "step"}
    state = np.zeros((1, 2048), np.float32)
    prime = primes("paper", 1, 75)
    message = served("paper").fails("step", event=prime[:, 0], state=state, **settings(1))
    assert f"this model has no step: {signatures['step']}" in message
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        ask("paper", prime, 75, 3, state=state)
    assert f"this model has no resume: {signatures['resume']}" in caught.value.message
    chain = json.loads(served("chain")("describe", keys=["signatures"])["values"][0])
    assert not any(chain.values())


# scores


def keras_nats(model, events):
    """Nats of every event but the first, by the network that Keras trains."""
    known = model.vocabulary
    indices = known.indices(events)
    heard, coming = indices[None, :-1], indices[None, 1:]
    share = sum(known.share_nll[f][events[1:, f]] for f in range(events.shape[1]))
    return model.network([heard, coming], training=False).numpy()[0] + share


def windows(model, counts, seed=3, ngram=None):
    """Windows of so many events as tf.train.Examples, and themselves."""
    from music.codec import build_codec

    names = [field.name for field in model.vocabulary.fields]
    rng = np.random.default_rng(seed)
    cuts = []
    for count in counts:
        columns = []
        for field, known in zip(
            build_codec(dict(model.vocabulary.codec)).fields, model.vocabulary.fields, strict=True
        ):
            kept = rng.choice(known.kept, count)
            odd = rng.random(count) < (0.0 if model.vocabulary.closed else 0.2)
            columns.append(np.where(odd, rng.integers(0, field.size, count), kept))
        events = np.stack(columns, axis=1).astype(np.int32)
        scored = 1 if model.window.form == "last" else min(count - 1, model.window.length)
        cuts.append(Window(events, 0, scored))
    examples = [to_example(cut, "s", names, ngram).SerializeToString() for cut in cuts]
    return cuts, np.array(examples, object)


@pytest.mark.parametrize("kind", ["chain", "small"])
def test_a_chain_scores_as_its_keras_network_and_the_shares(exported, served, kind):
    model = exported(kind)
    longest = model.window.max_events
    cuts, examples = windows(model, [longest, longest - 3, 5, 2])
    out = served(kind)("serving_default", examples=examples)
    assert out["nll_steps"].shape == (4, model.window.max_scored)
    for row, cut in enumerate(cuts):
        nats = keras_nats(model, cut.events)[-cut.scored :]
        np.testing.assert_allclose(out["nll_steps"][row, : cut.scored], nats, atol=1e-4)
        assert not out["nll_steps"][row, cut.scored :].any()
        assert out["nll"][row] == pytest.approx(nats.mean(), abs=1e-4)
    # Shares are part of it: something here was snapped.
    known = model.vocabulary
    assert any(known.share_nll[f][cuts[0].events[:, f]].max() > 1.0 for f in range(3))


def test_the_paper_scores_as_categorical_cross_entropy(exported, served):
    model = exported("paper")
    cuts, examples = windows(model, [76] * 5)
    steps = served("paper")("serving_default", examples=examples)["nll_steps"]
    assert steps.shape == (5, 1)
    indices = np.stack([model.vocabulary.indices(cut.events)[:, 0] for cut in cuts])
    heard = (indices[:, :-1, None] / 175).astype(np.float32)
    probabilities = model.network(heard, training=False)
    nats = tf.keras.losses.sparse_categorical_crossentropy(indices[:, -1], probabilities)
    np.testing.assert_allclose(steps[:, 0], nats, atol=1e-4)


def test_nll_minus_ngram_is_the_difference_and_nan_without_a_baseline(exported, served):
    model = exported("small")
    _, with_ngram = windows(model, [13, 4], ngram=2.5)
    _, without = windows(model, [13, 4])
    out = served("small")("serving_default", examples=np.concatenate([with_ngram, without]))
    assert same(out["nll"][:2], out["nll"][2:])
    np.testing.assert_allclose(out["nll_minus_ngram"][:2], out["nll"][:2] - 2.5, atol=1e-6)
    assert np.isnan(out["nll_minus_ngram"][2:]).all()


@pytest.mark.parametrize("kind", ["chain", "small"])
def test_ragged_windows_in_a_batch_score_as_one_by_one(exported, served, kind):
    model = exported(kind)
    longest = model.window.max_events
    _, examples = windows(model, [3, longest, 2, longest // 2, longest - 1], ngram=1.0)
    together = served(kind)("serving_default", examples=examples)
    for row in range(len(examples)):
        alone = served(kind)("serving_default", examples=examples[row : row + 1])
        for name, values in alone.items():
            np.testing.assert_allclose(values[0], together[name][row], atol=2e-5)


def test_only_the_last_scored_events_of_a_window_count(exported, served):
    model = exported("small")
    (cut,), _ = windows(model, [13])
    names = [field.name for field in model.vocabulary.fields]
    all_nats = keras_nats(model, cut.events)
    for scored in (1, 4, 6):
        example = to_example(Window(cut.events, 0, scored), "s", names, None).SerializeToString()
        out = served("small")("serving_default", examples=[example])
        np.testing.assert_allclose(out["nll_steps"][0, :scored], all_nats[-scored:], atol=1e-4)
        assert out["nll"][0] == pytest.approx(all_nats[-scored:].mean(), abs=1e-4)


# songs


def test_one_call_is_chunks_is_steps(ask, served, primes, settings):
    prime = primes("chain", 1, 9)
    how = {"temperature": 1.1, "top_p": 0.98, "seed": 42}
    whole = ask("chain", prime, 9, 250, **how)
    assert whole["events"].shape == (1, 250, 3)
    assert len(np.unique(whole["events"], axis=1)[0]) > 20

    events, log_prob, chunk = [], [], ask("chain", prime, 9, 25, **how)
    for start in range(25, 275, 25):
        events.append(chunk["events"])
        log_prob.append(chunk["log_prob"])
        if start < 250:
            last = chunk["events"][:, -1:]
            chunk = ask("chain", last, 1, 25, state=chunk["state"], **how, position=start)
    assert same(np.concatenate(events, axis=1), whole["events"])
    assert same(np.concatenate(log_prob, axis=1), whole["log_prob"])
    assert same(chunk["state"], whole["state"])

    state = ask("chain", prime, 9, 0, **how)["state"]
    event, events, log_prob = prime[:, 8], [], []
    for position in range(250):
        out = served("chain")(
            "step", event=event, state=state, **settings(1, **how, position=position)
        )
        event, state = out["event"], out["state"]
        events.append(event)
        log_prob.append(out["log_prob"])
    assert same(np.stack(events, axis=1), whole["events"])
    assert same(np.stack(log_prob, axis=1), whole["log_prob"])
    assert same(state, whole["state"])


@pytest.mark.parametrize("kind", ["chain", "small"])
def test_rows_of_a_batch_are_what_each_is_alone(ask, primes, kind):
    rows, width = 6, 12
    prime = primes(kind, rows, width)
    length = np.array([12, 1, 7, 2, 12, 5])
    steps = np.array([40, 33, 0, 1, 17, 40])
    how = {
        "temperature": np.array([1.0, 0.7, 1.0, 1.3, 0.0, 1.0]),
        "top_k": np.array([0, 5, 0, 0, 0, 40]),
        "top_p": np.array([1.0, 1.0, 0.5, 0.9, 1.0, 0.95]),
        "may_end": np.array([False, True, False, True, False, False]),
        "seed": np.array([3, -1, 2**62, 0, 5, 3]),
        "position": np.array([0, 10, 0, 99, 0, 0]),
    }
    together = ask(kind, prime, length, steps, **how)
    assert together["events"].shape == (6, 40, 3)
    for row in range(rows):
        alone = ask(
            kind,
            prime[row : row + 1, : length[row]],
            length[row],
            steps[row],
            **{name: value[row] for name, value in how.items()},
        )
        count = steps[row]
        assert alone["events"].shape == (1, count, 3)
        assert same(alone["events"][0], together["events"][row, :count])
        assert same(alone["log_prob"][0], together["log_prob"][row, :count])
        assert same(alone["state"][0], together["state"][row])
        assert (together["events"][row, count:] == -1).all()
        assert not together["log_prob"][row, count:].any()


def test_songs_are_the_same_to_the_bit_alone_and_in_batches(ask, primes):
    songs, width = 96, 6
    prime = primes("chain", songs, width)
    rng = np.random.default_rng(0)
    length = rng.integers(1, width + 1, songs)
    how = {
        "temperature": rng.choice([0.8, 1.0, 1.2], songs),
        "top_p": rng.choice([1.0, 0.95], songs),
        "seed": rng.integers(-(2**63), 2**63 - 1, songs),
    }

    def made(batch):
        parts = []
        for start in range(0, songs, batch):
            part = slice(start, start + batch)
            given = {name: value[part] for name, value in how.items()}
            parts.append(ask("chain", prime[part], length[part], 60, **given))
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    by_64 = made(64)
    assert by_64["events"].shape == (songs, 60, 3)
    for batch in (96, 7, 1):
        other = made(batch)
        # Events alone would hardly tell: of a thousand songs that differ in their last
        # bits, one or two come to another note.
        for name, value in by_64.items():
            differing = [row for row in range(songs) if not same(value[row], other[name][row])]
            assert differing == [], f"{name} of {len(differing)} songs in batches of {batch}"


def test_no_steps_only_consume_the_prime(ask, served, primes, settings):
    prime = primes("small", 2, 8)
    waiting = ask("small", prime, 8, 0)
    assert waiting["events"].shape == (2, 0, 3)
    assert waiting["log_prob"].shape == (2, 0)
    assert waiting["state"].any()
    whole = ask("small", prime, 8, 5, seed=4)
    last = prime[:, -1:]
    resumed = ask("small", last, 1, 5, state=waiting["state"], seed=4)
    assert same(resumed["events"], whole["events"])
    assert same(resumed["state"], whole["state"])
    stepped = served("small")(
        "step", event=last[:, 0], state=waiting["state"], **settings(2, seed=4)
    )
    assert same(stepped["event"], whole["events"][:, 0])
    # Priming in two calls is priming in one.
    first = ask("small", prime[:, :5], 5, 0)
    second = ask("small", prime[:, 4:], 4, 0, state=first["state"])
    assert same(second["state"], waiting["state"])


def test_the_state_has_consumed_all_but_the_last_event(ask, primes):
    prime = primes("small", 2, 5)
    made = ask("small", prime, 5, 6, seed=9)
    events = np.concatenate([prime, made["events"]], axis=1)
    assert same(ask("small", events, 11, 0)["state"], made["state"])
    assert not ask("small", prime, 1, 0)["state"].any()


def test_log_prob_is_the_models_own_whatever_the_sampling(exported, ask, primes):
    model = exported("small")
    prime = primes("small", 3, 4)
    how = {"temperature": [0.0, 0.5, 2.0], "top_k": [0, 3, 0], "seed": 1}
    made = ask("small", prime, 4, 20, **how)
    known = model.vocabulary
    for row in range(3):
        events = np.concatenate([prime[row], made["events"][row]])
        indices = known.indices(events)
        nats = model.network([indices[None, :-1], indices[None, 1:]], training=False).numpy()[0]
        np.testing.assert_allclose(-made["log_prob"][row], nats[3:], atol=1e-4)


def test_greedy_is_the_likeliest_field_after_field(exported, ask, primes):
    model = exported("small").model
    prime = primes("small", 3, 4)
    made = ask("small", prime, 4, 15, temperature=0.0)
    known = model.vocabulary
    state, ones = model.zero_state(3), tf.ones([3, 1])

    def consume(event, state):
        return model.consume([tf.constant(i) for i in known.indices(event).T], state, ones)

    for event in prime[:, :-1].transpose(1, 0, 2):
        state = consume(event, state)
    event = prime[:, -1]
    for coming in made["events"].transpose(1, 0, 2):
        state = consume(event, state)
        sums = model.before_heads(model.read(state), ones)
        index = known.indices(coming)
        for field in range(3):
            earlier = [tf.constant(index[:, g]) for g in range(field)]
            logits = model.logits(sums, field, earlier, ones).numpy()
            if field == 1:
                logits[:, 128] = -np.inf
            assert np.array_equal(logits.argmax(axis=1), index[:, field])
        event = coming


def test_codes_that_are_made_are_kept_ones(exported, ask, primes):
    known = exported("chain").vocabulary
    events = ask("chain", primes("chain", 4, 3), 3, 60, seed=np.arange(4))["events"]
    for column, field in enumerate(known.fields):
        assert np.isin(events[..., column], field.kept).all()


def test_a_seed_decides_the_song_and_a_position_its_place_in_it(ask, primes):
    prime = np.tile(primes("small", 1, 4), (4, 1, 1))
    made = ask("small", prime, 4, 30, seed=[1, 1, 2, 1], position=[0, 0, 0, 1])["events"]
    assert same(made[0], made[1])
    assert not same(made[0], made[2])
    assert not same(made[0], made[3])


def test_a_song_is_the_same_in_a_batch_of_any_size(ask, primes):
    prime = primes("small", 150, 3)
    seeds = np.arange(150)
    whole = ask("small", prime, 3, 8, seed=seeds)
    for rows in (1, 2, 3, 4, 5, 7, 8, 9, 13, 20, 64, 71, 73, 76, 78, 90, 100, 125):
        some = ask("small", prime[:rows], 3, 8, seed=seeds[:rows])
        for name, value in some.items():
            assert same(value, whole[name][:rows]), (rows, name)


def test_a_batch_is_filled_up_no_further_than_it_must():
    import tensorflow as tf

    from components.trainer.inference import whole_rows

    made = [int(whole_rows(tf.constant(rows))) for rows in range(1, 200)]
    for rows, run_as in enumerate(made, start=1):
        assert run_as >= rows
        assert run_as % 12 == 0 if rows > 72 else run_as % 6 in (0, 4, 5)
        assert run_as - rows <= (11 if rows > 72 else 3)
    assert made[:9] == [4, 4, 4, 4, 5, 6, 10, 10, 10]


def test_the_boundary_is_drawn_only_where_it_may_be(ask, primes):
    prime = primes("ending", 8, 3)
    may = np.arange(8) % 2 == 0
    for how in ({"temperature": 1.0}, {"temperature": 0.0}, {"temperature": 3.0, "top_k": 1}):
        made = ask("ending", prime, 3, 30, may_end=may, seed=np.arange(8), **how)
        pitch = made["events"][..., 1]
        assert (pitch[~may] != 128).all()
        assert (pitch[~may] >= 0).all()
        for row in np.flatnonzero(may):
            (ends,) = np.nonzero(pitch[row] == 128)
            assert len(ends) == 1
            after = ends[0] + 1
            assert (made["events"][row, after:] == -1).all()
            assert not made["log_prob"][row, after:].any()
            assert (made["log_prob"][row, :after] != 0).all()
            # Its state stands still: that of the song up to its end.
            song = np.concatenate([prime[row], made["events"][row, :after]])[None]
            again = ask("ending", np.repeat(song, 2, axis=0), 3 + after, 0)["state"][0]
            assert same(again, made["state"][row])


def test_a_boundary_in_the_prime_ends_nothing(ask, primes):
    prime = primes("ending", 2, 3)
    prime[:, -1, 1] = 128
    made = ask("ending", prime, 3, 5)["events"]
    assert (made >= 0).all()


def test_nothing_past_prime_length_is_read(ask, primes):
    prime = primes("small", 3, 10)
    length = np.array([4, 10, 1])
    made = ask("small", prime, length, 12, seed=7)
    garbage = prime.copy()
    for row, count in enumerate(length):
        garbage[row, count:] = [-(2**31), 2**31 - 1, 999][row]
    assert same(ask("small", garbage, length, 12, seed=7)["events"], made["events"])
    wider = np.pad(prime, [(0, 0), (0, 5), (0, 0)], constant_values=-1)
    assert same(ask("small", wider, length, 12, seed=7)["state"], made["state"])


def test_codes_that_no_vocabulary_holds_are_held_to_the_nearest(
    exported, ask, served, primes, settings
):
    known = exported("small").vocabulary
    prime = primes("small", 2, 4)
    strange = prime.copy()
    strange[0, 1] = [-5, 500, 2**31 - 1]
    strange[1, 2] = [1536, -(2**31), 1537]
    nearest = prime.copy()
    nearest[0, 1] = [0, 128, 1536]
    nearest[1, 2] = [1536, 0, 1536]
    made = ask("small", strange, 4, 10, seed=1)
    assert same(made["events"], ask("small", nearest, 4, 10, seed=1)["events"])
    # A code in the field that is not kept goes where the vocabulary's table says.
    kept = np.stack(
        [np.array(f.kept)[known.indices(nearest[0])[:, c]] for c, f in enumerate(known.fields)], 1
    )
    assert not np.array_equal(kept, nearest[0])
    assert same(ask("small", [kept, kept], 4, 10, seed=1)["events"][0], made["events"][0])
    state = made["state"]
    out = served("small")("step", event=strange[:, 1], state=state, **settings(2))
    assert (out["event"] >= 0).all()
    names = [field.name for field in known.fields]
    window = Window(strange[0], 0, 3)
    example = to_example(window, "s", names, None).SerializeToString()
    assert np.isfinite(served("small")("serving_default", examples=[example])["nll"]).all()


def test_a_sliding_window_of_predict_next_is_the_first_event_of_generate(
    served, ask, primes, settings
):
    prime = primes("chain", 3, 20)
    how = {"seed": [1, 2, 3], "position": [0, 4, 8], "temperature": [1.0, 0.5, 0.0]}
    one = served("chain")("predict_next", events=prime, **settings(3, **how))
    made = ask("chain", prime, 20, 1, **how)
    assert same(one["event"], made["events"][:, 0])
    assert same(one["log_prob"], made["log_prob"][:, 0])


# the paper's loop


def loop_of_predict_next(served, kind, prime, count, settings, **how):
    """The paper's generation: the last 75 events, one call an event."""
    window, events = prime[:, -75:], []
    for position in range(count):
        out = served(kind)(
            "predict_next", events=window, **settings(len(prime), **how, position=position)
        )
        events.append(out["event"])
        window = np.concatenate([window[:, 1:], out["event"][:, None]], axis=1)
    return np.stack(events, axis=1)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_the_papers_generate_is_its_loop_of_predict_next(
    served, ask, primes, settings, temperature
):
    prime = primes("small paper", 2, 90)
    how = {"temperature": temperature, "seed": [4, 5]}
    made = ask("small paper", prime, [90, 80], 250, **how)
    assert made["events"].shape == (2, 250, 1)
    assert not made["state"].any()
    both = np.stack([prime[0, 15:90], prime[1, 5:80]])
    wanted = loop_of_predict_next(served, "small paper", both, 250, settings, **how)
    assert same(made["events"], wanted)


def test_the_paper_at_its_own_size_does_the_same(served, ask, primes, settings):
    prime = primes("paper", 1, 75)
    made = ask("paper", prime, 75, 12, seed=3)["events"]
    wanted = loop_of_predict_next(served, "paper", prime, 12, settings, seed=3)
    assert same(made, wanted)


@pytest.mark.slow
def test_the_papers_250_notes_at_its_own_size(served, ask, primes, settings):
    prime = primes("paper", 1, 75)
    made = ask("paper", prime, 75, 250, seed=3)["events"]
    wanted = loop_of_predict_next(served, "paper", prime, 250, settings, seed=3)
    assert same(made, wanted)


def test_the_papers_rows_are_what_each_is_alone(ask, primes):
    prime = primes("small paper", 3, 80)
    length, steps = np.array([75, 80, 77]), np.array([9, 0, 4])
    together = ask("small paper", prime, length, steps, seed=[1, 2, 3])
    for row in range(3):
        alone = ask("small paper", prime[row : row + 1], length[row], steps[row], seed=row + 1)
        assert same(alone["events"][0], together["events"][row, : steps[row]])
    assert (together["events"][2, 4:] == -1).all()


# what is refused


def test_a_prime_shorter_than_the_papers_window_is_refused(ask, served, primes, settings):
    words = "a prime must have at least 75 events, got"
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        ask("paper", primes("paper", 2, 75), [75, 74], 3)
    assert words in caught.value.message
    message = served("paper").fails("predict_next", events=primes("paper", 1, 74), **settings(1))
    assert words in message


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"length": [3, 0]}, "a prime must have at least 1 events, got"),
        ({"length": [3, -2]}, "a prime must have at least 1 events, got"),
        ({"length": [3, 6]}, "prime_length must be at most the width of prime, got"),
        ({"steps": [4, -1]}, "steps must be 0 or more, got"),
        ({"temperature": [1.0, -1.0]}, "temperature must be 0 (the likeliest) or more, got"),
        ({"temperature": [1.0, np.nan]}, "temperature must be 0 (the likeliest) or more, got"),
        ({"top_k": [0, -1]}, "top_k must be 0 (off) or more, got"),
        ({"top_p": [1.0, 0.0]}, "top_p must be above 0 and at most 1 (off), got"),
        ({"position": [0, -1]}, "position must be 0 or more, got"),
    ],
)
def test_a_call_that_makes_no_sense_is_refused_in_words(ask, served, primes, given, words):
    prime = primes("small", 2, 5)
    how = {"length": 5, "steps": 4, **given}
    state = np.zeros(
        (2, served("small").signatures["step"].inputs["state"].tensor_shape.dim[1].size)
    )
    for carried in (None, state):
        with pytest.raises(tf.errors.InvalidArgumentError) as caught:
            ask("small", prime, state=carried, **how)
        assert words in caught.value.message


def test_an_empty_batch_and_an_empty_prime_are_refused(ask, served, exported, settings):
    words = "a batch must have at least one row, got 0"
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        ask("small", np.zeros((0, 4, 3)), [], [])
    assert words in caught.value.message
    message = served("small").fails(
        "predict_next", events=np.zeros((0, 4, 3), np.int32), **settings(0)
    )
    assert words in message
    state = np.zeros((0, exported("small").model.state_size), np.float32)
    message = served("small").fails(
        "step", event=np.zeros((0, 3), np.int32), state=state, **settings(0)
    )
    assert words in message
    message = served("small").fails(
        "predict_next", events=np.zeros((1, 0, 3), np.int32), **settings(1)
    )
    assert "a prime must have at least 1 events, got" in message


def test_a_call_beyond_the_limits_of_describe_is_refused(ask, served, exported, primes, settings):
    limits = json.loads(served("small")("describe", keys=["limits"])["values"][0])
    prime = primes("small", 2, 3)
    state = ask("small", prime, 3, 0)["state"]
    for carried in (None, state):
        for steps in (limits["max_steps"] + 1, 2**31 - 1):
            with pytest.raises(tf.errors.InvalidArgumentError) as caught:
                ask("small", prime, 3, [1, steps], state=carried)
            assert f"steps must be at most {limits['max_steps']}, got" in caught.value.message
    long = np.zeros((1, limits["max_prime"] + 1, 3), np.int32)
    many = np.zeros((limits["max_batch"] + 1, 2, 3), np.int32)
    words = f"prime must be at most {limits['max_prime']}, got"
    assert words in served("small").fails("predict_next", events=long, **settings(1))
    words = f"rows must be at most {limits['max_batch']}, got"
    assert words in served("small").fails("predict_next", events=many, **settings(len(many)))
    assert ask("small", many[1:], 2, 1)["events"].shape == (limits["max_batch"], 1, 3)


def test_what_memory_grows_with_is_bounded_as_well(ask, served, primes, settings):
    limits = json.loads(served("small")("describe", keys=["limits"])["values"][0])
    rows = limits["max_events"] // limits["max_steps"] + 1
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        ask("small", primes("small", rows, 3), 3, limits["max_steps"])
    words = f"rows times steps must be at most {limits['max_events']}, got"
    assert words in caught.value.message


def test_step_holds_to_the_limits_too(served, settings):
    limits = json.loads(served("small")("describe", keys=["limits"])["values"][0])
    rows = limits["max_batch"] + 1
    event = np.zeros((rows, 3), np.int32)
    state = np.zeros((rows, limits["state_size"]), np.float32)
    message = served("small").fails("step", event=event, state=state, **settings(rows))
    assert f"rows must be at most {limits['max_batch']}, got" in message


def test_inputs_of_different_rows_are_refused_and_not_cut(served, primes, settings):
    inputs = {
        "prime": primes("small", 2, 3),
        "prime_length": np.full(2, 3, np.int32),
        "steps": np.full(2, 1, np.int32),
        **settings(2),
    }
    for name in ("prime_length", "steps", "seed", "temperature"):
        longer = {**inputs, name: np.concatenate([inputs[name], inputs[name][:1]])}
        message = served("small").fails("generate", **longer)
        assert "every input must have one row a song, got rows" in message


def test_a_state_that_is_no_number_is_refused(served, exported, settings):
    event = np.zeros((2, 3), np.int32)
    state = np.full((2, exported("small").model.state_size), np.nan, np.float32)
    message = served("small").fails("step", event=event, state=state, **settings(2))
    assert "state holds what is no number" in message


def test_examples_that_are_none_are_refused(served):
    served("small").fails("serving_default", examples=[b"not an example"])
    served("small").fails("serving_default", examples=[tf.train.Example().SerializeToString()])


@pytest.mark.parametrize(("count", "scored"), [(0, 1), (1, 1), (4, 4), (4, 5)])
def test_a_window_that_scores_its_first_event_is_refused(served, count, scored):
    names = ["step", "pitch", "duration"]
    whole = to_example(Window(np.zeros((5, 3), np.int32), 0, 4), "s", names, None)
    wrong = to_example(Window(np.zeros((count, 3), np.int32), 0, scored), "s", names, None)
    for examples in ([wrong], [whole, wrong]):
        message = served("small").fails(
            "serving_default", examples=[example.SerializeToString() for example in examples]
        )
        assert "scored must be less than the events of a window" in message


def test_no_examples_give_no_scores(served):
    out = served("small")("serving_default", examples=np.array([], object))
    assert {name: len(value) for name, value in out.items()} == dict.fromkeys(out, 0)
