"""WindowGenerator's executor."""

from __future__ import annotations

import os
from typing import Any

from tfx.components.util import examples_utils
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils
from tfx.utils import io_utils

from components.engine import counters, make_pipeline
from components.files import VOCABULARY_FILE
from components.progress import report
from components.window_generator import spec, tables
from components.window_generator.stages import WriteWindows, training_events
from music.errors import SegueError
from music.split import SPLITS
from music.vocabulary import Vocabulary
from music.windows import WindowSpec

# Roughly, on one core: the n-gram, and the windows of each form.
SECONDS_AN_EVENT = {"every": 5e-6, "last": 1.5e-5}


class Executor(BaseBeamExecutor):
    """Cuts `songs` into the splits of `examples`."""

    def Do(self, input_dict, output_dict, exec_properties: dict[str, Any]) -> None:
        """Raises SegueError when a split ends without a window."""
        vocabulary_uri = artifact_utils.get_single_uri(input_dict[spec.VOCABULARY])
        text = io_utils.read_string_file(os.path.join(vocabulary_uri, VOCABULARY_FILE))
        vocabulary = Vocabulary.from_json(text)
        window = WindowSpec(int(exec_properties[spec.LENGTH]), exec_properties[spec.FORM])
        examples = artifact_utils.get_single_instance(output_dict[spec.EXAMPLES])
        examples.splits = list(SPLITS)
        examples_utils.set_payload_format(examples, example_gen_pb2.PayloadFormat.FORMAT_TF_EXAMPLE)
        examples_utils.set_file_format(examples, "tfrecords_gzip")
        uris = {side: examples.path(split=side) for side in SPLITS}
        ngram = os.path.join(examples.uri, tables.FOLDER)

        seconds = SECONDS_AN_EVENT[window.form] * training_events(vocabulary)
        with make_pipeline(self, seconds) as pipeline:
            _ = pipeline | "Windows" >> WriteWindows(
                artifact_utils.get_single_uri(input_dict[spec.SONGS]),
                vocabulary,
                window,
                int(exec_properties[spec.NGRAM_ORDER]),
                uris,
                ngram,
            )
        tables.remove_runs(ngram)
        # Beside the splits, since the Trainer has no input for it.
        io_utils.write_string_file(os.path.join(examples.uri, VOCABULARY_FILE), text)
        _tell(counters(pipeline.result), window)


def _tell(counted: dict[str, int], window: WindowSpec) -> None:
    for side in SPLITS:
        if not counted.get(f"windows_{side}"):
            least = window.length + 1 if window.form == "last" else 2
            raise SegueError(
                f"the {side} split has no window: it takes a song with at least {least} events "
                "there; give more songs, longer ones, or lower window.length"
            )
    dropped = counted.get("dropped", 0)
    line = "; ".join(
        f"{side} {counted[f'windows_{side}']:,} windows, {counted[f'scored_{side}']:,} scored "
        "events"
        for side in SPLITS
    )
    if dropped:
        line += f"; {dropped:,} of {counted['events']:,} events dropped as rare"
    nats = counted.pop("ngram_micronats", 0) / 1e6 / counted["scored_eval"]
    entries = counted.get("ngram_entries", 0)
    line += f"; n-gram of {entries:,} counts, {nats:.3f} nats an event"
    report("WindowGenerator", line, **counted, ngram_nats=nats)
