"""What a project declares of its metrics, and what follows from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agentnn.conventions import MetricConvention, load_conventions, sounds_like_less_is_better
from agentnn.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

PYPROJECT = """
[project]
name = "trading"

[tool.agentnn.metrics]
sharpe_ratio = "max"
"*_loss" = "min"
best_loss = "max"
max_drawdown = { direction = "max", unit = "fraction", digits = 4, convention = "0 or negative" }
turnover = { unit = "per year" }
"""


def test_a_project_says_what_its_metrics_mean(tmp_path: Path):
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    found = load_conventions(tmp_path)
    assert found.source == tmp_path / "pyproject.toml"
    assert found.of("max_drawdown") == MetricConvention("max", "fraction", 4, "0 or negative")
    assert found.direction("sharpe_ratio") == "max"
    assert found.direction("turnover") is None
    assert found.direction("unheard_of") is None


def test_a_name_goes_before_a_pattern(tmp_path: Path):
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    found = load_conventions(tmp_path)
    assert (found.direction("val_loss"), found.direction("best_loss")) == ("min", "max")
    assert found.direction("VAL_LOSS") is None


def test_the_nearest_table_counts_and_a_file_without_one_does_not(tmp_path: Path):
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (tmp_path / "agentnn.toml").write_text('[metrics]\nm = "min"\n')
    (tmp_path / "a" / "pyproject.toml").write_text('[tool.other.metrics]\nm = "max"\n')
    assert load_conventions(inner).direction("m") == "min"
    (tmp_path / "a" / "pyproject.toml").write_text('[tool.agentnn.metrics]\nm = "max"\n')
    assert load_conventions(inner).direction("m") == "max"
    (tmp_path / "a" / "agentnn.toml").write_text('[metrics]\nm = "min"\n')
    assert load_conventions(inner).direction("m") == "min"


@pytest.mark.parametrize("name", ["pyproject.toml", "agentnn.toml"])
def test_a_file_of_another_encoding_is_no_reason_to_forget_what_it_declares(tmp_path: Path, name: str):
    declared = '# für uns\n[tool.agentnn.metrics]\nm = "min"\n[metrics]\nm = "min"\n'
    (tmp_path / name).write_bytes(declared.encode("latin-1"))
    with pytest.raises(ConfigError, match=f"{name} is not TOML: 'utf-8' codec can't decode"):
        load_conventions(tmp_path)
    (tmp_path / name).write_bytes(b"# f\xfcr andere\n")
    assert load_conventions(tmp_path).source is None


def test_without_any_file_nothing_is_declared(tmp_path: Path):
    found = load_conventions(tmp_path)
    assert (found.source, found.direction("loss")) == (None, None)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('m = "up"', "tool.agentnn.metrics.m.direction is 'up'"),
        ("m = 3", "tool.agentnn.metrics.m is 3"),
        ('m = { direktion = "max" }', "tool.agentnn.metrics.m.direktion: unknown key"),
        ("m = { digits = -1 }", "tool.agentnn.metrics.m.digits is -1"),
        ("m = { digits = true }", "tool.agentnn.metrics.m.digits is True"),
        ("m = { unit = 5 }", "tool.agentnn.metrics.m.unit is 5"),
    ],
)
def test_a_wrong_entry_is_named_with_its_file(table: str, said: str, tmp_path: Path):
    (tmp_path / "pyproject.toml").write_text(f"[tool.agentnn.metrics]\n{table}\n")
    with pytest.raises(ConfigError) as raised:
        load_conventions(tmp_path)
    assert str(raised.value).startswith(f"{tmp_path / 'pyproject.toml'}: {said}")
    assert raised.value.hint
    assert raised.value.exit_code == 2


def test_a_file_that_is_no_toml_is_refused_only_where_it_is_about_us(tmp_path: Path):
    (tmp_path / "pyproject.toml").write_text("[tool.other\nmetrics")
    assert load_conventions(tmp_path).source is None
    (tmp_path / "pyproject.toml").write_text("[tool.agentnn.metrics\n")
    with pytest.raises(ConfigError, match="is not TOML"):
        load_conventions(tmp_path)


@pytest.mark.parametrize(
    "name", ["loss", "val_loss", "train/Loss", "error", "mean_squared_error", "max_drawdown", "RMSE", "mae"]
)
def test_names_that_say_that_less_is_better(name: str):
    assert sounds_like_less_is_better(name)


@pytest.mark.parametrize("name", ["sharpe_ratio", "accuracy", "terrorism_index", "errorless", "total_return", "f1"])
def test_names_that_do_not(name: str):
    assert not sounds_like_less_is_better(name)
