"""The arms of the study: one thing changed at a time, each trained once."""

from pathlib import Path

import pytest

from pipeline.configuration import load_configuration
from pipeline.study.arms import PAPER, SIZES, arms, questions


def planned(size):
    chosen = SIZES[size]
    config = load_configuration(Path("midi"), Path("root"), "paper", chosen.overrides)
    return config.trainer(), arms(config.trainer(), chosen.brief)


def differences(one, other):
    """The settings in which two trainings differ, by their whole names."""
    found = {}
    for group in ("model", "training"):
        mine, theirs = one.to_dict()[group], other.to_dict()[group]
        found |= {f"{group}.{k}": mine[k] for k in mine if mine[k] != theirs[k]}
    return found


def test_the_full_size_is_the_papers_preset():
    base, made = planned("full")
    assert made[0].name == PAPER
    assert made[0].settings == base
    assert (base.model.units, base.model.dense) == ((256, 512, 256), 256)
    assert (base.model.dropout, base.training.batch_size, base.window.length) == (0.5, 256, 75)


@pytest.mark.parametrize("size", SIZES)
def test_an_arm_changes_one_thing_and_the_penalties_their_two(size):
    base, made = planned(size)
    for arm in made[1:]:
        changed = differences(arm.settings, base)
        assert len(changed) == (2 if arm.name == "l1-l2" else 1), arm
        assert arm.settings.window == base.window


def test_the_papers_values_are_compared():
    base, made = planned("full")
    by_name = {arm.name: arm.settings for arm in made}
    answers = {question.name: question.answers for question in questions()}
    dropouts = [by_name[name].model.dropout for _, name in answers["dropout"]]
    assert dropouts == [0.1, 0.3, 0.5, 0.7]
    assert [by_name[name].training.batch_size for _, name in answers["batch"]] == [64, 128, 256]
    # Off: no number of epochs without a better one is too many.
    off = by_name["no-stopping"].training
    assert off.patience == off.epochs > base.training.patience
    assert all(float(label) == by_name[name].model.dropout for label, name in answers["dropout"])


@pytest.mark.parametrize("size", SIZES)
def test_every_question_holds_the_papers_own_against_others_that_are_trained_once(size):
    _, made = planned(size)
    names = [arm.name for arm in made]
    assert len(set(names)) == len(names)
    assert len({str(arm.settings) for arm in made}) == len(made)
    asked = questions(SIZES[size].brief)
    for question in asked:
        answers = [name for _, name in question.answers]
        assert PAPER in answers
        assert len(answers) >= 2
    assert {name for question in asked for _, name in question.answers} == set(names)
