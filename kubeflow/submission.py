"""Hands a compiled pipeline to Kubeflow Pipelines, and tells how its run goes.

kfp's own client does the talking. What it would wait for in silence (an endpoint that
is not there) or tell by a trace (a token that is refused) is one line here.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import logging
import time
import urllib.error
import urllib.parse
import urllib.request
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from kubeflow.settings import check_namespace, check_title
from music.errors import SegueError

HEALTH = "/apis/v2beta1/healthz"
# Seconds that the endpoint has to answer in at all, and between two looks at a run.
PATIENCE = 5.0
INTERVAL = 5.0
GOOD = "SUCCEEDED"
BAD = ("FAILED", "CANCELED", "SKIPPED", "ERROR")
# Failed looks at a run in a row, before it is left alone.
LOOKS = 10


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """Where Kubeflow Pipelines answers, and as whom.

    Attributes:
      url: of the API: http://127.0.0.1:8888, or https://host/pipeline.
      token: sent as `Authorization: Bearer`; empty sends none.
      namespace: of the run; empty where there is one user only.
    """

    url: str
    token: str = dataclasses.field(default="", repr=False)
    namespace: str = ""

    def __post_init__(self) -> None:
        try:
            parts = urllib.parse.urlsplit(self.url)
            good = parts.scheme in ("http", "https") and parts.hostname
            _ = parts.port
        except ValueError:
            good = None
        if not good or parts.query or parts.fragment or not self.url.isprintable():
            raise SegueError(
                f"endpoint {self.url!r} is not allowed; it must be a URL such as "
                "http://127.0.0.1:8888 or https://kubeflow.example.com/pipeline"
            )
        if self.token and not (self.token.isascii() and self.token.isprintable()):
            raise SegueError("the token holds what no header can; give it without line breaks")
        if self.namespace:
            check_namespace(self.namespace)


@dataclasses.dataclass(frozen=True)
class Submission:
    """A run that is asked for.

    Attributes:
      package: the compiled file.
      arguments: the pipeline's parameters, as JSON types.
      experiment, run_name: under which it is shown.
      pipeline_root: where artifacts are kept, a URI; empty is the backend's default.
      service_account: of the run's pods; empty is the namespace's own.
    """

    package: Path
    arguments: Mapping[str, Any]
    experiment: str = "segue"
    run_name: str = "segue"
    pipeline_root: str = ""
    service_account: str = ""

    def __post_init__(self) -> None:
        check_title("experiment", self.experiment)
        check_title("run name", self.run_name)


def check_endpoint(endpoint: Endpoint) -> None:
    """Asks the endpoint whether it is there.

    Raises:
      SegueError: nobody answers within some seconds, or somebody else.
    """
    url = endpoint.url.rstrip("/") + HEALTH
    headers = {"Authorization": f"Bearer {endpoint.token}"} if endpoint.token else {}
    try:
        request = urllib.request.Request(url, headers=headers)
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            good = isinstance(json.loads(answer.read(65536)), dict)
    except urllib.error.HTTPError as error:
        raise SegueError(_refused(endpoint, error.code, str(error.reason))) from None
    except (OSError, ValueError) as error:
        if isinstance(error, ValueError):
            good = False  # an answer, but no JSON
        else:
            reason = getattr(error, "reason", error)
            raise SegueError(
                f"nobody answers at {endpoint.url} ({reason}); is the endpoint right, and "
                "reachable from here (kubectl port-forward)?"
            ) from None
    if not good:
        raise SegueError(
            f"{endpoint.url} answers, but not as Kubeflow Pipelines 2 does; the endpoint is the "
            "URL before /apis/v2beta1 (a login page means that a token is missing)"
        )


def _refused(endpoint: Endpoint, status: int | None, reason: str) -> str:
    if status in (401, 403):
        held = "the token" if endpoint.token else "a call without a token"
        return f"{endpoint.url} refuses {held} ({status} {reason}); give another --token"
    if status == 404:
        return (
            f"there is no Kubeflow Pipelines 2 at {endpoint.url} (404 {reason}); the endpoint is "
            "the URL before /apis/v2beta1"
        )
    return f"{endpoint.url} refuses the request ({status} {reason})"


@contextlib.contextmanager
def _words(endpoint: Endpoint) -> Iterator[None]:
    """Turns what the client raises into one line, and keeps its chatter back."""
    import kfp_server_api
    import urllib3

    logging.getLogger("urllib3").setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except kfp_server_api.ApiException as error:
        raise SegueError(_refused(endpoint, error.status, _reason(error))) from error
    except urllib3.exceptions.HTTPError as error:
        reason = " ".join(str(error).split())[:200]
        raise SegueError(f"{endpoint.url} does not answer any more ({reason})") from error


def _reason(error: Any) -> str:
    """What the backend itself says, without its trace."""
    with contextlib.suppress(ValueError, TypeError):
        body = json.loads(error.body)
        text = body.get("error_message") or body.get("message") or body.get("error")
        if text:
            return " ".join(str(text).split())[:300]
    return str(error.reason)


class Kubeflow:
    """Kubeflow Pipelines behind an endpoint.

    Args:
      endpoint: where.

    Raises:
      SegueError: nobody answers there.
    """

    def __init__(self, endpoint: Endpoint):
        check_endpoint(endpoint)
        self.endpoint = endpoint
        with _words(endpoint):
            import kfp

            # `kubeflow` is what kfp takes for "not said".
            self._client = kfp.Client(
                host=endpoint.url,
                existing_token=endpoint.token or None,
                namespace=endpoint.namespace or "kubeflow",
            )

    @contextlib.contextmanager
    def words(self) -> Iterator[Any]:
        """kfp's client, for a `with` block in which what goes wrong is one line."""
        with _words(self.endpoint):
            yield self._client

    def submit(self, wanted: Submission) -> str:
        """Starts a run; its id.

        Raises:
          SegueError: the backend refuses it.
        """
        with _words(self.endpoint):
            run = self._client.create_run_from_pipeline_package(
                str(wanted.package),
                arguments=dict(wanted.arguments),
                run_name=wanted.run_name,
                experiment_name=wanted.experiment,
                namespace=self.endpoint.namespace or None,
                pipeline_root=wanted.pipeline_root or None,
                service_account=wanted.service_account or None,
            )
        return run.run_id

    def link(self, run_id: str) -> str:
        """Where a person sees the run."""
        return f"{self.endpoint.url.rstrip('/')}/#/runs/details/{run_id}"

    def follow(
        self, run_id: str, tell: Callable[[str], None], interval: float = INTERVAL
    ) -> dict[str, str]:
        """Waits until a run has ended; the last state of every task.

        Args:
          run_id: of the run.
          tell: called with a line whenever a task changes its state.
          interval: seconds between two looks.

        Raises:
          SegueError: it did not succeed, or the endpoint is gone.
        """
        states: dict[str, str] = {}
        failures = 0
        while True:
            try:
                with _words(self.endpoint):
                    run = self._client.get_run(run_id)
                failures = 0
            except SegueError:
                failures += 1  # a restart of the API server does not stop the run
                if failures >= LOOKS:
                    raise
                time.sleep(interval)
                continue
            for name, state in _tasks(run).items():
                if states.get(name) != state:
                    tell(f"{name}: {state.lower()}")
                states[name] = state
            state = str(run.state or "").upper()
            if state == GOOD:
                return states
            if state in BAD:
                raise SegueError(self._failure(run_id, run, state, states))
            time.sleep(interval)

    def _failure(self, run_id: str, run: Any, state: str, states: Mapping[str, str]) -> str:
        failed = sorted(name for name, one in states.items() if one in ("FAILED", "ERROR"))
        at = f" at {', '.join(failed)}" if failed else ""
        error = getattr(run.error, "message", None) if run.error else None
        why = f": {' '.join(str(error).split())[:300]}" if error else ""
        return f"the run has {state.lower()}{at}{why}; see {self.link(run_id)}"


def _tasks(run: Any) -> dict[str, str]:
    """The state of each task, without those that the backend adds for itself."""
    details = run.run_details.task_details if run.run_details else None
    found = {}
    for task in details or ():
        name = task.display_name or ""
        if name and task.state and not name.endswith(("-driver", "root", "executor")):
            found[name] = str(task.state).upper()
    return found
