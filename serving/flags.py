"""The whole command line of `tensorflow_model_server` 2.16.

Most of its flags are fields of `ServerConfig`. The rest, below, cannot mean
anything to this server (TFLite, XLA, TPUs, the profiler) or does not yet: they
are accepted, so that a command line that starts the binary starts this server
too, and those that ask for something are named on standard error. A flag that is
neither is a mistake, and most often a misspelt one. (The binary reports such a
flag and goes on without it.)
"""

from __future__ import annotations

import argparse
import difflib
import importlib.metadata
from collections.abc import Mapping, Sequence
from typing import Any

from music.errors import SegueError

# By name: what the binary does by default. A flag that says the same asks for nothing.
NO_EFFECT: Mapping[str, bool | int | float | str] = {
    "enable_batching": False,
    "batching_parameters_file": "",
    "enable_per_model_batching_parameters": False,
    "flush_filesystem_caches": True,
    "platform_config_file": "",
    "remove_unused_fields_from_bundle_metagraph": True,
    "prefer_tflite_model": False,
    "num_tflite_pools": 0,
    "num_tflite_interpreters_per_pool": 0,
    "enable_signature_method_name_check": False,
    "xla_cpu_compilation_enabled": False,
    "xla_gpu_compilation_enabled": False,
    "enable_profiler": False,
    "thread_pool_factory_config_file": "",
    "mixed_precision": "",
    "skip_initialize_tpu": False,
    "enable_serialization_as_tensor_content": False,
}
# Asked for in vain, these would leave a server open that its owner believes safe.
REFUSED = {"use_alts_credentials": "ALTS; --ssl_config_file encrypts calls"}


def boolean(text: str) -> bool:
    """`true`, `false`, `1` or `0`; for argparse."""
    if text.lower() in ("true", "1"):
        return True
    if text.lower() in ("false", "0"):
        return False
    raise argparse.ArgumentTypeError(f"{text} is neither true nor false")


def of_type(default: Any) -> dict[str, Any]:
    """argparse's options for a flag with such a default."""
    if isinstance(default, bool):
        return {"type": boolean, "nargs": "?", "const": True}
    return {"type": type(default)}


def add_others(parser: argparse.ArgumentParser, known: Sequence[str]) -> None:
    """Adds the binary's flags that are none of `known`, the fields of ServerConfig."""
    for name in REFUSED:
        parser.add_argument(
            f"--{name}", default=argparse.SUPPRESS, help=argparse.SUPPRESS, **of_type(False)
        )
    for name, default in NO_EFFECT.items():
        if name not in known:
            parser.add_argument(
                f"--{name}", default=argparse.SUPPRESS, help=argparse.SUPPRESS, **of_type(default)
            )


def take_others(flags: dict[str, Any], known: Sequence[str]) -> list[str]:
    """Takes the flags that `add_others` added out of the parsed ones.

    Returns:
      Those that asked for something and will not get it.

    Raises:
      SegueError: for one of `REFUSED`.
    """
    for name, instead in REFUSED.items():
        if flags.pop(name, False):
            raise SegueError(f"--{name}: this server cannot do {instead}")
    others = [name for name in flags if name in NO_EFFECT and name not in known]
    return [name for name in others if flags.pop(name) != NO_EFFECT[name]]


def unknown(arguments: Sequence[str], parser: argparse.ArgumentParser) -> SegueError:
    """The error for arguments that no flag takes, with the flag that was meant."""
    argument = next((a for a in arguments if a.startswith("-")), arguments[0])
    if not argument.startswith("-"):
        return SegueError(f"unexpected argument {argument!r}; flags are --name=value; see --help")
    name = argument.partition("=")[0]
    names = [option for action in parser._actions for option in action.option_strings]
    near = difflib.get_close_matches("--" + name.lstrip("-"), names, 1)
    hint = f"did you mean {near[0]}?" if near else "see --help"
    return SegueError(f"unknown flag {name}; {hint}")


def versions() -> str:
    """What `--version` prints: this project, the API and TensorFlow, a line each."""
    lines = []
    for title, package in (
        ("Segue model server", "segue"),
        ("TensorFlow Serving API", "tensorflow-serving-api"),
        ("TensorFlow Library", "tensorflow"),
        ("gRPC", "grpcio"),
    ):
        try:
            lines.append(f"{title}: {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            lines.append(f"{title}: not installed as a package")
    return "\n".join(lines)
