"""Recurring runs on Kubeflow Pipelines, by their names.

The backend gives a recurring run an id and lets any number of them have one name; here a
name is one schedule within an experiment. A new one is made before the old one goes, so
that a schedule that is refused leaves the one that works. One run at a time, and no
catching up on what was missed: the next night sees all new music.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from kubeflow.cron import to_six_fields
from kubeflow.submission import Kubeflow, Submission
from music.errors import SegueError

# Pages of a list that are asked for at most; a backend that turns in a circle ends there.
_PAGES, _PAGE = 100, 100


@dataclasses.dataclass(frozen=True)
class Schedule:
    """A recurring run.

    Attributes:
      id: as the backend has it.
      name: as a person gave it.
      cron: six fields, as the backend has it; empty where it comes otherwise.
      state: `enabled`, `disabled`, or what else the backend says.
    """

    id: str
    name: str
    cron: str
    state: str

    def as_dict(self) -> dict[str, str]:
        """As JSON types."""
        return dataclasses.asdict(self)


class Schedules:
    """The recurring runs of an experiment.

    Args:
      kubeflow: where.
      experiment: its name.
    """

    def __init__(self, kubeflow: Kubeflow, experiment: str):
        self._kubeflow = kubeflow
        self._experiment = experiment

    def all(self) -> list[Schedule]:
        """Every one of them, by name.

        Raises:
          SegueError: the backend refuses, or is gone.
        """
        with self._kubeflow.words() as client:
            experiment_id = self._find(client)
            if experiment_id is None:
                return []
            found: list[Schedule] = []
            token = ""
            for _ in range(_PAGES):
                page = client.list_recurring_runs(
                    page_token=token, page_size=_PAGE, experiment_id=experiment_id
                )
                found += map(_told, page.recurring_runs or ())
                token = page.next_page_token or ""
                if not token:
                    break
        return sorted(found, key=lambda one: (one.name, one.id))

    def put(self, wanted: Submission, cron: str) -> tuple[str, list[str]]:
        """Makes a recurring run, in place of those of its name.

        Args:
          wanted: what it runs; its experiment is this one.
          cron: when, the five fields of crontab.

        Returns:
          Its id, and the ids of those that it replaced.

        Raises:
          SegueError: the expression is none, or the backend refuses; what was there stays.
        """
        six = to_six_fields(cron)
        with self._kubeflow.words() as client:
            experiment = client.create_experiment(
                self._experiment, namespace=self._kubeflow.endpoint.namespace or None
            )
            made = client.create_recurring_run(
                experiment_id=experiment.experiment_id,
                job_name=wanted.run_name,
                cron_expression=six,
                max_concurrency=1,
                no_catchup=True,
                params=dict(wanted.arguments),
                pipeline_package_path=str(wanted.package),
                pipeline_root=wanted.pipeline_root or None,
                service_account=wanted.service_account or None,
            )
        made_id = str(made.recurring_run_id)
        old = [one.id for one in self.all() if one.name == wanted.run_name and one.id != made_id]
        self._delete(old)
        return made_id, old

    def delete(self, name: str) -> list[str]:
        """Deletes the recurring run of a name; the ids of what was deleted.

        Raises:
          SegueError: there is none, or the backend refuses.
        """
        there = self.all()
        doomed = [one.id for one in there if one.name == name]
        if not doomed:
            names = ", ".join(sorted({one.name for one in there})) or "none"
            raise SegueError(
                f"there is no recurring run {name!r} in the experiment {self._experiment}; "
                f"there: {names}"
            )
        self._delete(doomed)
        return doomed

    def _delete(self, ids: list[str]) -> None:
        for one in ids:
            with self._kubeflow.words() as client:
                client.delete_recurring_run(one)

    def _find(self, client: Any) -> str | None:
        """The experiment's id; None where nobody has made it yet."""
        try:
            found = client.get_experiment(
                experiment_name=self._experiment,
                namespace=self._kubeflow.endpoint.namespace or None,
            )
        except ValueError as error:  # as kfp says that there is none
            if str(error).startswith("No experiment"):
                return None
            raise SegueError(f"experiment {self._experiment}: {error}") from error
        return str(found.experiment_id)


def _told(run: Any) -> Schedule:
    cron = run.trigger.cron_schedule.cron if run.trigger and run.trigger.cron_schedule else ""
    # `status` says whether it comes; older backends leave it out and have the mode they got.
    state = str(run.status or run.mode or "").lower()
    state = {"enable": "enabled", "disable": "disabled"}.get(state, state)
    return Schedule(str(run.recurring_run_id), str(run.display_name or ""), cron or "", state)
