"""`segue models` as a user gives it, on folders that look like versions."""

from __future__ import annotations

import json
import sys

import pytest

from pipeline.lock import exclusive


@pytest.fixture
def folder(tmp_path):
    """The versions 1732298400 and 1732298500 of a root."""
    folder = tmp_path / "serving" / "segue"
    for number, nats in ((1_732_298_400, 2.9), (1_732_298_500, 2.818)):
        version = folder / str(number)
        for name in ("assets", "variables"):
            (version / name).mkdir(parents=True)
        (version / "saved_model.pb").write_bytes(b"\0" * 1_500_000)
        for name in ("variables.index", "variables.data-00000-of-00001"):
            (version / "variables" / name).write_bytes(b"\0")
        facts = {"training": {"preset": "default", "nats": nats}}
        (version / "assets" / "segue.json").write_text(json.dumps(facts))
    return folder


@pytest.fixture
def models(segue, tmp_path):
    """models(command, ...): `segue models` on the root."""

    def models(command, *arguments):
        return segue("models", command, "--root", tmp_path, *arguments)

    return models


def test_list_answers_at_once_without_tensorflow(folder, tmp_path, processor_seconds):
    probe = (
        "import sys; from click.testing import CliRunner; from pipeline.cli import main; "
        f"assert CliRunner().invoke(main, ['models', 'list', '--root', {str(tmp_path)!r}])"
        ".exit_code == 0; "
        "heavy = {'tensorflow', 'tfx', 'apache_beam', 'music21', 'grpc'}; "
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    assert min(processor_seconds(sys.executable, "-c", probe) for _ in range(3)) < 1.0


def test_list_is_a_table(folder, models, monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    models("rollback")
    ran = models("list")
    assert ran.code == 0, ran.err
    assert ran.out.splitlines() == [
        "version     state       pushed            size    preset   nats",
        "1732298500  parked      2024-11-22 18:01  1.5 MB  default  2.818",
        "1732298400  in service  2024-11-22 18:00  1.5 MB  default  2.900",
    ]


def test_list_as_json(folder, models):
    models("pin", 1_732_298_400)
    listing = models("list", "--json").json
    assert listing["folder"] == str(folder)
    assert listing["in_service"] == listing["pinned"] == 1_732_298_400
    assert [row["state"] for row in listing["versions"]] == ["parked", "in service"]
    assert listing["versions"][1] == {
        "version": 1_732_298_400,
        "state": "in service",
        "pinned": True,
        "problem": None,
        "pushed": "2024-11-22T18:00:00+00:00",
        "bytes": 1_500_050,
        "preset": "default",
        "nats": 2.9,
        "path": str(folder / "1732298400"),
    }
    assert listing["notes"] == []


def test_an_empty_folder_is_said_to_be_empty(models, tmp_path):
    folder = tmp_path / "serving" / "segue"
    folder.mkdir(parents=True)
    assert models("list").out == f"no version in {folder}\n"
    assert models("list", "--json").json["versions"] == []


def test_every_change_is_told(folder, models):
    assert models("rollback").out == "version 1732298400 is in service; parked: 1732298500\n"
    assert models("rollback", "--to", 1_732_298_500, "--json").json == {
        "in_service": 1_732_298_500,
        "unparked": [1_732_298_500],
        "parked": [],
        "pinned": None,
    }
    pinned = "version 1732298400 is in service and pinned; parked: 1732298500\n"
    assert models("pin", 1_732_298_400).out == pinned
    assert models("pin", "--release").out == "version 1732298500 is in service\n"
    assert models("prune", "--keep", 1, "--dry-run").out == "would delete 1732298400 (1.5 MB)\n"
    assert models("prune", "--keep", 1, "--json").json == {
        "deleted": [1_732_298_400],
        "bytes": 1_500_050,
        "dry_run": False,
    }
    assert models("prune", "--keep", 1).out == "nothing to delete\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("rollback", "--to", 5), "there is no version 5 in"),
        (("pin", 5), "there are 1732298500, 1732298400"),
        (("pin",), "name the version to pin, or --release the pin there is"),
        (("pin", 1_732_298_400, "--release"), "name the version to pin, or --release"),
        (("unpin",), "no version is pinned in"),
        (("prune", "--keep", 0), "--keep 0 is not allowed; it must be 1 or more"),
        (("list", "--model", "bach"), "say which server with --target"),
        (("list", "--target", "nowhere"), "nowhere"),
    ],
)
def test_what_cannot_be_done_is_one_line(folder, models, one_line, arguments, words):
    assert words in one_line(models(*arguments))
    assert sorted(path.name for path in folder.iterdir()) == ["1732298400", "1732298500"]


def test_nothing_to_roll_back_to_is_one_line(folder, models, one_line):
    models("rollback")
    line = one_line(models("rollback"))
    assert line.startswith("nothing to roll back to: no version before 1732298400 is kept in")
    assert line.endswith("there are 1732298500 (parked), 1732298400")


def test_a_root_without_models_is_one_line_and_stays_away(models, one_line, tmp_path):
    for command in (("list",), ("rollback",), ("prune", "--keep", 3)):
        assert "`segue pipeline run` makes one" in one_line(models(*command))
    assert list(tmp_path.iterdir()) == []


def test_a_run_under_way_keeps_nobody_from_rolling_back(folder, models, tmp_path):
    with exclusive(tmp_path):
        assert models("rollback").code == 0
        assert models("list").code == 0


def test_a_run_is_told_of_a_damaged_pin_before_it_trains(folder, tmp_path):
    from music.errors import SegueError
    from pipeline.configuration import Configuration
    from pipeline.local_runner import check_root

    (folder / ".pinned").write_text("the old one")
    with pytest.raises(SegueError, match="holds 'the old one', which is no version"):
        check_root(Configuration(data=tmp_path, root=tmp_path))
