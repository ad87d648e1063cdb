"""What a model says about itself: its codec, its limits, what it can and cannot do.

It comes from the model's `describe` signature, so a client needs the server alone.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from client.exchange import Answer
from client.refusals import one_line
from client.sampling import is_whole
from music.codec import Codec, build_codec
from music.errors import SegueError

# The keys of `describe`; each answers with a JSON object.
DESCRIBED = ("codec", "vocabulary", "training", "limits", "signatures")


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a model accepts.

    Attributes:
      window: events that one training window, or one `predict_next`, looks at.
      min_prime: events that a prime must have at least.
      max_prime: events that it may have at most.
      max_steps: events that one song may be asked to have.
      max_batch: songs in one call.
      max_events: songs in one call times their events, made or primed.
      state_size: numbers that `generate` hands over for `resume` and `step`: h and c
        of the LSTM layers, 2048 for the stack of 256, 512 and 256 units, and whatever
        else the model carries along.
    """

    window: int
    min_prime: int
    max_prime: int
    max_steps: int
    max_batch: int
    max_events: int
    state_size: int


@dataclasses.dataclass(frozen=True)
class ModelFacts:
    """What a model says about itself.

    Attributes:
      model: its name on the server.
      version: the version that spoke; None where the server does not tell.
      codec: what its events mean.
      vocabulary: {"fields": [{"name": ..., "kept": [codes]}]}.
      training: data, preset, held-out nats, versions.
      limits: what it accepts.
      signatures: name -> None where it can be called, else why it cannot.
    """

    model: str
    version: int | None
    codec: Codec
    vocabulary: Mapping[str, Any]
    training: Mapping[str, Any]
    limits: Limits
    signatures: Mapping[str, str | None]

    def lacks(self, signature: str) -> str | None:
        """Why a signature cannot be called, or None where it can."""
        return self.signatures.get(signature, "the model does not list it")

    def require(self, signature: str) -> None:
        """Raises a SegueError with the model's reason where a signature is lacking."""
        reason = self.lacks(signature)
        if reason is not None:
            raise SegueError(f"model {self.model!r} cannot {signature!r}: {one_line(reason)}")

    def as_dict(self) -> dict[str, Any]:
        """The facts as JSON types."""
        return {
            "model": self.model,
            "version": self.version,
            "codec": self.codec.config(),
            "vocabulary": dict(self.vocabulary),
            "training": dict(self.training),
            "limits": dataclasses.asdict(self.limits),
            "signatures": dict(self.signatures),
        }


def read_facts(answer: Answer, model: str, target: str) -> ModelFacts:
    """The facts in an answer of `describe` that was asked for `DESCRIBED`.

    Args:
      answer: what came.
      model: the model's name.
      target: who answered, for the errors.

    Raises:
      SegueError: they are not those of a Segue model that this version can read.
    """

    def wrong(what: str) -> SegueError:
        return SegueError(
            f"model {model!r} at {target} describes itself with {what}; "
            "it was not exported by this version of Segue"
        )

    values = answer.outputs.get("values")
    if values is None or values.shape != (len(DESCRIBED),) or values.dtype != object:
        raise wrong("something else than a text for each key")
    facts: dict[str, dict[str, Any]] = {}
    for key, value in zip(DESCRIBED, values.tolist(), strict=True):
        try:
            facts[key] = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise wrong(f"a {key!r} that is no JSON") from error
        if not isinstance(facts[key], dict):
            raise wrong(f"a {key!r} that is no JSON object")
    numbers_of = facts["limits"]
    names = [field.name for field in dataclasses.fields(Limits)]
    for name in names:
        if not (is_whole(numbers_of.get(name)) and numbers_of[name] >= 1):
            raise wrong(f"the limit {name} = {numbers_of.get(name)}")
    codec = build_codec(facts["codec"])
    return ModelFacts(
        model=model,
        version=answer.version,
        codec=codec,
        vocabulary=facts["vocabulary"],
        training=facts["training"],
        limits=Limits(**{name: numbers_of[name] for name in names}),
        signatures=facts["signatures"],
    )
