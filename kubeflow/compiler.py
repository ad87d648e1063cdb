"""The pipeline as a Kubeflow Pipelines (KFP v2) specification.

TFX's `--engine kubeflow` imports modules that no longer exist; its KFP v2 runner
works. The open-source backend reads schema version 2.1.0 as YAML, and the
pipeline root is given when a run is submitted.
"""

from __future__ import annotations

import os
from pathlib import Path

from pipeline.configuration import Configuration


def compile_pipeline(config: Configuration, image: str, out: Path) -> None:
    """Writes the specification of the one pipeline.

    Args:
      config: as for a local run; its folders are those that the containers see.
      image: of the containers.
      out: a .yaml file.
    """
    from tfx.orchestration.kubeflow.v2.kubeflow_v2_dag_runner import (
        KubeflowV2DagRunner,
        KubeflowV2DagRunnerConfig,
    )

    from pipeline.graph import create_pipeline

    runner = KubeflowV2DagRunner(
        config=KubeflowV2DagRunnerConfig(default_image=image, use_pipeline_spec_2_1=True),
        output_dir=os.fspath(out.absolute().parent),
        output_filename=out.name,
    )
    runner.run(create_pipeline(config), write_out=True)
