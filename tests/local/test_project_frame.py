"""All runs as a DataFrame: the same as pandas makes from a list of records, read anew or from the index."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import time
import tomllib
import warnings
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import tomli_w
from folders_of_runs import write_run
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from agentnn.errors import AgentNNWarning, StoreUnavailable
from agentnn.sdk.project_frame import load_frame
from agentnn.stores.toml.index import scanning

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    return folder


def naive_frame(base: Path) -> pd.DataFrame:
    """The definition: every file read by tomllib, a record a run, and pandas finds the types."""
    found = []
    for config in base.glob("[!.]*/[!.]*/config.toml"):
        document = tomllib.loads(config.read_text(encoding="utf-8"))
        metrics = config.with_name("metrics.toml")
        own = {key: value for key, value in document.items() if key not in ("_meta", "_wandb")}
        about = {key: value for key, value in document.items() if key in ("_meta", "_wandb")}
        parts = [own, tomllib.loads(metrics.read_text(encoding="utf-8")) if metrics.exists() else {}, about]
        written = datetime.fromtimestamp(config.stat().st_mtime, UTC)
        created = document.get("_meta", {}).get("created_at", written)
        found.append((created, config.parts[-3], config.parts[-2], [joined(part) for part in parts]))
    found.sort(key=lambda one: one[:3])
    records = [
        {"run_id": run, "project_name": project, **parts[0], **parts[1], **parts[2]} for _, project, run, parts in found
    ]
    columns = ["run_id", "project_name"]
    for at in range(3):
        columns += [key for *_, parts in found for key in parts[at]]
    return pd.DataFrame(records, columns=list(dict.fromkeys(columns)))


def joined(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for key, value in table.items():
        leaves |= joined(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return leaves


def check(base: Path) -> pd.DataFrame:
    """Load twice, read anew and from the index; both must be what the definition says."""
    expected = naive_frame(base)
    for _ in range(2):
        frame, unreadable = load_frame(base)
        assert unreadable == ()
        assert_frame_equal(comparable(frame), comparable(expected), check_exact=True)
    return frame


def comparable(frame: pd.DataFrame) -> pd.DataFrame:
    """The same, with lists as text: a NaN in one is not equal to another."""
    lists = {
        name: column.map(lambda value: f"list {value!r}" if isinstance(value, list) else value).astype(object)
        for name, column in frame.items()
        if column.dtype == object
    }
    return frame.assign(**lists)


def test_the_seeds_two_runs(base: Path) -> None:
    write_run(
        base, "demo/zz", 'learning_rate = 0.001\nbatch_size = 32\n[model]\nname = "CNN"\nlayers = 5\n'
        "[_meta]\ncreated_at = 2025-01-01T00:00:00Z\n", "accuracy = 0.92\nepoch = 10\n",
    )  # fmt: skip
    write_run(
        base, "demo/aa", 'learning_rate = 5e-5\nbatch_size = 16\n[model]\nname = "BERT"\nlayers = 12\n'
        "[_meta]\ncreated_at = 2025-01-01T00:00:01Z\n", "accuracy = 0.96\nepoch = 5\n",
    )  # fmt: skip
    frame = check(base)
    assert list(frame.columns) == [
        "run_id", "project_name", "learning_rate", "batch_size", "model.name", "model.layers", "accuracy", "epoch",
        "_meta.created_at",
    ]  # fmt: skip
    assert list(frame["run_id"]) == ["zz", "aa"]  # the first that was created comes first
    assert frame["batch_size"].dtype == "int64"
    assert frame.loc[1, "model.name"] == "BERT"


def test_types_are_those_that_pandas_finds(base: Path) -> None:
    write_run(
        base, "p/a",
        'int = 1\nfloat = 0.5\nbool = true\ntext = "ä"\nlist = [1, 2]\nwhen = 2025-01-01T00:00:00Z\nday = 2025-01-01\n'
        "local = 2025-01-01T10:00:00\nhour = 10:00:00\noffset = 2025-01-01T00:00:00+02:00\nmixed = 1\nnumber = 1\n"
        'some_int = 9007199254740993\nsome_bool = true\nsome_text = "x"\nsome_time = 2025-01-01T00:00:00.123456Z\n'
        "huge = 18446744073709551617\nunsigned = 9223372036854775808\nodd = nan\n"
        "tables = [{ a = 1, b = [{ c = 1.5 }] }]\n"
        "[empty]\n[nested.deep.er]\nx = 1\n",
    )  # fmt: skip
    write_run(
        base, "p/b",
        'int = 2\nfloat = inf\nbool = false\ntext = ""\nlist = []\nwhen = 2025-01-02T00:00:00Z\nday = 2025-01-02\n'
        "local = 2025-01-01T10:00:00.5\nhour = 11:00:00\noffset = 2025-01-01T00:00:00+02:00\nnumber = 1.5\n"
        "mixed = 'one'\nhuge = 1\nunsigned = 1\nodd = -inf\ntables = []\n",
    )  # fmt: skip
    write_run(base, "p/c", "text = '''a\nb\"''' # comment\nlr = 1e-5\n", metrics=None)
    frame = check(base)
    kinds = {name: str(dtype) for name, dtype in frame.dtypes.items()}
    assert (kinds["int"], kinds["some_int"], kinds["bool"]) == ("float64", "float64", "object")
    assert "empty" not in frame


def test_complete_columns_keep_whole_numbers_and_truth_values(base: Path) -> None:
    write_run(base, "p/a", "n = 9007199254740993\nyes = true\n", metrics="epoch = 3\n")
    write_run(base, "p/b", "n = -1\nyes = false\n", metrics="epoch = 4\n")
    frame = check(base)
    assert [str(frame[name].dtype) for name in ("n", "yes", "epoch")] == ["int64", "bool", "int64"]
    assert frame["n"].iloc[0] == 9007199254740993
    frame.loc[0, "n"] = 5  # what comes back is the caller's own
    assert check(base)["n"].iloc[0] == 9007199254740993


def test_keys_that_clash_are_kept_apart(base: Path) -> None:
    write_run(base, "p/a", "epochs = 10\nseed = 1\n", "loss = 0.5\n")
    write_run(base, "p/b", "seed = 2\n", "epochs = 7\nloss = 0.25\n")
    with pytest.warns(AgentNNWarning, match="'epochs'"):
        frame, _ = load_frame(base)
    assert list(frame.columns) == ["run_id", "project_name", "config.epochs", "seed", "loss", "metrics.epochs"]
    by_run = frame.set_index("run_id")
    assert by_run.loc["a", "config.epochs"] == 10
    assert by_run.loc["b", "metrics.epochs"] == 7
    assert np.isnan(by_run.loc["b", "config.epochs"])
    shutil.rmtree(base / "p" / "b")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frame, _ = load_frame(base)
    assert "epochs" in frame


@pytest.mark.parametrize(
    ("config", "metrics", "columns"),
    [
        ('run_id = "mine"\nproject_name = 1\n', "", ["config.run_id", "config.project_name"]),
        ("", "run_id = 1\n", ["metrics.run_id"]),
        ("x = 1\nconfig = { x = 2 }\n", "x = 3\n", ["config.x", "config.config.x", "metrics.x"]),
        ('"_meta.name" = "x"\n_meta.name = "y"\n', "", ["config._meta.name", "_meta.name"]),
        ("a = 1\n", "a = 1\nmetrics = { a = 2 }\n", ["config.a", "metrics.a", "metrics.metrics.a"]),
    ],
)
def test_no_two_columns_have_one_name(base: Path, config: str, metrics: str, columns: list[str]) -> None:
    write_run(base, "p/r", config, metrics)
    with pytest.warns(AgentNNWarning):
        frame, _ = load_frame(base)
    assert list(frame.columns) == ["run_id", "project_name", *columns]
    assert list(frame["run_id"]) == ["r"]


def test_two_leaves_of_one_name_make_a_file_unreadable(base: Path) -> None:
    write_run(base, "p/r", '"a.b" = 1\na = { b = 2 }\n')
    frame, [unreadable] = load_frame(base)
    assert unreadable.path == base / "p" / "r" / "config.toml"
    assert "'a.b'" in unreadable.problem
    assert frame.empty


def test_an_empty_folder_and_a_missing_one(base: Path, tmp_path: Path) -> None:
    frame, unreadable = load_frame(base)
    assert (list(frame.columns), len(frame), unreadable) == (["run_id", "project_name"], 0, ())
    assert list(base.iterdir()) == []
    with pytest.raises(StoreUnavailable):
        load_frame(tmp_path / "missing")
    (base / "p" / "r").mkdir(parents=True)
    assert load_frame(base)[0].empty
    write_run(base, "p/r", config="", metrics=None)
    assert load_frame(str(base))[0].to_dict("records") == [{"run_id": "r", "project_name": "p"}]
    shutil.rmtree(base / "p")
    assert load_frame(base)[0].empty


def test_ids_that_two_projects_share_are_rows_of_their_own(base: Path) -> None:
    for project in ("p", "q"):
        write_run(base, f"{project}/same", f'of = "{project}"\n')
    frame = check(base)
    assert frame[["run_id", "project_name", "of"]].to_numpy().tolist() == [["same", "p", "p"], ["same", "q", "q"]]


def test_four_thousand_keys(base: Path) -> None:
    for run in range(8):
        write_run(base, f"p/r{run}", "".join(f"key_{run}_{n} = {n}.5\n" for n in range(500)))
    assert check(base).shape == (8, 4003)


def test_none_is_given_back(base: Path) -> None:
    from agentnn.stores.toml.text.documents import render

    write_run(base, "p/a", render({"limit": None, "other": 1}).decode())
    write_run(base, "p/b", render({"limit": 0.5, "other": "x"}).decode())
    frame, _ = load_frame(base)
    assert frame["limit"].isna().tolist() == [True, False]


def test_rows_that_change_are_patched_in(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanning, "UNSETTLED_NS", 40_000_000)
    for number in range(40):
        created = f"[_meta]\ncreated_at = 2025-01-01T00:00:{number:02}Z\n"
        write_run(base, f"p{number % 3}/r{number}", f'n = {number}\nname = "{number}"\n{created}', f"m = {number}.5\n")
    check(base)
    time.sleep(0.06)
    check(base)
    write_run(base, "p0/r3", 'n = "text"\nnew = true\n[_meta]\ncreated_at = 2025-01-01T00:00:59Z\n', "m = 1\nk = [1]\n")
    write_run(base, "p9/first", "n = 1.5\n[_meta]\ncreated_at = 2024-01-01T00:00:00Z\n", metrics=None)
    shutil.rmtree(base / "p1" / "r4")
    frame = check(base)
    assert (frame["run_id"].iloc[0], frame["run_id"].iloc[-1], len(frame)) == ("first", "r3", 40)
    time.sleep(0.06)
    write_run(base, "p0/r3", "n = 3\n[_meta]\ncreated_at = 2025-01-01T00:00:03Z\n", "m = 3.5\n")
    shutil.rmtree(base / "p9")
    frame = check(base)
    assert frame["n"].dtype == "int64"
    assert not {"new", "k"} & set(frame)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE frame_columns SET content = substr(content, 2)",
        "UPDATE frame_columns SET content = zeroblob(length(content)) WHERE kind IN ('json', 'text')",
        "UPDATE frame_columns SET present = x'01'",
        "UPDATE frame_rows SET content = x'00' WHERE part = 'shapes'",
        "DELETE FROM frame_columns WHERE key = 'lr'",
        "DELETE FROM frame_rows WHERE part = 'run_id'",
    ],
)
def test_a_damaged_table_is_made_again(base: Path, damage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanning, "UNSETTLED_NS", 40_000_000)
    for run in "abc":
        write_run(base, f"p/{run}", f'lr = 0.1\nname = "{run}"\nodd = [1]\n')
    time.sleep(0.06)
    check(base)
    with closing(sqlite3.connect(base / ".agentnn-index.sqlite")) as database:
        assert database.execute(damage).rowcount > 0
        database.commit()
    check(base)


KEYS = st.sampled_from(["lr", "n", "model", "a.b", "ü", "x y", "_", ""])
SCALARS = st.one_of(
    st.integers(-(2**63), 2**63 - 1), st.integers(2**63, 2**65), st.floats(), st.booleans(),
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=5),
    st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)),  # noqa: DTZ001
    st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    st.dates(), st.times(),
)  # fmt: skip
LISTS = st.lists(st.one_of(SCALARS, st.lists(st.integers(0, 5), max_size=2)), max_size=3)
DOCUMENTS = st.dictionaries(
    KEYS, st.one_of(SCALARS, LISTS, st.dictionaries(st.sampled_from("abc"), SCALARS, max_size=3)), max_size=5
)


@given(st.lists(st.tuples(DOCUMENTS, DOCUMENTS), min_size=1, max_size=4), st.data())
@settings(max_examples=60, deadline=None)
def test_whatever_the_documents_hold_it_is_what_pandas_makes_of_them(
    tmp_path_factory: pytest.TempPathFactory, runs: list[tuple[dict[str, Any], dict[str, Any]]], data: st.DataObject
) -> None:
    base = tmp_path_factory.mktemp("runs")
    for number, (config, metrics) in enumerate(runs):
        renamed = {f"m_{key}": value for key, value in metrics.items()}
        if "a.b" in config and isinstance(config.get("a"), dict):
            del config["a.b"]
        head = {"_meta": {"created_at": datetime(2025, 1, 1, 0, 0, number, tzinfo=UTC)}}
        write_run(base, f"p/r{number}", tomli_w.dumps({**config, **head}), tomli_w.dumps(renamed))
    check(base)
    shutil.rmtree(base / "p" / f"r{data.draw(st.integers(0, len(runs) - 1))}")
    if any(base.glob("*/*")):
        check(base)


def test_a_second_load_in_a_new_process_needs_no_toml(base: Path) -> None:
    write_run(base, "p/r")
    write_run(base, "p/s", 'name = "x"\nl = [1]\n')
    code = (
        "import sys; from agentnn.sdk.project_frame import load_frame; frame, _ = load_frame(sys.argv[1]); "
        "print(sorted({'tomllib', 'rtoml', 'tomlkit', 'mlflow', 'sqlalchemy'} & set(sys.modules)), len(frame))"
    )
    time.sleep(2.1)
    for expected in ("['rtoml'] 2", "[] 2"):
        done = subprocess.run([sys.executable, "-c", code, str(base)], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == expected
