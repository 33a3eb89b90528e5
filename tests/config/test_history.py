"""What is kept of a configuration, how two differ, and what git knows of a file."""

from __future__ import annotations

import hashlib
import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from agentnn.config.history import commits_of, differences, leaves, name_of_source
from agentnn.config.loader import load_config, record_of
from agentnn.config.reading import read_values, value_of_param
from agentnn.config.schema import Config
from agentnn.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def test_the_hash_is_that_of_the_canonical_json():
    record = record_of(load_config({"training": {"epochs": 3}}))
    text = json.dumps(record.values, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert record.hash == hashlib.sha256(text.encode()).hexdigest()


def test_the_same_values_have_the_same_hash_wherever_they_come_from(tmp_path: Path):
    path = tmp_path / "a.yaml"
    path.write_text("model: {hidden_layers: [8, 8]}\ntraining:\n  learning_rate: 1\n  epochs: ${env:N}\n")
    from_file = record_of(load_config(path, environ={"N": "3"}))
    overridden = load_config(
        {"training": {"learning_rate": 1.0}}, ["--model.hidden_layers=[8,8]", "--training.epochs=3"]
    )
    assert from_file.hash == record_of(overridden).hash
    assert from_file.hash != record_of(load_config(path, ["--training.epochs=4"], environ={"N": "3"})).hash


def test_the_hash_does_not_tell_a_secret():
    hashes = {record_of(load_config({"tracking": {"params": {"token": one}}})).hash for one in ("a", "b")}
    assert len(hashes) == 1


def test_a_record_says_where_it_came_from(tmp_path: Path):
    path = tmp_path / "a.yaml"
    path.write_text("training: {seed: 5}\n")
    record = record_of(load_config(path, ["--training.epochs", "3"]))
    assert record.to_dict() == {
        "config": load_config({"training": {"seed": 5, "epochs": 3}}).to_dict(),
        "hash": record.hash,
        "source": str(path),
        "files": [str(path)],
        "overrides": ["--training.epochs 3"],
        "environment": {},
    }
    assert record.tags == {
        "agentnn.config.hash": record.hash,
        "agentnn.config.source": str(path),
        "agentnn.config.overrides": '["--training.epochs 3"]',
    }
    assert json.loads(json.dumps(record.to_dict())) == record.to_dict()


def test_a_configuration_that_was_made_by_hand_has_a_record_too():
    assert record_of(Config()).hash == record_of(load_config({})).hash
    assert record_of(Config()).source == "dict"


def test_differences_by_value():
    left = {"a": {"x": 1, "y": 2, "z": [1, 2]}, "only": 1, "empty": {}, "truth": 1}
    right = {"a": {"x": 1.0, "y": 3, "z": [1, 2.0]}, "new": None, "empty": {}, "truth": True}
    assert [tuple(one) for one in differences(dict(leaves(left)), dict(leaves(right)))] == [
        ("a.y", 2, 3, "changed"),
        ("new", None, None, "added"),
        ("only", 1, None, "removed"),
        ("truth", 1, True, "changed"),
    ]


@pytest.mark.parametrize(
    ("text", "value"),
    [("0.001", 0.001), ("1e-05", 1e-05), ("True", True), ("None", None), ("[64, 32]", [64, 32]), ("relu", "relu"),
     ("[x", "[x"), ("inf", "inf"), (".inf", ".inf"), ("", ""), ('{"a": 1}', {"a": 1})],
)  # fmt: skip
def test_a_param_is_read_back_as_what_it_was(text: str, value: object):
    found = value_of_param(text)
    assert (found, type(found)) == (value, type(value))


def test_what_a_run_kept_need_not_fit_the_schema_of_today():
    assert read_values("old: {key: 1}", "config.yaml of ada") == {"old": {"key": 1}}
    with pytest.raises(ConfigError) as caught:
        read_values("- 1", "config.yaml of ada")
    assert caught.value.problems == ("config.yaml of ada:1: expected a mapping of sections",)


def test_the_commits_of_a_file(tmp_path: Path):
    folder = tmp_path / "configs"
    folder.mkdir()
    git(tmp_path, "init", "-q")
    for name, epochs, subject in (("old.yaml", 1, "First | one"), ("old.yaml", 2, "Second\tone")):
        (folder / name).write_text(
            f"training: {{epochs: {epochs}}}\n# enough text for git to see the same file in it\n"
        )
        git(tmp_path, "add", ".")
        git(tmp_path, "commit", "-q", "-m", subject)
    git(tmp_path, "mv", "configs/old.yaml", "configs/new.yaml")
    git(tmp_path, "commit", "-q", "-m", "Rename")
    (tmp_path / "other").write_text("x")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "Something else")
    found = commits_of(folder / "new.yaml")
    assert [one.name for one in found] == ["Rename", "Second\tone", "First | one"]
    assert {(one.kind, one.author, len(one.id)) for one in found} == {("commit", "Ada", 40)}
    assert all(one.time is not None and one.time > 1_600_000_000_000 for one in found)
    assert name_of_source(folder / "new.yaml") == "configs/new.yaml"


def test_a_file_outside_of_a_repository_and_a_missing_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "a.yaml"
    path.write_text("training: {epochs: 1}")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    assert commits_of(path) == []
    assert name_of_source(path) == str(path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commits_of(path) == []


def test_a_name_that_looks_like_an_option_of_git_is_a_name(tmp_path: Path):
    git(tmp_path, "init", "-q")
    (tmp_path / "--output=stolen").write_text("training: {epochs: 1}")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "Odd")
    assert [one.name for one in commits_of(tmp_path / "--output=stolen")] == ["Odd"]
    assert not (tmp_path / "stolen").exists()
