"""The trained network as plain TensorFlow: what is served.

Training wants Keras layers; serving wants one graph that scores windows and
makes songs, loads under TensorFlow Serving's Session loader, and holds nothing
that only a GPU can run. So the weights move from the Keras model into this
module, which knows the same arithmetic in its own words: a cell is one matmul
with the kernel and the recurrent kernel stacked, and the whole loop of
generation is one `tf.while_loop` that carries the state.

Two things are promised about generation, and everything here is arranged for
them. A row's song does not depend on what else is in the batch: a matmul of one
row takes another path through the linear algebra than one of several and may
differ in its last bits, so a batch of one runs as two. And a song is the same
whether made by one call, in chunks, or note by note: prime and new events go
through the same cell, and the returned state has consumed everything but the
last event, which is the next call's prime.

Events are codes at the border and the vocabulary's indices inside.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import tensorflow as tf

from components.trainer import sampling as draws
from components.trainer.sampling import Sampling
from components.trainer.settings import ModelSettings
from music.codec import build_codec
from music.vocabulary import Vocabulary
from music.windows import WindowSpec


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
    """

    cells: tuple[tuple[np.ndarray, np.ndarray], ...]
    embeddings: tuple[np.ndarray, ...]
    dense: tuple[tuple[np.ndarray, np.ndarray], ...]
    conditions: tuple[tuple[np.ndarray, ...], ...]
    heads: tuple[tuple[np.ndarray, np.ndarray], ...]


ACTIVATIONS = {
    "relu": tf.nn.relu,
    "tanh": tf.tanh,
    "gelu": tf.nn.gelu,
    "sigmoid": tf.sigmoid,
    "linear": tf.identity,
}


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

        self.cells = [(variable(kernel), variable(bias)) for kernel, bias in weights.cells]
        self.embeddings = [variable(table) for table in weights.embeddings]
        self.dense = [(variable(kernel), variable(bias)) for kernel, bias in weights.dense]
        self.conditions = [[variable(t) for t in tables] for tables in weights.conditions]
        self.heads = [(variable(kernel), variable(bias)) for kernel, bias in weights.heads]

    # ---- codes and indices -------------------------------------------------

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

    # ---- the network -------------------------------------------------------

    def zero_state(self, rows: tf.Tensor) -> tf.Tensor:
        """The state before any event, float32[rows, state]."""
        return tf.zeros([rows, self.settings.state_size])

    def embed(self, event: tf.Tensor) -> tf.Tensor:
        """Indices int32[N, F] as the first layer's input, float32[N, D]."""
        if self.settings.kind == "paper":
            return tf.cast(event, tf.float32) / float(self.vocabulary.sizes[0])
        parts = [tf.gather(table, event[:, f]) for f, table in enumerate(self.embeddings)]
        return tf.concat(parts, axis=-1)

    def consume(self, event: tf.Tensor, state: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """One event through the three layers.

        Args:
          event: indices int32[N, F].
          state: float32[N, state], h and c layer by layer.

        Returns:
          The top layer's h float32[N, u], and the new state.
        """
        units = self.settings.units
        parts = tf.split(state, [size for u in units for size in (u, u)], axis=1)
        signal, after = self.embed(event), []
        for layer, (kernel, bias) in enumerate(self.cells):
            hidden, carry = parts[2 * layer], parts[2 * layer + 1]
            gates = tf.matmul(tf.concat([signal, hidden], axis=1), kernel) + bias
            enter, forget, candidate, leave = tf.split(gates, 4, axis=1)
            carry = tf.sigmoid(forget) * carry + tf.sigmoid(enter) * tf.tanh(candidate)
            signal = tf.sigmoid(leave) * tf.tanh(carry)
            after += [signal, carry]
        return signal, tf.concat(after, axis=1)

    def logits(self, hidden: tf.Tensor, field: int, earlier: list[tf.Tensor]) -> tf.Tensor:
        """One head: logits of a field given the event's earlier fields.

        Args:
          hidden: the top layer's output float32[N, u].
          field: which one.
          earlier: indices int32[N] of the fields before it.

        Returns:
          float32[N, V_f].
        """
        kernel, bias = self.dense[field]
        before = tf.matmul(hidden, kernel) + bias
        for table, index in zip(self.conditions[field], earlier, strict=True):
            before += tf.gather(table, index)
        kernel, bias = self.heads[field]
        return tf.matmul(ACTIVATIONS[self.settings.activation](before), kernel) + bias

    def draw_event(
        self, hidden: tf.Tensor, uniform: tf.Tensor, sampling: Sampling
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The next event, field after field.

        Args:
          hidden: float32[N, u].
          uniform: float32[N, F].
          sampling: the rows' settings.

        Returns:
          Indices int32[N, F], and float32[N]: the event's log-probability in nats
          under the model itself (temperature 1, nothing cut off).
        """
        boundary = self.codec.boundary
        event: list[tf.Tensor] = []
        log_prob = tf.zeros([tf.shape(hidden)[0]])
        for field in range(self.fields):
            logits = self.logits(hidden, field, event)
            allowed = logits
            if boundary is not None and boundary[0] == field:
                code = int(self.vocabulary.tables[field][boundary[1]])
                allowed = draws.forbid(logits, code, unless=sampling.may_end)
            index = draws.draw(allowed, uniform[:, field], sampling)
            log_prob += tf.gather(tf.nn.log_softmax(logits), index, batch_dims=1)
            event.append(index)
        return tf.stack(event, axis=1), log_prob

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
        by_time = tf.transpose(indices, [1, 0, 2])
        outputs = tf.TensorArray(tf.float32, size=steps - 1, element_shape=[None, None])

        def body(t, state, outputs):
            hidden, state = self.consume(by_time[t], state)
            return t + 1, state, outputs.write(t, hidden)

        _, _, outputs = tf.while_loop(
            lambda t, *_: t < steps - 1,
            body,
            (tf.constant(0), self.zero_state(rows), outputs),
            maximum_iterations=steps - 1,
        )
        width = self.settings.units[-1]
        hidden = tf.transpose(tf.reshape(outputs.stack(), [steps - 1, rows, width]), [1, 0, 2])
        nll = self._teacher_forced(tf.reshape(hidden, [-1, width]), indices[:, 1:], codes[:, 1:])
        nll = tf.reshape(nll, [rows, steps - 1])

        # The k-th scored event stands at index length - scored + k of the
        # window, and one lower here, since nothing predicts the first.
        columns = tf.range(self.window.max_scored)[None, :]
        place = lengths[:, None] - scored[:, None] + columns - 1
        valid = columns < scored[:, None]
        padded = tf.concat([nll, tf.zeros([rows, 1])], axis=1)
        place = tf.where(valid, tf.clip_by_value(place, 0, steps - 1), steps - 1)
        return tf.where(valid, tf.gather(padded, place, batch_dims=1), 0.0)

    def _teacher_forced(self, hidden: tf.Tensor, target: tf.Tensor, codes: tf.Tensor) -> tf.Tensor:
        target = tf.reshape(target, [-1, self.fields])
        codes = tf.reshape(codes, [-1, self.fields])
        earlier: list[tf.Tensor] = []
        nll = tf.zeros([tf.shape(hidden)[0]])
        for field in range(self.fields):
            logits = self.logits(hidden, field, earlier)
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
        # A batch of one runs as two equal rows: see the module's story.
        lanes = tf.maximum(rows, 2)
        spread = tf.math.floormod(tf.range(lanes), tf.maximum(rows, 1))
        prime, prime_length, steps = (
            tf.gather(value, spread) for value in (prime, prime_length, steps)
        )
        sampling = Sampling(*(tf.gather(value, spread) for value in sampling))
        state = self.zero_state(lanes) if state is None else tf.gather(state, spread)
        indices = self.to_indices(prime)
        loop = self._slide if self.sliding else self._carry
        events, log_prob, state = loop(indices, prime_length, steps, sampling, state)
        return {"events": events[:rows], "log_prob": log_prob[:rows], "state": state[:rows]}

    def _carry(self, prime, prime_length, steps, sampling, state):
        """The state carried along: every event is consumed once."""
        by_time = tf.transpose(prime, [1, 0, 2])

        def consume_prime(t, state):
            _, after = self.consume(by_time[t], state)
            return t + 1, tf.where((t < prime_length - 1)[:, None], after, state)

        _, state = tf.while_loop(
            lambda t, _: t < tf.reduce_max(prime_length) - 1, consume_prime, (0, state)
        )
        last = tf.gather(prime, prime_length - 1, batch_dims=1)

        def hidden_after(last, state):
            return self.consume(last, state)

        def advance(_, event):
            return event

        _, state, events, log_prob = self._loop(last, state, steps, sampling, hidden_after, advance)
        return events, log_prob, state

    def _slide(self, prime, prime_length, steps, sampling, state):
        """The paper's loop: the last `length` events are read anew for each event."""
        length = self.window.length
        places = prime_length[:, None] - length + tf.range(length)[None, :]
        window = tf.gather(prime, places, batch_dims=1)

        def hidden_after(window, state):
            by_time = tf.transpose(window, [1, 0, 2])

            def body(t, carried, _):
                hidden, carried = self.consume(by_time[t], carried)
                return t + 1, carried, hidden

            fresh = tf.zeros_like(state)
            hidden = tf.zeros([tf.shape(state)[0], self.settings.units[-1]])
            _, _, hidden = tf.while_loop(lambda t, *_: t < length, body, (0, fresh, hidden))
            return hidden, state

        def advance(window, event):
            return tf.concat([window[:, 1:], event[:, None]], axis=1)

        _, _, events, log_prob = self._loop(window, state, steps, sampling, hidden_after, advance)
        return events, log_prob, tf.zeros_like(state)

    def _loop(self, memory, state, steps, sampling, hidden_after, advance):
        """Draws events until every row has had its steps; finished rows stand still."""
        total = tf.reduce_max(steps)
        random = draws.uniforms(sampling.seed, sampling.position, total, self.fields)
        random = tf.transpose(random, [1, 0, 2])
        # One place more than is used: an empty array could not be stacked.
        made = tf.TensorArray(tf.int32, size=total + 1, element_shape=[None, self.fields])
        nats = tf.TensorArray(tf.float32, size=total + 1, element_shape=[None])
        boundary = self.codec.boundary

        def body(s, memory, state, ended, made, nats):
            hidden, after = hidden_after(memory, state)
            event, log_prob = self.draw_event(hidden, random[s], sampling)
            active = (s < steps) & ~ended
            state = tf.where(active[:, None], after, state)
            moved = advance(memory, event)
            mask = tf.reshape(active, [-1] + [1] * (len(moved.shape) - 1))
            memory = tf.where(mask, moved, memory)
            codes = tf.where(active[:, None], self.to_codes(event), -1)
            if boundary is not None:
                ended |= active & (codes[:, boundary[0]] == boundary[1])
            made = made.write(s, codes)
            nats = nats.write(s, tf.where(active, log_prob, 0.0))
            return s + 1, memory, state, ended, made, nats

        ended = tf.zeros_like(steps, tf.bool)
        start = (0, memory, state, ended, made, nats)
        _, memory, state, _, made, nats = tf.while_loop(
            lambda s, *_: s < total, body, start, maximum_iterations=total
        )
        rows = tf.shape(steps)[0]
        events = made.write(total, tf.fill([rows, self.fields], -1)).stack()[:total]
        log_prob = nats.write(total, tf.zeros([rows])).stack()[:total]
        return memory, state, tf.transpose(events, [1, 0, 2]), tf.transpose(log_prob)
