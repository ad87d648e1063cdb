"""What importing costs, and the names that Kubeflow looks artifacts up by."""

import importlib
import json
import subprocess
import sys

import pytest

import components


def test_importing_the_package_loads_neither_tensorflow_nor_tfx():
    code = (
        "import json, sys, components, components.progress, components.trainer.settings, "
        "components.evaluator.settings, components.trainer.module;"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = set(json.loads(out.stdout))
    assert "components" in loaded
    heavy = {"tensorflow", "tfx", "keras", "apache_beam", "tensorflow_model_analysis", "music21"}
    assert not loaded & heavy


@pytest.mark.parametrize("name", components.__all__)
def test_every_name_can_be_imported_from_the_package(name):
    assert getattr(components, name).__name__ == name


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'components' has no attribute 'Composer'"):
        _ = components.Composer


@pytest.mark.parametrize("name", ["Songs", "Verdicts", "MusicVocabulary"])
def test_an_artifacts_type_name_is_where_it_can_be_imported_from(name):
    kind = getattr(components, name)
    assert f"components.{name}" == kind.TYPE_NAME
    module, _, attribute = kind.TYPE_NAME.partition(".")
    assert getattr(importlib.import_module(module), attribute) is kind
    assert not kind.PROPERTIES


def test_a_report_is_a_log_record_with_its_facts(caplog):
    from components.progress import LOGGER, report

    with caplog.at_level("INFO", logger=LOGGER.name):
        report("Trainer", "epoch 1 of 2", epoch=1)
    (record,) = caplog.records
    assert record.getMessage() == "Trainer: epoch 1 of 2"
    assert (record.stage, record.text, record.facts) == ("Trainer", "epoch 1 of 2", {"epoch": 1})
