"""The one pipeline, whatever runs it."""

from __future__ import annotations

import json

from ml_metadata.proto.metadata_store_pb2 import ConnectionConfig, SqliteMetadataSourceConfig
from tfx.components.schema_gen.component import SchemaGen
from tfx.components.statistics_gen.component import StatisticsGen
from tfx.components.trainer.component import Trainer
from tfx.components.tuner.component import Tuner
from tfx.dsl.components.base.base_component import BaseComponent
from tfx.orchestration.pipeline import Pipeline
from tfx.proto import pusher_pb2, trainer_pb2
from tfx.types.channel import BaseChannel

import components
from components.evaluator.gate import build_eval_config
from components.kept import Request
from music.folder import fingerprint
from pipeline.beam_options import beam_arguments
from pipeline.configuration import Configuration
from pipeline.retrain import asked_settings

PIPELINE_NAME = "segue"
WINDOWS_PIPELINE_NAME = "segue-windows"


def create_windows_pipeline(config: Configuration) -> Pipeline:
    """MIDI files to windows, and no further: what a study trains on.

    Args:
      config: everything that can be chosen.

    Raises:
      SegueError: the data folder holds no MIDI file.
    """
    return _pipeline(config, WINDOWS_PIPELINE_NAME, _windows(config, fingerprint(config.data)))


def _windows(config: Configuration, content: str, start: str = "") -> list[BaseComponent]:
    """MidiParser, VocabularyBuilder and WindowGenerator, the last with the `examples`."""
    code = config.trainer().code

    # Files are read once, and every one of them gets a verdict; songs are split here.
    midi_parser = components.MidiParser(
        data=str(config.data),
        fingerprint=content,
        eval_share=config.split.eval_share,
        salt=config.split.salt,
        store=str(config.readings_dir),
        shards=config.shards,
        code=code,
    )
    # What the model can say is decided by the training songs alone: those of the version
    # whose weights it begins from, if there is one.
    vocabulary_builder = components.VocabularyBuilder(
        songs=midi_parser.outputs["songs"],
        codec=dict(config.codec),
        min_count=config.vocabulary.min_count,
        closed=config.vocabulary.closed,
        max_size=config.vocabulary.max_size,
        start=start,
        serving_dir=str(config.serving_dir) if start else "",
        code=code,
    )
    # Windows carry the n-gram's nats, so that the gate can compare event by event.
    window_generator = components.WindowGenerator(
        songs=midi_parser.outputs["songs"],
        vocabulary=vocabulary_builder.outputs["vocabulary"],
        length=config.window.length,
        form=config.window.form,
        ngram_order=config.ngram_order,
        code=code,
    )
    return [midi_parser, vocabulary_builder, window_generator]


def create_pipeline(config: Configuration, content: str | None = None, start: str = "") -> Pipeline:
    """MIDI files to a served model.

    Args:
      config: everything that can be chosen.
      content: the fingerprint of the data folder (`music.folder.fingerprint`); None
        takes it here and now. Where the folder cannot be seen from here, on a cluster's
        volume say, it is found by the run (`kubeflow.configure`).
      start: the version whose weights the training begins from, and whose vocabulary is
        taken (`components.kept`); empty is from scratch. `pipeline.retrain` finds it.

    Raises:
      SegueError: the data folder holds no MIDI file.
    """
    content = fingerprint(config.data) if content is None else content
    settings = json.dumps(config.trainer(start).to_dict(), sort_keys=True)
    windows = _windows(config, content, start)
    midi_parser, vocabulary_builder, window_generator = windows
    examples = window_generator.outputs["examples"]
    # How much is a copy is for the composer's own songs to say: how much they share.
    reference_builder = components.ReferenceBuilder(
        songs=midi_parser.outputs["songs"],
        vocabulary=vocabulary_builder.outputs["vocabulary"],
        code=config.trainer().code,
    )
    # Statistics and the inferred schema are for people who look at their data.
    statistics_gen = StatisticsGen(examples=examples)
    schema_gen = SchemaGen(statistics=statistics_gen.outputs["statistics"])
    # Nothing is learned from windows that are not what they must be.
    example_validator = components.ExampleValidator(
        statistics=statistics_gen.outputs["statistics"], schema=config.schema
    )
    # A search for better settings, where one is wanted; the Trainer takes up what it finds.
    tuners = [_tuner(config, settings, examples)] if config.tuning.enabled else []
    for tuner in tuners:
        tuner.add_upstream_node(example_validator)
    trainer = Trainer(
        run_fn="components.trainer.module.run_fn",
        examples=examples,
        schema=schema_gen.outputs["schema"],
        hyperparameters=tuners[0].outputs["best_hyperparameters"] if tuners else None,
        train_args=trainer_pb2.TrainArgs(),
        eval_args=trainer_pb2.EvalArgs(),
        custom_config={
            "settings": settings,
            "checkpoints": str(config.checkpoints_dir),
            **({"serving": str(config.serving_dir)} if start else {}),
        },
    )
    trainer.add_upstream_node(example_validator)
    # A model is pushed for what it makes of songs that it has never seen.
    evaluator = components.Evaluator(
        examples=examples,
        model=trainer.outputs["model"],
        eval_config=build_eval_config(config.gate),
        serving_dir=str(config.serving_dir),
    )
    # And for what it plays, when it is served as it will be.
    serving_validator = components.ServingValidator(
        model=trainer.outputs["model"],
        evaluation=evaluator.outputs["evaluation"],
        songs=midi_parser.outputs["songs"],
        verdicts=midi_parser.outputs["verdicts"],
        vocabulary=vocabulary_builder.outputs["vocabulary"],
        reference=reference_builder.outputs["reference"],
        settings=config.panel,
        card=config.card,
        request=Request(asked_settings(config, start), "", content, start),
        code=config.trainer().code,
    )
    # Servers see a version whole or not at all; it is the one that was served there.
    pusher = components.Pusher(
        model_blessing=evaluator.outputs["blessing"],
        infra_blessing=serving_validator.outputs["blessing"],
        push_destination=pusher_pb2.PushDestination(
            filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=str(config.serving_dir))
        ),
    )
    return _pipeline(
        config,
        PIPELINE_NAME,
        [
            *windows,
            reference_builder,
            statistics_gen,
            schema_gen,
            example_validator,
            *tuners,
            trainer,
            evaluator,
            serving_validator,
            pusher,
        ],
    )


def _tuner(config: Configuration, settings: str, examples: BaseChannel) -> BaseComponent:
    return Tuner(
        tuner_fn="components.trainer.tuning.tuner_fn",
        examples=examples,
        custom_config={
            "settings": settings,
            "tuning": json.dumps(config.tuning.to_dict(), sort_keys=True),
            # Outside of TFX's folder of one execution, so that a killed search goes on.
            "store": str(config.trials_dir),
        },
    )


def _metadata(path: str) -> ConnectionConfig:
    """ML Metadata in a file; TFX's own function also makes the folder.

    The root of a pipeline that is only compiled here lies on the cluster's volume, and
    nobody but root may make a folder of its name.
    """
    mode = SqliteMetadataSourceConfig.READWRITE_OPENCREATE
    return ConnectionConfig(
        sqlite=SqliteMetadataSourceConfig(filename_uri=path, connection_mode=mode)
    )


def _pipeline(config: Configuration, name: str, nodes: list[BaseComponent]) -> Pipeline:
    return Pipeline(
        pipeline_name=name,
        pipeline_root=str(config.artifacts_dir),
        metadata_connection_config=_metadata(str(config.metadata_path)),
        components=nodes,
        enable_cache=config.cache,
        beam_pipeline_args=beam_arguments(config.beam_pipeline_args),
    )
