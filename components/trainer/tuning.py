"""TFX's door to the search for better settings: `tuner_fn`, and the tuner behind it.

TFX's Tuner component calls `tuner_fn`, runs the search of the tuner it returns and
publishes the best hyperparameters, which the Trainer takes as its own. KerasTuner's
oracle says what to try; a trial is one of our own trainings (`Trials`), judged by
held-out nats an event, the less the better. No other module of ours imports
KerasTuner (TFX's own package does).

KerasTuner's own project folder is thrown away with the execution: its oracle draws
the same trials from the same seed, and those that are done are read from the store,
so a search that was killed at any instant goes on without its state.
"""

from __future__ import annotations

import json
import time
from typing import Any

from keras_tuner import HyperParameters, Objective
from keras_tuner.engine import base_tuner
from keras_tuner.errors import FailedTrialError, FatalError
from keras_tuner.oracles import GridSearchOracle, RandomSearchOracle
from tfx.components.tuner.component import TunerFnResult

from components.progress import report
from components.trainer.module import read_vocabulary
from components.trainer.settings import TrainerSettings
from components.trainer.space import TuningSettings, to_text, with_choices
from components.trainer.trials import Trial, Trials, without_epochs
from music.errors import SegueError

OBJECTIVE = "nats"
_ORACLES = {"random": RandomSearchOracle, "grid": GridSearchOracle}


def tuner_fn(fn_args: Any) -> TunerFnResult:
    """The tuner of a search over the windows of `fn_args`.

    Args:
      fn_args: TFX's FnArgs; `custom_config` holds, as JSON, `settings`
        (`TrainerSettings.to_dict()`) and `tuning` (`TuningSettings.to_dict()`), and
        as a path `store`, where trials are kept from one execution to the next.
    """
    config = fn_args.custom_config
    settings = TrainerSettings.from_dict(json.loads(config["settings"]))
    tuning = TuningSettings(**json.loads(config["tuning"]))
    trials = Trials(
        config["store"],
        read_vocabulary(fn_args.train_files),
        fn_args.train_files,
        fn_args.eval_files,
    )
    return TunerFnResult(SettingsTuner(settings, tuning, trials, fn_args.working_dir), {})


def hyperparameters(tuning: TuningSettings) -> HyperParameters:
    """The search space as KerasTuner takes it: a choice a setting."""
    made = HyperParameters()
    for name, values in tuning.choices.items():
        made.Choice(name, [to_text(value) for value in values])
    return made


class SettingsTuner(base_tuner.BaseTuner):
    """Searches a space of settings; each trial is a training.

    Args:
      settings: those around which is searched.
      tuning: what to try, and how long.
      trials: makes and keeps trainings.
      directory: for KerasTuner's own files, of which nothing needs to last.
    """

    def __init__(
        self, settings: TrainerSettings, tuning: TuningSettings, trials: Trials, directory: str
    ):
        self.settings = with_choices(settings, {"training.epochs": tuning.epochs})
        self.tuning = tuning
        self.trials = trials
        self.made: list[Trial] = []
        self._trained: list[float] = []
        oracle = _ORACLES[tuning.strategy](
            objective=Objective(OBJECTIVE, "min"),
            max_trials=tuning.trials,
            hyperparameters=hyperparameters(tuning),
            seed=tuning.seed,
            # A trial that breaks down is a result; the search goes on.
            max_consecutive_failed_trials=tuning.trials + 1,
        )
        oracle.verbose = 0
        super().__init__(oracle, directory=directory, project_name="search", overwrite=True)

    def run_trial(self, trial: Any, *_: Any, **__: Any) -> float:
        """Held-out nats an event of the training that `trial` asks for.

        Raises:
          FailedTrialError: it broke down.
          FatalError: anything else, which would happen to every trial.
        """
        chosen = trial.hyperparameters.values
        began = time.monotonic()
        try:
            with without_epochs():
                made = self.trials.run(with_choices(self.settings, chosen))
        except Exception as error:
            # KerasTuner takes any other exception for a trial that may fail.
            raise FatalError(str(error)) from error
        self.made.append(made)
        if not made.kept:
            self._trained.append(time.monotonic() - began)
        self._tell(made, chosen)
        if made.history is None:
            raise FailedTrialError(made.reason)
        return made.history.nats

    def on_search_end(self) -> None:
        """Refuses to name a best trial when there is none."""
        super().on_search_end()
        if self.made and all(trial.history is None for trial in self.made):
            raise SegueError(
                f"all {len(self.made)} trials of the search broke down; the first: "
                f"{self.made[0].reason}"
            )
        if self.made:
            (best,) = self.get_best_hyperparameters()
            report("Tuner", f"best: {_words(best.values)}", best=dict(best.values))

    def _tell(self, made: Trial, chosen: dict[str, Any]) -> None:
        number, of = len(self.made), self.tuning.trials
        done = [trial.history for trial in self.made if trial.history is not None]
        best = min((history.nats for history in done), default=None)
        line = f"trial {number} of at most {of}: {_words(chosen)}: "
        if made.history is None:
            line += made.reason
        else:
            line += f"held-out {made.history.nats:.3f} nats an event"
            line += f" in epoch {made.history.best} of {len(made.history.epochs)}"
        if best is not None:
            line += f" (best {best:.3f})"
        left = None
        if made.kept:
            line += ", made before"
        elif number < of:
            left = sum(self._trained) / len(self._trained) * (of - number)
            line += f", about {int(left) // 60}:{int(left) % 60:02d} left"
        report(
            "Tuner",
            line,
            trial=number,
            trials=of,
            chosen=dict(chosen),
            nats=None if made.history is None else made.history.nats,
            best=best,
            kept=made.kept,
            seconds_left=left,
        )


def _words(chosen: dict[str, Any]) -> str:
    return ", ".join(f"{name.partition('.')[2]} {value}" for name, value in chosen.items())
