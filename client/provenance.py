"""What a song's files say of themselves: who made it, of what, and how to make it again.

No path, no date and no machine is told: the same song, the same bytes.
"""

from __future__ import annotations

from typing import Any

from client.generation import ModelFacts
from client.making import Made, Wish
from client.rendering import Provenance


def provenance_of(
    facts: ModelFacts,
    wish: Wish,
    made: Made,
    *,
    composer: str | None = None,
    paper_loop: bool = False,
    shape: dict[str, Any] | None = None,
    whole: bool = False,
) -> Provenance:
    """What the files of a song say of it.

    Args:
      facts: of the model.
      wish: what was asked for.
      made: what became of it.
      composer: whose songs the model learned from, where that is known.
      paper_loop: whether it was made a call a note over a sliding window.
      shape: the key, range and tempo that it was brought into (`Shape.as_dict`).
      whole: whether the song that it continues stands before it.
    """
    prime, settings = wish.prime, wish.sampling.as_dict()
    seed = settings.pop("seed")
    version = "" if facts.version is None else f" version {facts.version}"
    told = [("model", f"{facts.model}{version}")]
    told += [("seed", str(seed)), ("events", f"{len(made.events)} of {wish.steps}")]
    told += [(name.replace("_", " "), _plain(value)) for name, value in settings.items()]
    told.append(("ending", wish.ending))
    told += [(name, _plain(value)) for name, value in (shape or {}).items()]
    begun, title = "nothing", f"Song {seed}"
    if prime.song is not None:
        begun = f"{len(prime)} events at {prime.offset} of {prime.song.id[:12]}"
        name = prime.song.title
        title = f"{name}, continued" if whole else f"After {name}"
    told.append(("from", begun))
    if paper_loop:
        told.append(("loop", "one call a note, as in the paper"))
    if made.remade:
        told.append(("made again", f"{_times(made.remade)}, to be original"))
    remark = "made by Segue: " + "; ".join(f"{name} {value}" for name, value in told)
    return Provenance(title, composer, tuple(told), remark)


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value).removesuffix(".0")
