"""The random numbers and the draw, against independent numpy."""

import numpy as np
import pytest
import tensorflow as tf

from components.trainer import sampling
from components.trainer.sampling import Sampling, below_largest, forbid, prepare, uniforms

GAMMA = np.uint64(0x9E3779B97F4A7C15)
SEEDS = np.array([0, 1, -1, 7, 2**63 - 1, -(2**63), 1234567], np.int64)
POSITIONS = np.array([0, 5, 2, 1_000_000, 2**31 - 100, 3, 17], np.int32)


def mix(bits):
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


def reference(seed, position, steps, fields):
    """Uniforms of one row, by numpy alone."""
    with np.errstate(over="ignore"):
        key = mix(np.array(seed, np.int64).view(np.uint64) + GAMMA)
        places = 16 * (position + np.arange(steps))[:, None] + np.arange(fields) + 1
        bits = mix(key + GAMMA * places.astype(np.uint64))
    return ((bits >> np.uint64(41)).astype(np.float64) / 2**23).astype(np.float32)


def many(rows, **given):
    """A Sampling of so many rows."""
    values = {
        "temperature": 1.0,
        "top_k": 0,
        "top_p": 1.0,
        "may_end": False,
        "seed": 0,
        "position": 0,
    }
    values.update(given)
    return Sampling(
        *(
            tf.constant(np.broadcast_to(values[spec.name], rows), spec.dtype)
            for spec in Sampling.specs()
        )
    )


def draw(logits, uniform, given):
    """Draws as the model does."""
    uniform = tf.where(given.temperature > 0, tf.cast(uniform, tf.float32), 0.0)
    return sampling.draw(below_largest(logits), uniform[:, None], prepare(given))


def shares(logits, **given):
    """The distribution that `draw` inverts, read off a fine grid of random numbers."""
    count = 20_000
    logits = np.asarray(logits, np.float32)
    grid = ((np.arange(count) + 0.5) / count).astype(np.float32)
    drawn = draw(tf.constant(np.tile(logits, (count, 1))), tf.constant(grid), many(count, **given))
    return np.bincount(drawn.numpy(), minlength=len(logits)) / count


def expected(logits, temperature=1.0, top_k=0, top_p=1.0):
    """The same distribution from its definition, float64."""
    p = np.exp((np.asarray(logits, np.float64) - np.max(logits)) / temperature)
    p /= p.sum()
    if top_k:
        p = np.where(p >= np.sort(p)[::-1][min(top_k, len(p)) - 1], p, 0.0)
        p /= p.sum()
    if top_p < 1:
        down = np.sort(p)[::-1]
        enough = np.argmax(np.cumsum(down) >= top_p)
        p = np.where(p >= down[enough], p, 0.0)
        p /= p.sum()
    return p


# the random numbers


def test_the_reference_is_splitmix64_as_published():
    with np.errstate(over="ignore"):
        stream = mix(np.uint64(1234567) + GAMMA * np.arange(1, 4).astype(np.uint64))
    assert stream.tolist() == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_uniforms_are_those_of_splitmix64_to_the_bit():
    made = uniforms(tf.constant(SEEDS), tf.constant(POSITIONS), tf.constant(40), 5).numpy()
    wanted = np.stack([reference(s, int(p), 40, 5) for s, p in zip(SEEDS, POSITIONS, strict=True)])
    assert made.dtype == np.float32
    assert made.tobytes() == wanted.tobytes()


def test_uniforms_depend_on_seed_position_and_field_alone():
    whole = uniforms(tf.constant(SEEDS), tf.constant(POSITIONS), tf.constant(30), 3).numpy()
    for start, count in ((0, 7), (7, 1), (8, 22)):
        for row, (seed, position) in enumerate(zip(SEEDS, POSITIONS, strict=True)):
            chunk = uniforms(
                tf.constant([seed], tf.int64),
                tf.constant([position + start], tf.int32),
                tf.constant(count),
                2,
            ).numpy()
            assert np.array_equal(chunk[0], whole[row, start : start + count, :2])


def test_uniforms_are_uniform_and_look_unrelated():
    seeds = np.arange(400)
    made = uniforms(tf.constant(seeds), tf.zeros(400, tf.int32), tf.constant(250), 3).numpy()
    assert made.min() >= 0.0
    assert made.max() < 1.0
    counts = np.histogram(made, bins=100, range=(0, 1))[0]
    mean = made.size / 100
    assert ((counts - mean) ** 2 / mean).sum() < 148.2  # chi-square, 99 degrees, p = 0.001
    for axis in range(3):  # neighbours in seed, position and field
        one, next_one = np.delete(made, -1, axis).ravel(), np.delete(made, 0, axis).ravel()
        assert abs(np.corrcoef(one, next_one)[0, 1]) < 0.01


def test_no_steps_make_no_numbers():
    made = uniforms(tf.constant([1, 2], tf.int64), tf.constant([0, 0]), tf.constant(0), 3)
    assert made.shape == (2, 0, 3)


# the draw


def test_temperature_0_is_argmax_whatever_else_is_asked():
    logits = np.random.default_rng(1).normal(size=(50, 9)).astype(np.float32)
    uniform = np.linspace(0, 0.999, 50).astype(np.float32)
    for more in ({}, {"top_k": 3}, {"top_p": 0.5}):
        drawn = draw(tf.constant(logits), tf.constant(uniform), many(50, temperature=0.0, **more))
        assert drawn.dtype == tf.int32
        assert np.array_equal(drawn, logits.argmax(axis=1))


def test_frequencies_are_those_of_the_softmax():
    logits = np.random.default_rng(2).normal(size=12).astype(np.float32) * 1.5
    rows = 200_000
    for temperature in (0.5, 1.0, 2.0):
        uniform = uniforms(tf.range(rows, dtype=tf.int64), tf.fill([rows], 3), tf.constant(1), 1)[
            :, 0, 0
        ]
        drawn = draw(
            tf.constant(np.tile(logits, (rows, 1))), uniform, many(rows, temperature=temperature)
        )
        counts = np.bincount(drawn.numpy(), minlength=12)
        mean = rows * expected(logits, temperature)
        assert ((counts - mean) ** 2 / mean).sum() < 31.3  # 11 degrees, p = 0.001


def test_the_ends_of_the_unit_interval_draw_codes_that_can_be_drawn():
    logits = np.array([[-np.inf, 0.0, 1.0, -np.inf]] * 2, np.float32)
    largest = np.float32(1 - 2**-23)
    drawn = draw(tf.constant(logits), tf.constant([0.0, largest]), many(2))
    assert drawn.numpy().tolist() == [1, 2]
    rng = np.random.default_rng(3)
    wide = rng.normal(size=(2000, 129)).astype(np.float32)
    wide[:, -1] = -np.inf
    drawn = draw(tf.constant(wide), tf.fill([2000], largest), many(2000))
    assert drawn.numpy().max() < 128


@pytest.mark.parametrize("temperature", [1e-30, 1.3e-38])
def test_a_temperature_near_0_is_nearly_argmax(temperature):
    logits = np.random.default_rng(4).normal(size=(64, 9)).astype(np.float32) * 10
    for more in ({}, {"top_k": 4}, {"top_p": 0.9}):
        settings = many(64, temperature=temperature, **more)
        drawn = draw(tf.constant(logits), tf.fill([64], np.float32(0.5)), settings)
        assert np.array_equal(drawn, logits.argmax(axis=1))


LOGITS = np.log([0.30, 0.05, 0.20, 0.10, 0.20, 0.15])  # two codes tie


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"top_k": 1}, {0}),
        ({"top_k": 2}, {0, 2, 4}),  # the second and the third tie
        ({"top_k": 3}, {0, 2, 4}),
        ({"top_k": 4}, {0, 2, 4, 5}),
        ({"top_k": 6}, {0, 1, 2, 3, 4, 5}),
        ({"top_k": 99}, {0, 1, 2, 3, 4, 5}),
        ({"top_p": 1e-6}, {0}),
        ({"top_p": 0.29}, {0}),
        ({"top_p": 0.45}, {0, 2, 4}),
        ({"top_p": 0.69}, {0, 2, 4}),
        ({"top_p": 0.84}, {0, 2, 4, 5}),
        ({"top_p": 0.94}, {0, 2, 3, 4, 5}),
        ({"top_p": 0.96}, {0, 1, 2, 3, 4, 5}),
        # Of the three that top-k leaves, the likeliest holds 3/7 of the share.
        ({"top_k": 3, "top_p": 0.42}, {0}),
        ({"top_k": 3, "top_p": 0.44}, {0, 2, 4}),
    ],
)
def test_top_k_and_top_p_keep_exactly_the_right_codes(given, kept):
    made = shares(LOGITS, **given)
    assert set(np.flatnonzero(made)) == kept
    assert np.allclose(made, expected(LOGITS, **given), atol=2e-4)


def test_truncated_distributions_agree_with_their_definition():
    rng = np.random.default_rng(6)
    for _ in range(25):
        logits = rng.normal(size=17) * rng.uniform(0.2, 3)
        given = {
            "temperature": float(rng.uniform(0.4, 2.5)),
            "top_k": int(rng.integers(0, 20)),
            "top_p": float(rng.choice([1.0, 0.3, 0.7, 0.95])),
        }
        assert np.allclose(shares(logits, **given), expected(logits, **given), atol=3e-4), given


def test_a_row_that_truncates_does_not_touch_the_others():
    rng = np.random.default_rng(7)
    logits = tf.constant(rng.normal(size=(4000, 129)).astype(np.float32) * 2)
    uniform = tf.constant(rng.random(4000, np.float32))
    plain = draw(logits, uniform, many(4000)).numpy()
    odd = np.arange(4000) % 2 == 1
    mixed = draw(logits, uniform, many(4000, top_k=np.where(odd, 2, 0))).numpy()
    assert np.array_equal(mixed[~odd], plain[~odd])
    assert not np.array_equal(mixed[odd], plain[odd])
    mixed = draw(logits, uniform, many(4000, top_p=np.where(odd, 0.1, 1.0))).numpy()
    assert np.array_equal(mixed[~odd], plain[~odd])
    assert not np.array_equal(mixed[odd], plain[odd])


def test_forbid_takes_one_column_out_of_the_rows_that_may_not():
    logits = np.full((2, 4), [0.0, 1.0, 9.0, 2.0], np.float32)
    changed = (logits + forbid(4, 2, unless=tf.constant([True, False]))).numpy()
    assert np.array_equal(changed[0], logits[0])
    assert np.array_equal(changed[1, [0, 1, 3]], logits[1, [0, 1, 3]])
    assert changed[1].argmax() == 3
    drawn = draw(
        tf.constant(np.tile(changed[1], (500, 1))), tf.linspace(0.0, 0.9999, 500), many(500)
    )
    assert set(drawn.numpy()) == {0, 1, 3}


def test_of_several_that_are_the_likeliest_the_first_is_drawn_at_temperature_0():
    logits = tf.constant(np.tile(np.array([1.0, 5.0, 2.0, 5.0, 5.0], np.float32), (20, 1)))
    drawn = draw(logits, tf.linspace(0.0, 0.999, 20), many(20, temperature=0.0))
    assert set(drawn.numpy()) == {1}


def test_no_number_draws_a_code_without_a_share():
    rng = np.random.default_rng(8)
    logits = rng.normal(size=(3000, 60)).astype(np.float32) * 3
    logits[rng.random(logits.shape) < 0.5] = -np.inf
    logits[:, 7] = 0.0
    for number in (0.0, 1 - 2**-23):
        drawn = draw(tf.constant(logits), tf.fill([3000], np.float32(number)), many(3000)).numpy()
        assert np.isfinite(logits[np.arange(3000), drawn]).all()


@pytest.mark.parametrize("temperature", [0.0, 1.3e-38, 1.0, 1e30, 3e38])
def test_no_temperature_brings_back_what_is_forbidden(temperature):
    logits = tf.constant(np.tile(np.array([0.5, 3.0, 0.1], np.float32), (500, 1)))
    logits += forbid(3, 1, unless=tf.zeros(500, tf.bool))
    for more in ({}, {"top_k": 2}, {"top_p": 0.99}):
        settings = many(500, temperature=temperature, **more)
        drawn = draw(logits, tf.linspace(0.0, 0.9999, 500), settings)
        assert 1 not in drawn.numpy()


# what is refused


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("temperature", -0.1, "temperature must be 0 (the likeliest) or more, got"),
        ("temperature", np.nan, "temperature must be 0 (the likeliest) or more, got"),
        ("temperature", np.inf, "temperature must be 0 (the likeliest) or more, got"),
        ("top_k", -1, "top_k must be 0 (off) or more, got"),
        ("top_p", 0.0, "top_p must be above 0 and at most 1 (off), got"),
        ("top_p", 1.5, "top_p must be above 0 and at most 1 (off), got"),
        ("top_p", np.nan, "top_p must be above 0 and at most 1 (off), got"),
        ("position", -1, "position must be 0 or more, got"),
    ],
)
def test_nonsense_is_refused_in_words(name, value, words):
    good = many(3).__getattribute__(name).numpy()
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        many(3, **{name: [good[0], value, good[2]]}).checks()
    assert words in caught.value.message


def test_the_ends_of_what_is_allowed_pass():
    many(2, temperature=[0.0, 50.0], top_k=[0, 10_000], top_p=[1e-6, 1.0], position=[0, 9]).checks()
