"""The trained network as plain TensorFlow: what is served.

Training wants Keras layers; serving wants one graph that scores windows and
makes songs, loads under TensorFlow Serving's Session loader, and holds nothing
that only a GPU can run. So the weights move from the Keras model into this
module, which knows the same arithmetic in its own words: a cell is one matmul
with the kernel and the recurrent kernel stacked, and the whole loop of
generation is one `tf.while_loop` that carries the state.

Two things are promised about generation, and everything here is arranged for
them. A row's song does not depend on what else is in the batch: the linear algebra
takes some rows of a matmul another way than the others, which may differ in the
last bits, so a batch is filled up to a number of rows that are all taken the same
way (`whole_rows`). And a song is the same
whether made by one call, in chunks, or note by note: prime and new events go
through the same cell, and the returned state has consumed everything but the
last event, which is the next call's prime.

Events are codes at the border and the vocabulary's indices inside.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import tensorflow as tf

from components.trainer import sampling as draws
from components.trainer.profile import views
from components.trainer.profile_served import ServedView
from components.trainer.sampling import Prepared, Sampling
from components.trainer.settings import ModelSettings
from music.codec import build_codec
from music.vocabulary import Vocabulary
from music.windows import WindowSpec

# The widest vector of floats that a processor works on.
_LANES = 16
# h and c of the three layers, in this order, float32[N, u] each; then the profile, view
# by view, float32[N, size] each, of a model that has one.
State = tuple[tf.Tensor, ...]
# An event's fields as the vocabulary's indices, F of int32[N].
Event = list[tf.Tensor]


@dataclasses.dataclass(frozen=True)
class Weights:
    """A trained network's numbers, float32, free of any framework.

    With D the input's width, u the units of a layer, V_f the vocabulary's sizes:

    Attributes:
      cells: for each LSTM layer (kernel [in + u, 4u], bias [4u]), the input's
        rows first, gates in the order input, forget, candidate, output.
      embeddings: for each field [V_f, E]; empty for the paper's scaled index.
      dense: for each field (kernel [u, dense], bias [dense]).
      conditions: for each field f and each field g before it [V_g, dense], added
        before the activation: what the event's earlier fields say of this one.
      heads: for each field (kernel [dense, V_f], bias [V_f]).
      profile: for each view (`components.trainer.profile`) kernel [paces, distances,
        width], signal_kernel [dense, width], bias [width] and readout [width]; empty for
        a model without.
    """

    cells: tuple[tuple[np.ndarray, np.ndarray], ...]
    embeddings: tuple[np.ndarray, ...]
    dense: tuple[tuple[np.ndarray, np.ndarray], ...]
    conditions: tuple[tuple[np.ndarray, ...], ...]
    heads: tuple[tuple[np.ndarray, np.ndarray], ...]
    profile: tuple[tuple[np.ndarray, ...], ...] = ()


ACTIVATIONS = {
    "relu": tf.nn.relu,
    "tanh": tf.tanh,
    "gelu": tf.nn.gelu,
    "sigmoid": tf.sigmoid,
    "linear": tf.identity,
}


def whole_rows(rows: tf.Tensor) -> tf.Tensor:
    """How many rows a batch runs as, so that each is what it is in any other batch.

    With AVX2, TensorFlow's matmul (one thread) takes six rows at a time; of what is left
    it takes four or five like the others, but one to three in another order of sums.
    Above 72 rows it cuts the batch into blocks first, whose sizes are even multiples of
    six where the batch is a multiple of twelve. With AVX-512 only a single row is taken
    another way. All found by trying every number of rows up to 400 with these networks'
    shapes.

    Args:
      rows: int32 scalar, 1 or more.

    Returns:
      int32 scalar: the least number from `rows` on that is safe with both.
    """
    rest = tf.math.floormod(rows, 6)
    small = rows + tf.where((rest >= 1) & (rest <= 3), 4 - rest, 0)
    return tf.where(rows <= 72, small, 12 * tf.math.floordiv(rows + 11, 12))


class InferenceModel(tf.Module):
    """Scores windows and makes songs.

    Args:
      weights: the trained numbers.
      settings: the network's shape.
      window: the form and length of the windows it was trained on.
      vocabulary: what its indices mean.
    """

    def __init__(
        self,
        weights: Weights,
        settings: ModelSettings,
        window: WindowSpec,
        vocabulary: Vocabulary,
    ):
        super().__init__(name="segue")
        self.settings = settings
        self.window = window
        self.vocabulary = vocabulary
        self.codec = build_codec(dict(vocabulary.codec))
        self.sliding = window.form == "last"

        def variable(value: np.ndarray) -> tf.Variable:
            return tf.Variable(value.astype(np.float32), trainable=False)

        first, *others = weights.cells
        tables, recurrent = _first_layer(*first, weights.embeddings, vocabulary.sizes[0])
        self.tables = [variable(table) for table in tables]
        self.recurrent = variable(recurrent)
        self.cells = [variable(_with_bias(*cell)) for cell in others]
        # All fields' dense layers read the same vector: one matmul makes them.
        self.dense = variable(np.concatenate([_with_bias(*pair) for pair in weights.dense], axis=1))
        self.conditions = [[variable(t) for t in tables] for tables in weights.conditions]
        heads = [_with_bias(*pair) for pair in weights.heads]
        # The column that moves the profile and is moved by it.
        self.pitched = self.codec.pitched
        looked_at = views(vocabulary) if settings.profile else ()
        self.views = [
            ServedView(view, *numbers)
            for view, numbers in zip(looked_at, weights.profile, strict=True)
        ]
        # What the pitch's logits depend on is stacked: one matmul for all of it.
        gains = [view.sounded.T for view in looked_at]
        heads[self.pitched] = np.concatenate([*gains, heads[self.pitched]])
        self.heads = [variable(_whole_lanes(kernel)) for kernel in heads]

    # ---- codes and indices -------------------------------------------------

    @property
    def ending(self) -> tuple[int, int] | None:
        """The field and the index in it that end a song; None if nothing does."""
        if self.codec.boundary is None:
            return None
        field, code = self.codec.boundary
        return field, int(self.vocabulary.tables[field][code])

    @property
    def fields(self) -> int:
        """F, the number of fields of an event."""
        return len(self.codec.fields)

    def to_indices(self, codes: tf.Tensor) -> tf.Tensor:
        """Codes int32[..., F] as indices; what lies outside a field is held to its ends."""
        columns = []
        for column, table in enumerate(self.vocabulary.tables):
            held = tf.clip_by_value(codes[..., column], 0, len(table) - 1)
            columns.append(tf.gather(tf.constant(table), held))
        return tf.stack(columns, axis=-1)

    def to_codes(self, indices: tf.Tensor) -> tf.Tensor:
        """Indices int32[..., F] as the codes that the vocabulary keeps."""
        columns = [
            tf.gather(tf.constant(field.kept, tf.int32), indices[..., column])
            for column, field in enumerate(self.vocabulary.fields)
        ]
        return tf.stack(columns, axis=-1)

    def columns(self, indices: tf.Tensor) -> list[tf.Tensor]:
        """Indices int32[N, T, F] by field and time: F of int32[T, N]."""
        return tf.unstack(tf.transpose(indices, [2, 1, 0]), num=self.fields)

    # ---- the network -------------------------------------------------------

    def zero_state(self, rows: tf.Tensor) -> State:
        """The state before any event."""
        return tuple(tf.zeros([rows, size]) for size in self._state_sizes)

    def split_state(self, state: tf.Tensor) -> State:
        """The state as it travels, float32[N, state], in its parts."""
        return tuple(tf.split(state, self._state_sizes, axis=1))

    @property
    def state_size(self) -> int:
        """The numbers of a state as it travels: 2048 for the paper's layers, and the profile."""
        return sum(self._state_sizes)

    @property
    def _state_sizes(self) -> list[int]:
        sizes = [size for u in self.settings.units for size in (u, u)]
        return [*sizes, *(view.size for view in self.views)]

    def consume(self, event: Event, state: State, ones: tf.Tensor) -> State:
        """One event through the three layers, and into the profile.

        Args:
          event: F of int32[N].
          state: as `split_state` gives it.
          ones: float32[N, 1] of ones, for the biases.

        Returns:
          The new state.
        """
        # What the first layer makes of an event was multiplied out beforehand.
        gates = tf.add_n(
            [
                tf.matmul(state[0], self.recurrent),
                *(_rows(t, index) for t, index in zip(self.tables, event, strict=True)),
            ]
        )
        after = list(_cell(gates, state[1]))
        for layer, kernel in enumerate(self.cells, start=1):
            signal = tf.concat([after[-2], state[2 * layer], ones], axis=1)
            after += _cell(tf.matmul(signal, kernel), state[2 * layer + 1])
        profile = state[2 * len(self.settings.units) :]
        for view, before in zip(self.views, profile, strict=True):
            after.append(view.after(before, event[self.pitched]))
        return tuple(after)

    def read(self, state: State) -> tf.Tensor:
        """What the heads read of a state: float32[N, read_size]."""
        top = 2 * len(self.settings.units) - 2
        return tf.concat([state[top], *state[top + 2 :]], axis=1) if self.views else state[top]

    @property
    def read_size(self) -> int:
        """The width of the top layer, and that of the profile of a model that has one."""
        return self.settings.units[-1] + sum(view.size for view in self.views)

    def before_heads(self, read: tf.Tensor, ones: tf.Tensor) -> list[tf.Tensor]:
        """What `logits` begins with.

        Args:
          read: float32[N, read_size], as `read` gives it.
          ones: float32[N, 1] of ones, for the biases.

        Returns:
          The dense layers' sums, F of [N, dense], and behind them the profile, view by
          view, of a model that has one.
        """
        sizes = [self.settings.units[-1], *(view.size for view in self.views)]
        hidden, *profile = tf.split(read, sizes, axis=1) if self.views else [read]
        sums = tf.matmul(tf.concat([hidden, ones], axis=1), self.dense)
        return [*tf.split(sums, self.fields, axis=1), *profile]

    def logits(
        self, sums: list[tf.Tensor], field: int, earlier: Event, ones: tf.Tensor
    ) -> tf.Tensor:
        """One head: logits of a field given the event's earlier fields.

        Args:
          sums: what `before_heads` gave.
          field: which one.
          earlier: the fields before it.
          ones: float32[N, 1] of ones, for the bias.

        Returns:
          float32[N, W], with W the vocabulary's size V_f in whole lanes; minus
          infinity in the columns past V_f.
        """
        terms = [sums[field]]
        for table, index in zip(self.conditions[field], earlier, strict=True):
            terms.append(_rows(table, index))
        signal = tf.concat([ACTIVATIONS[self.settings.activation](tf.add_n(terms)), ones], axis=1)
        if self.views and field == self.pitched:
            profile = zip(self.views, sums[self.fields :], strict=True)
            gains = [view.gains(of_it, signal) for view, of_it in profile]
            signal = tf.concat([*gains, signal], axis=1)
        logits = tf.matmul(signal, self.heads[field])
        # Chosen, not added: an addition would be fused with the matmul.
        kept = tf.range(logits.shape[-1])[None, :] < self.vocabulary.sizes[field]
        return tf.where(kept, logits, float("-inf"))

    def draw_event(
        self,
        read: tf.Tensor,
        uniform: list[tf.Tensor],
        sampling: Prepared,
        forbidden: tf.Tensor | None,
        ones: tf.Tensor,
    ) -> tuple[Event, tf.Tensor]:
        """The next event, field after field.

        Args:
          read: float32[N, read_size], as `read` gives it.
          uniform: a random number for each field, F of float32[N, 1].
          sampling: the rows' settings.
          forbidden: what `draws.forbid` gave for the field that can end a song.
          ones: float32[N, 1] of ones, for the biases.

        Returns:
          The event, and float32[N]: the event's log-probability in
          nats under the model itself (temperature 1, nothing cut off).
        """
        sums = self.before_heads(read, ones)
        ending_field = None if self.ending is None else self.ending[0]
        event: Event = []
        chosen, masses = [], []
        for field in range(self.fields):
            logits = self.logits(sums, field, event, ones)
            below = allowed = draws.below_largest(logits)
            if field == ending_field:
                allowed = draws.below_largest(below + forbidden)
            index = draws.draw(allowed, uniform[field], sampling)
            chosen.append(tf.gather_nd(below, tf.stack([sampling.rows, index], axis=1)))
            masses.append(tf.reduce_sum(tf.exp(below), axis=-1, keepdims=True))
            event.append(index)
        # log p = (logit - max) - log(sum of exp): one logarithm for all fields.
        mass = functools.reduce(tf.multiply, masses)
        return event, tf.add_n(chosen) - tf.math.log(tf.tile(mass, [1, _LANES]))[:, 0]

    # ---- scoring -----------------------------------------------------------

    def score(self, codes: tf.Tensor, lengths: tf.Tensor, scored: tf.Tensor) -> tf.Tensor:
        """Nats of the scored events of windows, raw codes included.

        Args:
          codes: int32[N, T, F], T >= 1, left-aligned.
          lengths: int32[N], events in each window.
          scored: int32[N], how many of them, from the end, are scored.

        Returns:
          float32[N, max_scored]: the k-th column is the k-th scored event's
          negative log-likelihood; 0 past the last one.
        """
        indices = self.to_indices(codes)
        rows, steps = tf.shape(codes)[0], tf.shape(codes)[1]
        by_time, ones = self.columns(indices), tf.ones([rows, 1])
        outputs = tf.TensorArray(tf.float32, size=steps - 1, element_shape=[None, None])

        def body(t, state, outputs):
            state = self.consume(_at(by_time, t), state, ones)
            return t + 1, state, outputs.write(t, self.read(state))

        _, _, outputs = tf.while_loop(
            lambda t, *_: t < steps - 1,
            body,
            (tf.constant(0), self.zero_state(rows), outputs),
            maximum_iterations=steps - 1,
        )
        width = self.read_size
        read = tf.transpose(tf.reshape(outputs.stack(), [steps - 1, rows, width]), [1, 0, 2])
        nll = self._teacher_forced(tf.reshape(read, [-1, width]), indices[:, 1:], codes[:, 1:])
        nll = tf.reshape(nll, [rows, steps - 1])

        # The k-th scored event stands at index length - scored + k of the
        # window, and one lower here, since nothing predicts the first.
        columns = tf.range(self.window.max_scored)[None, :]
        place = lengths[:, None] - scored[:, None] + columns - 1
        valid = columns < scored[:, None]
        padded = tf.concat([nll, tf.zeros([rows, 1])], axis=1)
        place = tf.where(valid, tf.clip_by_value(place, 0, steps - 1), steps - 1)
        return tf.where(valid, tf.gather(padded, place, batch_dims=1), 0.0)

    def _teacher_forced(self, read: tf.Tensor, target: tf.Tensor, codes: tf.Tensor) -> tf.Tensor:
        target = tf.reshape(target, [-1, self.fields])
        codes = tf.reshape(codes, [-1, self.fields])
        earlier: Event = []
        nll = tf.zeros([tf.shape(read)[0]])
        ones = tf.ones_like(read[:, :1])
        sums = self.before_heads(read, ones)
        for field in range(self.fields):
            logits = self.logits(sums, field, earlier, ones)
            nll += tf.nn.sparse_softmax_cross_entropy_with_logits(target[:, field], logits)
            share = tf.constant(self.vocabulary.share_nll[field])
            nll += tf.gather(share, tf.clip_by_value(codes[:, field], 0, len(share) - 1))
            earlier.append(target[:, field])
        return nll

    # ---- generation --------------------------------------------------------

    def generate(
        self,
        prime: tf.Tensor,
        prime_length: tf.Tensor,
        steps: tf.Tensor,
        sampling: Sampling,
        state: tf.Tensor | None = None,
    ) -> dict[str, tf.Tensor]:
        """Songs that go on from their primes.

        Args:
          prime: codes int32[N, T, F], left-aligned; nothing past a row's
            `prime_length` is read.
          prime_length: int32[N], at least 1 (with the sliding window: at least
            its length).
          steps: int32[N], events to make.
          sampling: the rows' settings.
          state: what an earlier call returned, float32[N, state]; zeros if None.

        Returns:
          `events` int32[N, S, F] with S the largest of `steps`, codes, -1 past a
          row's end (its own steps, or the boundary when it may end); `log_prob`
          float32[N, S], 0 there; `state` float32[N, state], which has consumed
          everything but the last event.
        """
        least = self.window.length if self.sliding else 1
        sizes = [tf.shape(value)[0] for value in (prime, prime_length, steps, *sampling)]
        if state is not None:
            sizes.append(tf.shape(state)[0])
        checks = [
            *sampling.checks(),
            tf.debugging.Assert(
                tf.reduce_all(tf.equal(sizes, sizes[0])),
                ["every input must have one row a song, got rows", tf.stack(sizes)],
                summarize=len(sizes),
            ),
            tf.debugging.Assert(
                tf.reduce_all(prime_length >= least),
                [f"a prime must have at least {least} events, got", prime_length],
            ),
            tf.debugging.Assert(
                tf.reduce_all(prime_length <= tf.shape(prime)[1]),
                ["prime_length must be at most the width of prime, got", prime_length],
            ),
            tf.debugging.Assert(tf.reduce_all(steps >= 0), ["steps must be 0 or more, got", steps]),
            tf.debugging.Assert(
                tf.shape(prime)[0] > 0, ["a batch must have at least one row, got 0"]
            ),
        ]
        if state is not None:
            finite = tf.reduce_all(tf.math.is_finite(state))
            checks.append(tf.debugging.Assert(finite, ["state holds what is no number"]))
        with tf.control_dependencies(checks):
            rows = tf.shape(prime)[0]
        # Filled up with rows that are there already: see the module's story.
        lanes = whole_rows(rows)
        spread = tf.math.floormod(tf.range(lanes), tf.maximum(rows, 1))
        prime, prime_length, steps = (
            tf.gather(value, spread) for value in (prime, prime_length, steps)
        )
        sampling = Sampling(*(tf.gather(value, spread) for value in sampling))
        parts = self.zero_state(lanes)
        if state is not None:
            parts = self.split_state(tf.gather(state, spread))
        indices = self.to_indices(prime)
        loop = self._slide if self.sliding else self._carry
        events, log_prob, parts = loop(indices, prime_length, steps, sampling, parts)
        state = tf.concat(parts, axis=1)
        return {"events": events[:rows], "log_prob": log_prob[:rows], "state": state[:rows]}

    def _carry(self, prime, prime_length, steps, sampling, state):
        """The state carried along: every event is consumed once."""
        by_time, ones = self.columns(prime), tf.ones_like(state[0][:, :1])
        shortest = tf.reduce_min(prime_length) - 1

        def consume_prime(t, state):
            after = self.consume(_at(by_time, t), state, ones)
            return t + 1, _where(t < prime_length - 1, after, state, all_of=t < shortest)

        longest = tf.reduce_max(prime_length) - 1
        _, state = tf.while_loop(lambda t, _: t < longest, consume_prime, (0, state))
        last = tf.gather(prime, prime_length - 1, batch_dims=1)
        return self._loop(
            tf.unstack(last, num=self.fields, axis=1),
            state,
            steps,
            sampling,
            read=lambda last, state: self.consume(last, state, ones),
            advance=lambda _, event: event,
        )

    def _slide(self, prime, prime_length, steps, sampling, state):
        """The paper's loop: the last `length` events are read anew for each event."""
        length = self.window.length
        places = prime_length[:, None] - length + tf.range(length)[None, :]
        window = tf.gather(prime, places, batch_dims=1)
        fresh, ones = state, tf.ones_like(state[0][:, :1])

        def read(window, _):
            by_time = self.columns(window)
            _, read = tf.while_loop(
                lambda t, _: t < length,
                lambda t, state: (t + 1, self.consume(_at(by_time, t), state, ones)),
                (0, fresh),
            )
            return read

        def advance(window, event):
            return tf.concat([window[:, 1:], tf.stack(event, axis=1)[:, None]], axis=1)

        events, log_prob, _ = self._loop(window, state, steps, sampling, read, advance)
        return events, log_prob, fresh

    def _loop(self, memory, state, steps, sampling, read, advance):
        """Draws events until every row has had its steps.

        Args:
          memory: what the next event follows from; `advance` adds an event to it.
          state: of the rows.
          steps: int32[N].
          sampling: the rows' settings.
          read: the state after a memory and a state.
          advance: the next memory from a memory and an event's fields.

        Returns:
          Codes int32[N, S, F], log-probabilities float32[N, S] and the state of
          each row when it ended.
        """
        total = tf.reduce_max(steps)
        random = draws.uniforms(sampling.seed, sampling.position, total, self.fields)
        # The likeliest are drawn by the number 0: of several the first.
        random = tf.where((sampling.temperature > 0)[:, None, None], random, 0.0)
        columns = tf.unstack(tf.transpose(random, [2, 1, 0])[..., None], num=self.fields)
        prepared = draws.prepare(sampling)
        # One place more than is used: an empty array could not be stacked.
        made = tf.TensorArray(tf.int32, size=total + 1, element_shape=[self.fields, None])
        nats = tf.TensorArray(tf.float32, size=total + 1, element_shape=[None])
        ones = tf.ones_like(state[0][:, :1])
        ending, forbidden = self.ending, None
        if ending is not None:
            size = self.heads[ending[0]].shape[-1]
            forbidden = draws.forbid(size, ending[1], unless=sampling.may_end)

        def body(s, memory, state, left, made, nats):
            after = read(memory, state)
            event, log_prob = self.draw_event(
                self.read(after), _at(columns, s), prepared, forbidden, ones
            )
            # Rows that are done stand still; most calls have none before the end.
            state = _where(s < left, after, state, all_of=s < tf.reduce_min(left))
            if ending is not None:
                ends = (event[ending[0]] == ending[1]) & (s < left)
                left -= tf.cast(ends, tf.int32) * (left - s - 1)
            made, nats = made.write(s, tf.stack(event)), nats.write(s, log_prob)
            return s + 1, advance(memory, event), state, left, made, nats

        _, _, state, left, made, nats = tf.while_loop(
            lambda s, *_: s < total, body, (0, memory, state, steps, made, nats)
        )
        rows = tf.shape(steps)[0]
        indices = made.write(total, tf.zeros([self.fields, rows], tf.int32)).stack()[:total]
        log_prob = nats.write(total, tf.zeros([rows])).stack()[:total]
        alive = tf.range(total)[None, :] < left[:, None]
        codes = self.to_codes(tf.transpose(indices, [2, 0, 1]))
        events = tf.where(alive[..., None], codes, -1)
        return events, tf.where(alive, tf.transpose(log_prob), 0.0), state


def _rows(table: tf.Variable, index: tf.Tensor) -> tf.Tensor:
    # Read first: a gather from the variable itself takes more than twice as long.
    return tf.gather(table.read_value(), index)


def _at(columns: list[tf.Tensor], t: tf.Tensor) -> list[tf.Tensor]:
    return [tf.gather(column, t) for column in columns]


def _cell(gates: tf.Tensor, carry: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """An LSTM cell's h and c [N, u], from the gates' sums [N, 4u] and the last c."""
    enter, forget, candidate, leave = tf.split(gates, 4, axis=1)
    carry = tf.sigmoid(forget) * carry + tf.sigmoid(enter) * tf.tanh(candidate)
    return tf.sigmoid(leave) * tf.tanh(carry), carry


def _where(rows: tf.Tensor, after: State, before: State, *, all_of: tf.Tensor) -> State:
    """`after` in the rows bool[N], `before` in the others; `all_of` says they are all."""

    def some() -> State:
        return tuple(tf.where(rows[:, None], a, b) for a, b in zip(after, before, strict=True))

    return tf.cond(all_of, lambda: after, some)


def _with_bias(kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """A kernel whose last row is the bias, for inputs with a column of ones.

    On a processor, TensorFlow's fused matmul-and-bias takes up to twice as long as
    the matmul alone when there are few rows.
    """
    return np.concatenate([kernel, bias[None, :]])


def _whole_lanes(kernel: np.ndarray) -> np.ndarray:
    """A kernel with columns of zeros behind, so that rows of its product fill whole lanes.

    Element-wise functions work on a tensor's memory from its begin to its end,
    in vectors, and on what is left over one by one with other code. A row whose
    length is no multiple of a vector's would get other bits in another place.
    """
    return np.pad(kernel, [(0, 0), (0, -kernel.shape[1] % _LANES)])


def _first_layer(
    kernel: np.ndarray, bias: np.ndarray, embeddings: tuple[np.ndarray, ...], classes: int
) -> tuple[list[np.ndarray], np.ndarray]:
    """The first cell with its inputs multiplied out.

    What a field's index adds to the gates depends on that index alone: its
    embedding (in the paper: index / classes) times its rows of the kernel.

    Returns:
      A table [V_f, 4u] for each field, the bias in the first; and the recurrent
      kernel [u, 4u].
    """
    if not embeddings:
        embeddings = (np.arange(classes, dtype=np.float32)[:, None] / np.float32(classes),)
    tables, row = [], 0
    for table in embeddings:
        tables.append(table @ kernel[row : row + table.shape[1]])
        row += table.shape[1]
    tables[0] = tables[0] + bias
    return tables, kernel[row:]
