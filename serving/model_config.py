"""What to serve: TensorFlow Serving's ModelServerConfig, checked.

`--model_config_file` holds one as text, a HandleReloadConfigRequest brings one
over the network. Both become the same frozen values here, or an error with the
code and the words of `ServerCore::ReloadConfig`.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from serving import errors, textproto
from serving.policies import Policy, every, latest, specific

if TYPE_CHECKING:
    from tensorflow_serving.config import model_server_config_pb2

PLATFORM = "tensorflow"
# Each model is watched by a thread of its own; a request could ask for any number.
MAX_MODELS = 1000
_SCHEME = re.compile(r"([a-zA-Z][0-9a-zA-Z.]*)://")


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """One model to serve.

    Attributes:
      name: the name that requests give.
      base_path: the folder of its versions, absolute.
      policy: which of the versions there are wanted.
      labels: versions by label.
    """

    name: str
    base_path: Path
    policy: Policy = dataclasses.field(default_factory=lambda: latest(1), compare=False)
    labels: Mapping[str, int] = dataclasses.field(default_factory=dict)


def read(path: Path, served: Collection[str] = ()) -> tuple[ModelConfig, ...] | None:
    """The models in a `--model_config_file`; None when it is empty.

    Args:
      path: the file.
      served: as for `parse`.

    Raises:
      SegueError: the file cannot be read or is no ModelServerConfig.
      ServingError: as `parse`; FAILED_PRECONDITION for a custom configuration.
    """
    from tensorflow_serving.config import model_server_config_pb2

    config = textproto.read(path, model_server_config_pb2.ModelServerConfig(), "model_config_file")
    kind = config.WhichOneof("config")
    if kind is None:
        return None
    if kind != "model_config_list":
        raise errors.failed_precondition(
            "ModelServer does not yet support custom model config; give a model_config_list"
        )
    return parse(config.model_config_list, served)


def parse(
    config: model_server_config_pb2.ModelConfigList, served: Collection[str] = ()
) -> tuple[ModelConfig, ...]:
    """The models in a list.

    Args:
      config: the list, not to be trusted.
      served: names of the models that are served now.

    Raises:
      ServingError: INVALID_ARGUMENT for a name that is listed twice, a relative
        base path, or a platform other than TensorFlow; UNIMPLEMENTED for a file
        system that is not this machine's.
    """
    models = config.config
    if len(models) > MAX_MODELS:
        raise errors.invalid_argument(
            f"{len(models)} models in config list; at most {MAX_MODELS} can be served"
        )
    names = set()
    for model in models:
        if model.name in names:
            raise errors.invalid_argument(
                f"Illegal to list model {model.name} multiple times in config list"
            )
        names.add(model.name)
    paths = [_base_path(model) for model in models]
    for model in models:
        _check_platform(model, served)
    return tuple(
        ModelConfig(model.name, path, _policy(model), dict(model.version_labels))
        for model, path in zip(models, paths, strict=True)
    )


def _base_path(model: model_server_config_pb2.ModelConfig) -> Path:
    scheme = _SCHEME.match(model.base_path)
    if scheme and scheme[1] != "file":
        raise errors.unimplemented(
            f"File system scheme '{scheme[1]}' not implemented (file: '{model.base_path}')"
        )
    path = Path(model.base_path[scheme.end() :] if scheme else model.base_path)
    if not path.is_absolute():
        raise errors.invalid_argument(
            f"Expected model {model.name} to have an absolute path or URI;"
            f" got base_path()={model.base_path}"
        )
    if "\0" in model.base_path:
        raise errors.invalid_argument(f"Model {model.name} has a base_path with a zero byte")
    return path


def _check_platform(model: model_server_config_pb2.ModelConfig, served: Collection[str]) -> None:
    platform = model.model_platform
    if model.model_type:
        if platform:
            raise errors.invalid_argument(
                "Illegal setting both ModelServerConfig::model_type (deprecated) "
                "and ModelServerConfig::model_platform."
            )
        if (
            model.model_type
            != model.DESCRIPTOR.fields_by_name["model_type"]
            .enum_type.values_by_name["TENSORFLOW"]
            .number
        ):
            raise errors.invalid_argument(
                f"ModelServerConfig::model_type choice {model.model_type} not supported."
            )
        platform = PLATFORM
    if not platform:
        raise errors.invalid_argument(
            "Illegal setting neither ModelServerConfig::model_type (deprecated) "
            "nor ModelServerConfig::model_platform."
        )
    if platform == PLATFORM:
        return
    if model.name in served:
        raise errors.invalid_argument(
            f"Illegal to change a model's platform. For model {model.name} platform was"
            f" {PLATFORM} and new platform requested is {platform}"
        )
    raise errors.invalid_argument(f"Model {model.name} requests unsupported platform {platform}")


def _policy(model: model_server_config_pb2.ModelConfig) -> Policy:
    policy = model.model_version_policy
    choice = policy.WhichOneof("policy_choice")
    if choice == "all":
        return every()
    if choice == "specific":
        return specific(policy.specific.versions)
    # Zero is what an unset field reads as.
    return latest(max(1, policy.latest.num_versions))
