"""Which versions there are, and which of them a policy wants."""

from serving.policies import every, find_versions, latest, specific


def test_row_28_versions_are_folders_named_by_an_int64(base):
    names = ["3", "-1", "007", str(2**63 - 1)]
    others = [".4", ".5.tmp", "v6", "8a", "9.0", "1_0", "٣", "latest", str(2**63), "", " "]
    for name in [*names, *(other for other in others if other)]:
        (base / name).mkdir()
    (base / "11").write_text("a file")
    found = find_versions(base)
    assert set(found) == {3, -1, 7, 2**63 - 1}
    assert found[7] == base / "007"


def test_row_29_latest():
    assert latest(1)([3, 10, 9]) == {10}
    assert latest(2)([3, 10, 9]) == {10, 9}
    assert latest(1)([]) == set()


def test_row_29_all():
    assert every()([3, 10, 9]) == {3, 10, 9}
    assert every()([]) == set()


def test_row_29_specific():
    assert specific([3, 9, 77])([3, 10, 9]) == {3, 9}
    assert specific([77])([3]) == set()
