"""Options of the commands that make songs, and what they stand for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from client.generation import Sampling
    from client.security import Security
    from client.shaping import Shape

_SAMPLING = (
    click.option("--steps", type=int, default=250, show_default=True, help="Events of a song."),
    click.option(
        "--temperature", type=float, default=1.0, show_default=True, help="0: the likeliest."
    ),
    click.option("--top-k", type=int, default=0, help="Draw from the k likeliest; 0: off."),
    click.option("--top-p", type=float, default=1.0, help="Draw from this share; 1: off."),
    click.option(
        "--seed", type=int, default=0, show_default=True, help="Another seed, another song."
    ),
    click.option("--may-end", is_flag=True, help="Let the model end a song before --steps."),
    click.option(
        "--ending",
        type=click.Choice(["chord", "bar"]),
        default="chord",
        show_default=True,
        help="Where a song stops: after the chord that fills --steps, or at the next bar line.",
    ),
)
_SHAPE = (
    click.option("--tempo", type=float, help="Quarters a minute (default: the prime's)."),
    click.option("--transpose", type=int, default=0, help="Semitones up or down."),
    click.option("--key", help="Move it to this tonic, as in D or Eb, by the shorter way."),
    click.option("--range", "pitches", help="Keep to these pitches by octaves, as in C3-C6."),
)
_SECURITY = (
    click.option(
        "--tls-root", type=click.Path(path_type=Path), help="Speak TLS; authorities to trust (PEM)."
    ),
    click.option("--tls", is_flag=True, help="Speak TLS; trust the public authorities."),
    click.option(
        "--tls-cert", type=click.Path(path_type=Path), help="This client's certificate (PEM)."
    ),
    click.option("--tls-key", type=click.Path(path_type=Path), help="Its private key (PEM)."),
    click.option("--tls-name", help="Name in the server's certificate (default: the host's)."),
)
_FORMATS = "midi, musicxml, pdf, svg and png (score), wav, roll (piano roll)"


def sampling_options(command: Callable) -> Callable:
    """How events are drawn, and where a song ends."""
    return _with(_SAMPLING, command)


def shape_options(command: Callable) -> Callable:
    """The key, range and tempo that songs are brought into."""
    return _with(_SHAPE, command)


def security_options(command: Callable) -> Callable:
    """How a connection to a model server is kept safe."""
    return _with(_SECURITY, command)


def formats_option(default: str) -> Callable[[Callable], Callable]:
    """The formats that songs are written in."""
    options = (
        click.option(
            "--formats", default=default, show_default=True, help=f"Any of {_FORMATS}; by commas."
        ),
        click.option(
            "--soundfont",
            type=click.Path(path_type=Path),
            help="For wav (default: $SEGUE_SOUNDFONT, or one of the system's).",
        ),
    )
    return lambda command: _with(options, command)


def _with(options: tuple[Callable, ...], command: Callable) -> Callable:
    for option in reversed(options):
        command = option(command)
    return command


def sampling_of(values: Mapping[str, Any]) -> Sampling:
    """The sampling that options stand for."""
    from client.generation import Sampling

    names = ("temperature", "top_k", "top_p", "seed", "may_end")
    return Sampling(**{name: values[name] for name in names})


def security_of(values: Mapping[str, Any]) -> Security | None:
    """The security that options stand for; None where none was asked for."""
    from client.security import Security

    given = [values[f"tls_{name}"] for name in ("root", "cert", "key", "name")]
    if not values["tls"] and all(one is None for one in given):
        return None
    return Security(*given)


def shape_of(values: Mapping[str, Any]) -> Shape:
    """The shape that options stand for."""
    from client.shaping import Shape, parse_range
    from music.key import parse_tonic

    lowest, highest = parse_range(values["pitches"]) if values["pitches"] else (None, None)
    tonic = None if values["key"] is None else parse_tonic(values["key"])
    return Shape(values["tempo"], values["transpose"], tonic, lowest, highest)
