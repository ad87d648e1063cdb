"""`python -m tests.pipeline.hostile FAULT pipeline run ...`: a run whose Trainer does harm.

Everything else is the command as it is. What the Trainer leaves is damaged in a way that
only serving it, or listening to it, brings to light.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

# Logits are so many times too large: always the likeliest event, which is how models loop.
SHARPNESS = 40.0


def run_fn_looping(fn_args: Any) -> None:
    """Trains, and exports heads that leave nothing to chance."""
    from components.trainer import network
    from components.trainer.module import run_fn

    extract = network.extract_weights

    def sharpened(*arguments):
        weights = extract(*arguments)
        heads = tuple((SHARPNESS * kernel, SHARPNESS * bias) for kernel, bias in weights.heads)
        return dataclasses.replace(weights, heads=heads)

    network.extract_weights = sharpened
    try:
        run_fn(fn_args)
    finally:
        network.extract_weights = extract


def run_fn_broken(fn_args: Any) -> None:
    """Trains, and exports a model whose songs cannot be asked for."""
    from tensorflow.core.protobuf import saved_model_pb2

    from components.trainer.module import run_fn

    run_fn(fn_args)
    path = Path(fn_args.serving_model_dir, "saved_model.pb")
    model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    del model.meta_graphs[0].signature_def["generate"]
    path.write_bytes(model.SerializeToString())


def main(fault: str, arguments: list[str]) -> None:
    """Runs the command with another Trainer."""
    from pipeline import cli, graph

    trainer = graph.Trainer

    def hostile(run_fn: str, **others: Any) -> Any:
        return trainer(run_fn=f"tests.pipeline.hostile.run_fn_{fault}", **others)

    graph.Trainer = hostile  # type: ignore[misc, assignment]
    cli.main(arguments)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
