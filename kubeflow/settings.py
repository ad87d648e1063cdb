"""What only a cluster needs to be told: images, resources, volumes, names.

Everything is checked where it is made, by the rules of the backend that will read
it: what it would refuse after minutes in a queue is refused here, in one line.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from kubeflow.mounts import to_path
from music.errors import SegueError

# What the backend takes for a pipeline's name.
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,127}")
# An image by Docker's own grammar: [host[:port]/]path[:tag][@digest].
_HOST = (
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*"
)
_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_IMAGE = re.compile(
    rf"(?:{_HOST}(?::[0-9]{{1,5}})?/)?{_PART}(?:/{_PART})*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@sha256:[0-9a-f]{64})?"
)
# Names of Kubernetes: of objects, and of labels with their values.
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_OBJECT = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")
_KEY = re.compile(
    r"(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
)
_VALUE = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?")
# Where backends keep artifacts that are told nothing else.
DEFAULT_PIPELINE_ROOT = "minio://mlpipeline/v2/artifacts"
_EFFECTS = ("", "NoSchedule", "PreferNoSchedule", "NoExecute")
_TOLERATION = ("key", "operator", "value", "effect")


@dataclasses.dataclass(frozen=True)
class TaskSettings:
    """Where one task of the pipeline runs.

    Attributes:
      image: another one than the pipeline's; empty is the pipeline's.
      cpu: cores that it may use at most; 0 is no limit.
      cpu_request: cores that its node must have free; 0 is what the cluster gives.
      memory: gigabytes that it may use at most; 0 is no limit.
      memory_request: gigabytes that its node must have free.
      gpu: how many it gets.
      gpu_type: the resource's name on the nodes.
      node_selector: labels that its node must have.
      tolerations: of Kubernetes, each with `key`, `operator` (Exists or Equal), `value`
        and `effect`.
      retries: how often it is started again when it fails. A training goes on where it
        stood.
    """

    image: str = ""
    cpu: float = 0.0
    cpu_request: float = 0.0
    memory: float = 0.0
    memory_request: float = 0.0
    gpu: int = 0
    gpu_type: str = "nvidia.com/gpu"
    node_selector: Mapping[str, str] = dataclasses.field(default_factory=dict)
    tolerations: tuple[Mapping, ...] = ()
    retries: int = 0

    def __post_init__(self) -> None:
        if self.image:
            check_image(self.image)
        for name in ("cpu", "cpu_request", "memory", "memory_request"):
            value = getattr(self, name)
            _check(0 <= value <= 65536, name, value, "0..65536")
        for name in ("cpu", "memory"):
            limit, request = getattr(self, name), getattr(self, f"{name}_request")
            _check(not limit or request <= limit, f"{name}_request", request, f"at most {limit:g}")
        _check(0 <= self.gpu <= 64, "gpu", self.gpu, "0..64")
        _check(_KEY.fullmatch(self.gpu_type), "gpu_type", self.gpu_type, "such as nvidia.com/gpu")
        _check(0 <= self.retries <= 10, "retries", self.retries, "0..10")
        for key, value in self.node_selector.items():
            _check(_KEY.fullmatch(str(key)), "node_selector", key, "a label's key")
            good = isinstance(value, str) and _VALUE.fullmatch(value)
            _check(good, f"node_selector {key}", value, "a label's value, a text")
        object.__setattr__(self, "tolerations", tuple(map(dict, self.tolerations)))
        for toleration in self.tolerations:
            _check_toleration(toleration)


def _check_toleration(toleration: Mapping[str, Any]) -> None:
    good = set(toleration) <= set(_TOLERATION) and all(
        isinstance(value, str) for value in toleration.values()
    )
    _check(good, "tolerations", dict(toleration), f"of texts, with {', '.join(_TOLERATION)}")
    operator, effect = toleration.get("operator", "Equal"), toleration.get("effect", "")
    _check(operator in ("Exists", "Equal"), "tolerations", operator, "Exists or Equal")
    _check(effect in _EFFECTS, "tolerations", effect, f"one of {', '.join(_EFFECTS[1:])}")
    key = toleration.get("key", "")
    _check(_KEY.fullmatch(key) or (not key and operator == "Exists"), "tolerations", key, "a key")
    bad = operator == "Exists" and toleration.get("value")
    _check(not bad, "tolerations", dict(toleration), "without a value where operator is Exists")


@dataclasses.dataclass(frozen=True)
class KubeflowSettings:
    """The pipeline on a cluster.

    Attributes:
      image: of every task that has none of its own.
      name: of the pipeline.
      command: what starts a task in the image, before the arguments.
      volumes: the folder that each claim (PersistentVolumeClaim) is mounted at, in
        every task. Data and root lie below one of them.
      pull_secrets: of the images' registry.
      pipeline_root: where the backend keeps artifacts, a URI; empty is its own default.
      service_account: the run's, in the namespace; empty is the default one.
      tasks: by the name of the task, `Trainer` say.
    """

    image: str = ""
    name: str = "segue"
    command: tuple[str, ...] = ("python", "-m", "kubeflow.entrypoint")
    volumes: Mapping[str, str] = dataclasses.field(
        # The second is what serving/kubernetes serves from.
        default_factory=lambda: {"segue": "/segue", "segue-models": "/segue/root/serving"}
    )
    pull_secrets: tuple[str, ...] = ()
    pipeline_root: str = ""
    service_account: str = ""
    tasks: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.image:
            raise SegueError(
                "there is no image for the pipeline's tasks; build one from kubeflow/Dockerfile "
                "and name it: --image registry.example.com/segue:1"
            )
        check_image(self.image)
        check_name(self.name)
        _check(self.command and all(self.command), "command", self.command, "at least one word")
        for claim, folder in self.volumes.items():
            _check(_OBJECT.fullmatch(str(claim)), "volumes", claim, "the name of a claim")
            good = isinstance(folder, str) and _is_clean(folder) and ":" not in folder
            _check(good, f"volumes {claim}", folder, "an absolute path")
        folders = [folder.rstrip("/") for folder in self.volumes.values()]
        _check(len(set(folders)) == len(folders), "volumes", folders, "a folder for each claim")
        for secret in self.pull_secrets:
            _check(_OBJECT.fullmatch(secret), "pull_secrets", secret, "the name of a secret")
        root = self.pipeline_root
        _check(not root or "://" in root, "pipeline_root", root, "a URI such as minio://bucket/x")
        account = self.service_account
        _check(not account or _OBJECT.fullmatch(account), "service_account", account, "a name")
        tasks = {}
        for name, task in self.tasks.items():
            tasks[name] = task if isinstance(task, TaskSettings) else _task(name, task)
        object.__setattr__(self, "tasks", tasks)

    def mounted(self, path: str) -> bool:
        """Whether a path of the containers lies on one of the volumes."""
        folders = [folder.rstrip("/") for folder in self.volumes.values()]
        return any(path == folder or path.startswith(f"{folder}/") for folder in folders)


def _task(name: str, values: Any) -> TaskSettings:
    from pipeline.configuration import build_settings

    if not isinstance(values, Mapping):
        raise SegueError(f"setting kubeflow.tasks.{name} is a group of settings, got {values!r}")
    return build_settings(TaskSettings, values, f"kubeflow.tasks.{name}.")


def _is_clean(path: str) -> bool:
    return path.startswith("/") and ".." not in path.split("/")


def check_path(what: str, path: str, settings: KubeflowSettings) -> None:
    """Refuses a folder that the tasks would not find, or not share.

    Raises:
      SegueError: it is not absolute, or lies on no volume.
    """
    if not _is_clean(path):
        raise SegueError(
            f"{what} {path!r} is not allowed; on a cluster it must be an absolute path as the "
            f"containers see it, below {' or '.join(settings.volumes.values()) or 'a volume'}"
        )
    if not settings.mounted(path):
        mounts = ", ".join(f"{claim} at {path}" for claim, path in settings.volumes.items())
        raise SegueError(
            f"{what} {path} lies on no volume, so the tasks could not share it; mounted are: "
            f"{mounts or 'none'} (kubeflow.volumes)"
        )


def check_shared_artifacts(settings: KubeflowSettings) -> None:
    """Refuses tasks that hand their work to workers who do not see what the tasks are handed.

    The launcher puts artifacts into each task's own container, unless a volume is mounted
    there (kubeflow/mounts.py).

    Raises:
      SegueError: none is.
    """
    uri = settings.pipeline_root or DEFAULT_PIPELINE_ROOT
    path = to_path(uri, "/")
    if not settings.mounted(path):
        scheme, _, rest = uri.partition("://")
        bucket = to_path(f"{scheme}://{rest.partition('/')[0]}", "/")
        raise SegueError(
            f"Beam's workers would not see the artifacts of {uri}; mount a claim at {bucket} "
            "(kubeflow.volumes), and in the workers' pods"
        )


def check_package(path: Path) -> None:
    """Refuses a file that kfp would not take for a compiled pipeline.

    Raises:
      SegueError: its name ends otherwise, or its folder is not there.
    """
    if path.suffix not in (".yaml", ".yml"):
        raise SegueError(f"{path} is not allowed; a compiled pipeline's name ends in .yaml")
    if not path.absolute().parent.is_dir():
        raise SegueError(f"there is no folder {path.absolute().parent} to write {path.name} to")


def check_name(name: str) -> None:
    """Refuses what the backend would refuse as a pipeline's name."""
    _check(_NAME.fullmatch(name), "pipeline name", name, "[a-z0-9][a-z0-9-]{0,127}")


def check_image(image: str) -> None:
    """Refuses what is no reference of an image."""
    good = _IMAGE.fullmatch(image) and len(image.partition("@")[0]) <= 255
    _check(good, "image", image, "a reference such as registry.example.com/segue:1")


def check_namespace(name: str) -> None:
    """Refuses what is no namespace of Kubernetes."""
    _check(_LABEL.fullmatch(name), "namespace", name, "up to 63 of a-z, 0-9 and -")


def check_title(what: str, title: str) -> None:
    """Refuses a display name that the backend would refuse."""
    good = title.strip() and title.isprintable() and len(title) <= 127
    _check(good, what, title, "1..127 printable characters")


def load_settings(file: Path | None, overrides: Iterable[str], **given: Any) -> KubeflowSettings:
    """The settings of a file, with overrides.

    Args:
      file: a YAML file whose keys are the fields of KubeflowSettings; None is none.
      overrides: `key.key=value` each, without the `kubeflow.` before it.
      **given: single fields, which go before both; None is not given.

    Raises:
      SegueError: no such file or setting, or a value that is not allowed.
    """
    from pipeline.configuration import apply_override, build_settings, read_settings

    values: dict[str, Any] = {} if file is None else read_settings(file)
    for override in overrides:
        apply_override(values, override)
    values.update({name: value for name, value in given.items() if value is not None})
    return build_settings(KubeflowSettings, values, "kubeflow.")


def _check(good: object, name: str, value: object, allowed: str) -> None:
    if not good:
        raise SegueError(f"{name} {value!r} is not allowed; it must be {allowed}")
