"""What the study of the paper asks, and the trainings that answer.

Section 4.2 of P. Ortego's "Music Generation using LSTM" (2023) looks at one choice
at a time: how much dropout, which batch, whether to stop early, whether to hold the
weights small, and which activation. So does this: every arm is the paper's preset
with one thing changed, and the preset itself stands in every comparison.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from components.trainer.settings import TrainerSettings

# The paper names neither; these are of the order that Keras's own examples take.
L1, L2 = 1e-5, 1e-4


@dataclasses.dataclass(frozen=True)
class Size:
    """How much of the paper a study is.

    Attributes:
      name: as `--size` takes it.
      songs: at most this many; None for all there are (of the built-in corpus, as
        many chorales as the demo learns from).
      overrides: what of the paper's preset is made smaller.
      brief: two answers a question, not all of them.
      words: what a reader has to know of it, a sentence.
    """

    name: str
    songs: int | None
    overrides: tuple[str, ...]
    brief: bool
    words: str


SIZES = {
    size.name: size
    for size in (
        Size(
            "quick",
            8,
            (
                "window.length=16",
                "model.units=[8,12,8]",
                "model.dense=12",
                "training.epochs=3",
                "training.learning_rate=5.0e-3",
                "training.patience=2",
                "vocabulary.min_count=3",
            ),
            True,
            "A tiny network, a few songs and three epochs: it shows that everything runs, "
            "and its figures say nothing about the paper.",
        ),
        Size(
            "small",
            60,
            (
                "model.units=[64,128,64]",
                "model.dense=64",
                "training.epochs=40",
                "training.patience=6",
            ),
            False,
            "LSTM layers of 64, 128 and 64 units instead of 256, 512 and 256, a dense layer of "
            "64 instead of 256, at most 40 epochs and at most 60 songs: a sixteenth of the "
            "arithmetic. What is said here of a choice may differ at the paper's own size.",
        ),
        Size(
            "full",
            None,
            (),
            False,
            "The paper's own network, batches and windows, at most 100 epochs.",
        ),
    )
}


@dataclasses.dataclass(frozen=True)
class Arm:
    """One training of the study.

    Attributes:
      name: short and unique, for a file or a program.
      title: for a person.
      settings: of the training.
    """

    name: str
    title: str
    settings: TrainerSettings


@dataclasses.dataclass(frozen=True)
class Question:
    """One thing that is varied.

    Attributes:
      name: short and unique.
      title: for a person.
      answers: (label, name of the arm), in the order in which they are shown.
      paper: what the paper found, as words.
    """

    name: str
    title: str
    answers: tuple[tuple[str, str], ...]
    paper: str


PAPER = "paper"

_CHANGES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    PAPER: ("the paper's preset", {}, {}),
    "dropout-0.1": ("dropout 0.1", {"dropout": 0.1}, {}),
    "dropout-0.3": ("dropout 0.3", {"dropout": 0.3}, {}),
    "dropout-0.7": ("dropout 0.7", {"dropout": 0.7}, {}),
    "batch-64": ("batches of 64", {}, {"batch_size": 64}),
    "batch-128": ("batches of 128", {}, {"batch_size": 128}),
    "no-stopping": ("no early stopping", {}, {}),  # its patience: every epoch there is
    "l1": (f"L1 penalty of {L1:.5f}", {"l1": L1}, {}),
    "l2": (f"L2 penalty of {L2:.4f}", {"l2": L2}, {}),
    "l1-l2": (f"L1 of {L1:.5f} and L2 of {L2:.4f}", {"l1": L1, "l2": L2}, {}),
    "tanh": ("tanh in the dense layer", {"activation": "tanh"}, {}),
    "sigmoid": ("sigmoid in the dense layer", {"activation": "sigmoid"}, {}),
    "gelu": ("GELU in the dense layer", {"activation": "gelu"}, {}),
}

_UNKNOWN = "The paper tried it, and gives no figure to hold this one against."
_QUESTIONS = (
    Question(
        "dropout",
        "Dropout",
        (("0.1", "dropout-0.1"), ("0.3", "dropout-0.3"), ("0.5", PAPER), ("0.7", "dropout-0.7")),
        "The paper found 0.5 best.",
    ),
    Question(
        "batch",
        "Windows a batch",
        (("64", "batch-64"), ("128", "batch-128"), ("256", PAPER)),
        "The paper found 256 best.",
    ),
    Question("stopping", "Early stopping", (("on", PAPER), ("off", "no-stopping")), _UNKNOWN),
    Question(
        "penalty",
        "Penalty on the weights of the dense layers",
        (("none", PAPER), ("L1", "l1"), ("L2", "l2"), ("both", "l1-l2")),
        _UNKNOWN,
    ),
    Question(
        "activation",
        "Activation of the dense layer",
        (("relu", PAPER), ("tanh", "tanh"), ("sigmoid", "sigmoid"), ("gelu", "gelu")),
        _UNKNOWN,
    ),
)


def questions(brief: bool = False) -> tuple[Question, ...]:
    """All questions; `brief` ones have the paper's answer and the first other one."""
    if not brief:
        return _QUESTIONS
    return tuple(
        dataclasses.replace(
            question,
            answers=tuple(
                sorted(
                    [
                        next(answer for answer in question.answers if answer[1] == PAPER),
                        next(answer for answer in question.answers if answer[1] != PAPER),
                    ],
                    key=question.answers.index,
                )
            ),
        )
        for question in _QUESTIONS
    )


def arms(base: TrainerSettings, brief: bool = False) -> tuple[Arm, ...]:
    """The trainings that answer all questions, the paper's own first, each once.

    Args:
      base: the paper's preset, in the size of the study.
      brief: as of `questions`.
    """
    asked = {name for question in questions(brief) for _, name in question.answers}
    made = []
    for name, (title, model, training) in _CHANGES.items():
        if name not in asked:
            continue
        if name == "no-stopping":
            training = {"patience": base.training.epochs}
        settings = dataclasses.replace(
            base,
            model=dataclasses.replace(base.model, **model),
            training=dataclasses.replace(base.training, **training),
        )
        made.append(Arm(name, title, settings))
    return tuple(made)
