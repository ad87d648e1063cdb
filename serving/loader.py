"""One version of a model: a SavedModel in a Session of its own.

TensorFlow Serving runs SavedModels through the C++ Session, not through
`tf.saved_model.load`; so does this module, since the two differ in what they
load, in their error messages and in speed. `tf.compat.v1.saved_model.load`
restores the graph, and every run then calls the same C++ `Session::Run` as the
binary: dtype errors, kernel errors and deadlines come from the runtime itself.

A run goes through `Session._call_tf_sessionrun` with handles that are looked up
once. The public ways cost more or can do less: `Session.run` resolves its feeds
and fetches by name every time (227 us a call against 35), and a callable fixes
its options when it is made, so that no deadline of a call could reach it.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow.core.protobuf import config_pb2, meta_graph_pb2
from tensorflow.python.client import pywrap_tf_session

from serving import errors, limits, tensors
from serving.caps import Caps
from serving.errors import ServingError
from serving.limits import Places

DEFAULT_SIGNATURE = "serving_default"
# Each Session has the threads it is given. Else whoever runs TensorFlow first in this
# process decides for all: several threads share out a matmul by its number of rows, so
# that a song would depend on the batch it is made in. Read at the first Session.
os.environ.setdefault("TF_OVERRIDE_GLOBAL_THREADPOOL", "1")
_log = logging.getLogger(__name__)
# A request of 300 bytes may stand for 64 MiB; a thousand of them must not.
_expanded = limits.Room(8 * tensors.MAX_EXPANDED_BYTES)


class LoadedModel:
    """A SavedModel that answers calls; safe to use from many threads.

    Attributes:
      path: the version's folder.
      meta_graph: the MetaGraphDef as it was saved.
      on_run: called after each run with the name of the signature whose outputs it
        fetched ("" if there is none), the rows of its first input (1 for a scalar)
        and the seconds it took.
      caps: how much one `predict` may ask for.
    """

    on_run: Callable[[str, int, float], None] | None = None
    caps = Caps()

    def __init__(
        self,
        path: Path,
        session: tf.compat.v1.Session,
        meta_graph: meta_graph_pb2.MetaGraphDef,
        runs: Places | None = None,
    ):
        self.path = path
        self.meta_graph = meta_graph
        self._session = session
        self._runs = runs
        self._handles: dict[str, Any] = {}
        self._names: dict[frozenset[str], str] = {}
        # Runs below bypass Session.run, which would pass new nodes to the runtime.
        session._extend_graph()

    @property
    def signatures(self) -> Mapping[str, meta_graph_pb2.SignatureDef]:
        """Everything in the graph's signature_def.

        `__saved_model_init_op` is in there too, and in TensorFlow Serving's
        metadata. It is no signature: a Predict of it gets the runtime's error.
        """
        return self.meta_graph.signature_def

    def predict(
        self,
        signature_name: str,
        inputs: Mapping[str, tensor_pb2.TensorProto],
        output_filter: Sequence[str] = (),
        timeout: float | None = None,
    ) -> dict[str, np.ndarray]:
        """Runs one signature.

        Args:
          signature_name: key of the signature; "" is `serving_default`.
          inputs: a TensorProto for each input of the signature; inputs that have
            a default in the SavedModel may be left out. Shapes are not checked
            against the signature, only by the graph.
          output_filter: the outputs to compute; empty for all.
          timeout: seconds that the run may take; None for any time.

        Returns:
          An array for each output asked for, by its name in the signature.

        Raises:
          ServingError: FAILED_PRECONDITION for an unknown signature,
            INVALID_ARGUMENT for wrong inputs or outputs, DEADLINE_EXCEEDED, or
            whatever the graph raised.
        """
        signature_name = signature_name or DEFAULT_SIGNATURE
        if signature_name not in self.signatures:
            raise errors.failed_precondition(f'Serving signature key "{signature_name}" not found.')
        signature = self.signatures[signature_name]
        _check_input_count(signature, inputs)
        feeds, expanded = _feeds(signature, inputs)
        self.caps.check({a: feeds[i.name] for a, i in signature.inputs.items()})
        aliases = _output_aliases(signature, output_filter)
        fetches = [signature.outputs[alias].name for alias in aliases]
        with _expanded.hold(expanded):
            return dict(zip(aliases, self.run(feeds, fetches, timeout), strict=True))

    def run(
        self,
        feeds: Mapping[str, np.ndarray],
        fetches: Sequence[str],
        timeout: float | None = None,
    ) -> list[np.ndarray]:
        """Runs the graph: values for tensors by name in, values of tensors out.

        Args:
          feeds: arrays by tensor name (`serving_default_x:0`).
          fetches: names of the tensors to compute.
          timeout: seconds that the run may take; None for any time.

        Raises:
          ServingError: with the runtime's own code and message.
        """
        with limits.run_in(self._runs, timeout) as left:
            return self._timed(feeds, fetches, _run_options(left))

    def run_here(self, feeds: Mapping[str, np.ndarray], fetches: Sequence[str]) -> list[np.ndarray]:
        """As `run`, with every operation in the calling thread.

        For a caller that has a thread a core and keeps runs short: a graph without
        anything to do at the same time is through sooner when it is not handed from
        thread to thread (8% at the least, for a song alone). Such a run takes none
        of the places for runs, and cannot be broken off.

        Raises:
          ServingError: as `run`.
        """
        return self._timed(feeds, fetches, _options(inter_op_thread_pool=-1))

    def _timed(
        self, feeds: Mapping[str, np.ndarray], fetches: Sequence[str], options: Any
    ) -> list[np.ndarray]:
        began = time.perf_counter()
        values = self._run(feeds, fetches, options)
        seconds = time.perf_counter() - began
        if self.on_run:
            first = next(iter(feeds.values()), None)
            rows = len(first) if first is not None and first.ndim else 1
            self.on_run(self._signature_of(fetches), rows, seconds)
        return values

    def _run(
        self, feeds: Mapping[str, np.ndarray], fetches: Sequence[str], options: Any
    ) -> list[np.ndarray]:
        try:
            outputs = [self._handle(name, feeds, fetches) for name in fetches]
            inputs = {self._handle(name, feeds, fetches): feeds[name] for name in feeds}
            values = self._session._call_tf_sessionrun(options, inputs, outputs, [], None)
            return [_as_array(value) for value in values]
        except tf.errors.OpError as error:
            raise _as_serving_error(error) from error
        finally:
            if options is not None:
                pywrap_tf_session.TF_DeleteBuffer(options)

    def _signature_of(self, fetches: Sequence[str]) -> str:
        """The first signature with these outputs."""
        if not self._names:
            for name, signature in sorted(self.signatures.items(), reverse=True):
                self._names[frozenset(info.name for info in signature.outputs.values())] = name
        return self._names.get(frozenset(fetches), "")

    def close(self) -> None:
        """Frees the model. Runs that are still going on are cancelled."""
        self._session.close()
        self._handles.clear()

    def _handle(self, name: str, feeds: Mapping[str, Any], fetches: Iterable[str]) -> Any:
        """The runtime's handle of a tensor, looked up in the graph once."""
        handle = self._handles.get(name)
        if handle is None:
            try:
                handle = self._session.graph.get_tensor_by_name(name)._as_tf_output()
            except (KeyError, ValueError):
                # A signature that names no tensor (`__saved_model_init_op`'s NoOp
                # has no outputs). Let the runtime find its own words for it.
                options = config_pb2.CallableOptions(feed=feeds, fetch=fetches)
                self._session._make_callable_from_options(options)
                raise
            self._handles[name] = handle
        return handle


def load(
    path: Path,
    *,
    intra_op_threads: int = 1,
    inter_op_threads: int = 0,
    tags: Sequence[str] = ("serve",),
    session_config: config_pb2.ConfigProto | None = None,
    gpu_memory_fraction: float = 0.0,
    runs: Places | None = None,
) -> LoadedModel:
    """Loads the SavedModel in `path` and runs its initializers.

    Args:
      path: folder with `saved_model.pb` (or `.pbtxt`) and `variables/`.
      intra_op_threads: threads inside one operation; 0 lets TensorFlow choose.
        More than one, and a song depends in its last bits on the batch it is made in.
      inter_op_threads: operations at the same time; 0 lets TensorFlow choose.
      tags: which of the SavedModel's graphs to load.
      session_config: whatever else TensorFlow can be told about a Session.
      gpu_memory_fraction: share of a GPU's memory to take at once; 0 takes what
        is needed, when it is needed.
      runs: places for the model's runs; None for no limit.

    Raises:
      ServingError: NOT_FOUND when there is no SavedModel or no such tag in it,
        DATA_LOSS when it cannot be read, or whatever restoring it raised.
    """
    config = config_pb2.ConfigProto()
    if session_config is not None:
        config.CopyFrom(session_config)
    config.intra_op_parallelism_threads = intra_op_threads
    config.inter_op_parallelism_threads = inter_op_threads
    if gpu_memory_fraction:
        config.gpu_options.per_process_gpu_memory_fraction = gpu_memory_fraction
    else:
        # A server shares its GPU with whatever trains the next version.
        config.gpu_options.allow_growth = True
    _check_readable(path)
    session = tf.compat.v1.Session(graph=tf.Graph(), config=config)
    try:
        with session.graph.as_default():
            meta_graph = tf.compat.v1.saved_model.load(session, list(tags), str(path))
        return LoadedModel(path, session, meta_graph, runs)
    except BaseException as error:
        session.close()
        if isinstance(error, tf.errors.OpError):
            raise _as_serving_error(error) from error
        if isinstance(error, RuntimeError) and "tags" in str(error):
            raise errors.not_found(
                f"Could not find meta graph def matching supplied tags: {{ {' '.join(tags)} }}. "
                f"To inspect available tag-sets in the SavedModel, please use the "
                f"SavedModel CLI: `saved_model_cli` ({path})"
            ) from error
        if isinstance(error, ValueError) and "checkpoint" in str(error):
            # The binary loads such a model, and fails at the first call.
            raise errors.data_loss(f"The variables of {path} are not there") from error
        raise


def _check_readable(path: Path) -> None:
    """Errors of the binary's loader, where Python's raises a bare OSError."""
    if (path / "saved_model.pbtxt").exists():
        return
    graph = path / "saved_model.pb"
    if not graph.exists():
        raise errors.not_found(
            f"Could not find SavedModel .pb or .pbtxt at supplied export directory path: {path}. "
            "Check that the directory exists and that you have the right permissions for "
            "accessing it."
        )
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    try:
        saved_model_pb2.SavedModel.FromString(graph.read_bytes())
    except DecodeError as error:
        raise errors.data_loss(f"Can't parse {graph} as binary proto") from error


def _check_input_count(
    signature: meta_graph_pb2.SignatureDef, inputs: Mapping[str, tensor_pb2.TensorProto]
) -> None:
    if len(inputs) == len(signature.inputs):
        return
    if len(inputs) < len(signature.inputs) and signature.defaults:
        return
    sent, wanted = set(inputs), set(signature.inputs)

    def listed(names: set[str]) -> str:
        return "{" + ",".join(sorted(names)) + "}"

    raise errors.invalid_argument(
        f"input size does not match signature: {len(sent)}!={len(wanted)}"
        f" len({listed(sent)}) != len({listed(wanted)})."
        f" Sent extra: {listed(sent - wanted)}."
        f" Missing but required: {listed(wanted - sent)}."
    )


def _feeds(
    signature: meta_graph_pb2.SignatureDef, inputs: Mapping[str, tensor_pb2.TensorProto]
) -> tuple[dict[str, np.ndarray], int]:
    """Arrays by tensor name, for every input; and how many of their bytes were not sent."""
    feeds = {}
    used = []
    room = tensors.MAX_EXPANDED_BYTES
    for alias, info in sorted(signature.inputs.items()):
        if alias in inputs:
            proto = inputs[alias]
            used.append(alias)
        elif alias in signature.defaults:
            proto = signature.defaults[alias]
        else:
            raise errors.invalid_argument(
                f"Signature input alias: {alias}(feed name: {info.name}) not found in request and"
                f" no default value provided. Inputs expected to be in the request"
                f" {{{','.join(sorted(inputs))}}}, or default input alias set:"
                f" {','.join(sorted(signature.defaults))}"
            )
        try:
            feeds[info.name] = array = tensors.decode(proto, room)
            # What came as a few values and a shape; of all inputs together.
            room -= max(0, array.nbytes - 16 * proto.ByteSize())
        except ValueError as error:
            _log.debug("input %s: %s", alias, error)
            raise errors.invalid_argument(f"tensor parsing error: {alias}") from error
    if len(used) != len(inputs):
        raise errors.invalid_argument(
            "Inputs contains invalid name. Used request inputs: "
            f"{','.join(used)}, request input: {','.join(sorted(inputs))}"
        )
    return feeds, tensors.MAX_EXPANDED_BYTES - room


def _output_aliases(
    signature: meta_graph_pb2.SignatureDef, output_filter: Sequence[str]
) -> list[str]:
    seen: list[str] = []
    for alias in output_filter:
        if alias not in signature.outputs:
            raise errors.invalid_argument(
                f"output tensor alias not found in signature: {alias}"
                f" Outputs expected to be in the set {{{','.join(sorted(signature.outputs))}}}."
            )
        if alias in seen:
            raise errors.invalid_argument(f"duplicate output tensor alias: {alias}")
        seen.append(alias)
    return seen or sorted(signature.outputs)


def _run_options(timeout: float | None) -> Any:
    """A buffer with RunOptions, to be deleted by the caller; None for none."""
    if timeout is None:
        return None
    if timeout <= 0:
        raise errors.deadline_exceeded("Deadline exceeded before the run could start")
    # RunOptions takes whole milliseconds and reads 0 as no limit. Deadlines too
    # far away to matter (gRPC's infinite one is 292 years) would overflow it.
    millis = max(1, min(int(timeout * 1000), 2**31 - 1))
    return _options(timeout_in_ms=millis)


def _options(**values: int) -> Any:
    options = config_pb2.RunOptions(**values)
    return pywrap_tf_session.TF_NewBufferFromString(options.SerializeToString())


def _as_array(value: Any) -> np.ndarray:
    """What the runtime returns, as an array: scalars come as numpy's or as bytes."""
    if isinstance(value, bytes):
        # np.asarray would make a fixed-width string of it, and drop final zeros.
        array = np.empty((), np.object_)
        array[()] = value
        return array
    return np.asarray(value)


def _as_serving_error(error: tf.errors.OpError) -> ServingError:
    return errors.from_number(error.error_code, str(error.message))
