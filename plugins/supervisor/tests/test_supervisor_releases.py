"""The list of releases, and what a rollback makes of it."""

from __future__ import annotations

import json
import stat
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from surfaces_supervisor import operators, rolling, versions
from surfaces_supervisor.doubts import Doubts
from surfaces_supervisor.recording import main as record
from surfaces_supervisor.releases import KEPT, File, Release, Releases, digest_of
from surfaces_supervisor.versions import CannotInstall, differences


class Desk:
    """A config, its agents, and releases of them."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "surfaces.yaml"
        self.agents = folder / "agents.yaml"
        self.list = Releases(folder / "surfaces.supervisor")

    def write(self, config: str, agents: str) -> None:
        """What is there now."""
        self.config.write_text(config)
        self.agents.write_text(agents)

    def release(self, ready_at: float, versions: dict[str, str] | None = None) -> Release:
        """What is there now, as a host ran with it."""
        made = Release(
            config=File(path=str(self.config), text=self.config.read_text()),
            registry=File(path=str(self.agents), text=self.agents.read_text()),
            versions=versions or {"surfaces-core": "1"},
            prefix="/opt/surfaces",
            ready_at=ready_at,
        )
        self.list.keep(made)
        return made


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """One with nothing recorded."""
    return Desk(tmp_path)


def test_the_last_ready_comes_first(desk: Desk) -> None:
    """A release that runs again comes to the front, and is there once."""
    desk.write("a", "x")
    first = desk.release(1.0)
    desk.write("b", "x")
    second = desk.release(2.0)
    assert [one.id for one in desk.list.all()] == [second.id, first.id]
    desk.write("a", "x")
    assert [one.id for one in [desk.release(3.0), second]] == [one.id for one in desk.list.all()]


def test_only_the_last_are_kept(desk: Desk) -> None:
    """However often a config is changed."""
    for number in range(KEPT + 3):
        desk.write(f"config {number}", "x")
        desk.release(float(number))
    assert [one.ready_at for one in desk.list.all()] == [float(number) for number in range(KEPT + 2, 2, -1)]


def test_releases_are_for_their_owner_alone(desk: Desk, tmp_path: Path) -> None:
    """A config may hold secrets."""
    desk.write("a", "x")
    desk.release(1.0)
    for path in (tmp_path / "surfaces.supervisor").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)


def test_a_damaged_release_is_none(desk: Desk, tmp_path: Path) -> None:
    """The others are still there."""
    desk.write("a", "x")
    release = desk.release(1.0)
    folder = tmp_path / "surfaces.supervisor/releases"
    for name, text in {"cut": "{", "bare": "[]", "half": '{"config": {}}'}.items():
        (folder / f"{name}.json").write_text(text)
    assert desk.list.all() == [release]


def test_agents_that_a_host_has_run_with_stay(desk: Desk) -> None:
    """Bringing back a config does not undo who was given which agent since."""
    desk.write("old", "ann: a")
    old = desk.release(1.0)
    desk.write("new", "ann: b")
    new = desk.release(2.0)
    made = rolling.plan(old, [new, old], old.versions)
    assert [file.text for file in made.files] == ["old"]


def test_agents_that_no_host_has_run_with_go(desk: Desk) -> None:
    """What refuses the start may be one of them."""
    desk.write("good", "ann: a")
    good = desk.release(1.0)
    desk.write("good", "ann: {")
    made = rolling.plan(good, [good], good.versions)
    assert [file.path for file in made.files] == [str(desk.agents)]
    (kept,) = rolling.carry_out(made)
    assert (desk.agents.read_text(), kept.read_text()) == ("ann: a", "ann: {")


def test_agents_are_no_release_of_their_own(desk: Desk) -> None:
    """With others the release is the same one, and has the newest."""
    desk.write("good", "ann: a")
    desk.release(1.0)
    desk.write("good", "ann: b")
    release = desk.release(2.0)
    assert desk.list.all() == [release]


@pytest.mark.parametrize("apart", [True, False])
def test_agents_that_a_host_lives_with_are_in_all_releases_at_once(desk: Desk, tmp_path: Path, apart: bool) -> None:
    """Whether that host ever ran well, and whether they stand in the config itself."""
    desk.write("same, ann: a", "ann: a")
    for number, version in enumerate("12"):
        release = replace(desk.release(number, {"a": version}), settings="same", registry=None)
        if not apart:
            desk.list.keep(release)
    old = desk.list.all()
    desk.write("same, ann: a" if apart else "same, ann: b", "ann: b")
    files = {"config": desk.config, "registry": desk.agents if apart else desk.config}
    told = {name: [str(path), digest_of(path.read_bytes()), "same"] for name, path in files.items()}
    assert record([str(tmp_path / "surfaces.supervisor"), json.dumps(told)]) == 0
    newer = desk.list.all()
    assert [(one.id, one.versions) for one in newer] == [(one.id, one.versions) for one in old]
    assert [rolling.plan(one, [], one.versions).files for one in newer if one.settings or apart] == [(), ()]


def test_only_what_differs_is_installed() -> None:
    """What is there beside a release is left alone."""
    assert differences({"a": "1", "b": "2"}, {"a": "1", "b": "3", "c": "4"}) == {"b": "2"}


@pytest.mark.parametrize(("name", "version"), [("--pre", "1"), ("a b", "1"), ("a", "1 --pre"), ("a", "@ file:///x")])
def test_a_list_cannot_say_options(desk: Desk, name: str, version: str) -> None:
    """What is no name and no version never comes to an installer."""
    desk.write("a", "x")
    made = rolling.plan(desk.release(1.0, {name: version}), [], {})
    with pytest.raises(CannotInstall, match="is no version"):
        rolling.refuse_doubtful(made, desk.config, own=True)


def test_another_users_list_is_held_short(desk: Desk, tmp_path: Path) -> None:
    """It brings in nothing that is not there already, and changes nothing away from the config."""
    desk.write("a", "x")
    strange = rolling.plan(desk.release(1.0, {"stranger": "1"}), [], {})
    with pytest.raises(CannotInstall, match="not installed now: stranger"):
        rolling.refuse_doubtful(strange, desk.config, own=False)
    (tmp_path / "elsewhere").mkdir()
    desk.agents = tmp_path / "elsewhere/agents.yaml"
    desk.write("a", "x")
    release = desk.release(2.0)
    desk.write("a", "y")
    with pytest.raises(CannotInstall, match="may only change YAML files in"):
        rolling.refuse_doubtful(rolling.plan(release, [], release.versions), desk.config, own=False)


def test_a_release_says_how_it_differs_and_shows_no_content(desk: Desk) -> None:
    """Versions by name, a config by how much of it."""
    desk.write("a\nsecret: 1\n", "x")
    old = desk.release(1.0, {"a": "1", "b": "1"})
    desk.write("a\nsecret: 2\n", "x")
    new = desk.release(2.0, {"a": "2", "c": "1"})
    assert rolling.changes(new, old) == ["config: 1 lines in, 1 out", "a 1 -> 2", "b 1 -> (none)", "c (none) -> 1"]


@pytest.mark.parametrize("changed", ["config", "agents", None])
def test_only_what_the_host_has_read_is_recorded(
    desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str], changed: str | None
) -> None:
    """What somebody has written since ran nowhere."""
    desk.write("a", "x")
    files = {"config": desk.config, "registry": desk.agents}
    told = {name: [str(path), digest_of(path.read_bytes())] for name, path in files.items()}
    desk.write("b" if changed == "config" else "a", "y" if changed == "agents" else "x")
    code = record([str(tmp_path / "surfaces.supervisor"), json.dumps(told), "well"])
    said = capsys.readouterr().out.strip()
    if changed:
        assert (code, desk.list.all()) == (1, [])
        assert f"{changed.replace('config', 'surfaces')}.yaml" in said
    else:
        assert [one.id for one in desk.list.all()] == [said]
        assert "surfaces-core" in desk.list.all()[0].versions


def test_a_list_of_anothers_making_is_known_by_its_files(desk: Desk, tmp_path: Path) -> None:
    """Whoever wrote one release of it, or may write into its folder, may have written all that it says."""
    desk.write("a", "x")
    desk.release(1.0)
    folder = tmp_path / "surfaces.supervisor/releases"
    assert desk.list.read()[1]
    for doubtful, right in ((folder, 0o700), (folder.parent, 0o700), (next(folder.iterdir()), 0o600)):
        doubtful.chmod(right | stat.S_IWOTH)  # as /tmp is, where anybody may make a folder `releases`
        assert not desk.list.read()[1]
        doubtful.chmod(right)
    elsewhere = folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(elsewhere)
    assert desk.list.all() == [], "a link was followed"


def test_another_users_list_writes_only_where_names_stay(desk: Desk, tmp_path: Path) -> None:
    """In a folder of others a name may lead elsewhere a moment later; and an environment is no config."""
    desk.write("a", "x")
    release = desk.release(1.0)
    desk.write("b", "x")
    made = rolling.plan(release, [], release.versions)
    rolling.refuse_doubtful(made, desk.config, own=False)
    tmp_path.chmod(0o777)
    with pytest.raises(CannotInstall, match=f"others may change {tmp_path}"):
        rolling.refuse_doubtful(made, desk.config, own=False)
    tmp_path.chmod(0o700)
    desk.agents = tmp_path / "environment"
    desk.write("a", "LD_PRELOAD=x")
    release = desk.release(2.0)
    desk.write("a", "y")
    with pytest.raises(CannotInstall, match="may only change YAML files"):
        rolling.refuse_doubtful(rolling.plan(release, [], release.versions), desk.config, own=False)


def test_what_cannot_be_written_down_is_said_in_a_line(
    desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A full disk, say, or a file in the place of the list."""
    desk.write("a", "x")
    (tmp_path / "file").touch()
    told = {"config": [str(desk.config), digest_of(desk.config.read_bytes())]}
    assert record([str(tmp_path / "file"), json.dumps(told), "well"]) == 1
    assert capsys.readouterr().out.strip() == f"{tmp_path}/file: Not a directory"


def test_a_release_of_another_folder_is_not_passed_over(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """No installer tells two checkouts of one version apart: it is named, and no older config comes in its place."""
    present = dict(versions.installed_versions())
    desk.write("old", "x")
    old = desk.release(1.0, present)
    desk.write("a", "x")
    release = desk.release(2.0, present)
    with pytest.raises(LookupError, match=f"ran in {release.prefix}: start that"):
        operators._chosen([release, old], None)
    monkeypatch.setattr(sys, "prefix", release.prefix)
    assert operators._chosen([release, old], None).release == old
    with pytest.raises(LookupError, match="is what is there now, and no other is known"):
        operators._chosen([release], None)


def test_the_next_one_is_named_where_a_release_cannot_be_installed(desk: Desk) -> None:
    """An older config of the same versions would not be installed either."""
    desk.write("a", "x")
    first = desk.release(1.0, {"gone": "1"})
    second = desk.release(2.0, {"gone": "2"})
    desk.write("b", "x")
    third = desk.release(3.0, {"gone": "2"})
    known = [third, second, first]
    made = rolling.plan(third, known, {})
    assert f"`surfaces rollback {first.id}`" in operators._otherwise(known, made)


def test_what_ended_uncleanly_is_in_doubt_for_a_while(tmp_path: Path) -> None:
    """The same versions are, under another supervisor too; others are not."""
    Doubts(tmp_path, 300.0).unclean(frozenset({"a-1"}))
    assert 0.0 < Doubts(tmp_path, 300.0).last_s(frozenset({"a-1"})) <= 300.0
    assert Doubts(tmp_path, 300.0).last_s(frozenset({"a-2"})) == 0.0
    assert Doubts(tmp_path, 1e-9).last_s(frozenset({"a-1"})) == 0.0
