"""Which store is meant, and that nobody learns its password."""

from __future__ import annotations

import os
import string
from pathlib import Path

import pytest
from cli.support import Rows, agentnn
from hypothesis import assume, example, given
from hypothesis import strategies as st

from agentnn import ModelManager
from agentnn.cli.app import run_command
from agentnn.errors import AgentNNWarning, UsageError
from agentnn.settings import Settings, redact, toml_folder
from agentnn.tracking.sending.sender_control import with_absolute_uris

URI = "MLFLOW_TRACKING_URI"
IN_USERINFO = string.ascii_letters + string.digits + "-._~%!$&'()*+,;=:"
"""What RFC 3986 allows in the user information of a URI."""


def load(directory: Path, environ: dict[str, str] | None = None, **more: str | Path) -> Settings:
    return Settings.load(directory=directory, environ=environ or {}, **more)


def test_the_option_goes_before_the_environment(tmp_path: Path):
    settings = load(tmp_path, {URI: "http://environment"}, tracking_uri="http://option")
    assert (settings.tracking_uri, settings.tracking_uri_source) == ("http://option", "option")


def test_the_environment_goes_before_the_env_file(tmp_path: Path):
    (tmp_path / ".env").write_text(f"{URI}=http://file\n")
    settings = load(tmp_path, {URI: "http://environment"})
    assert (settings.tracking_uri, settings.tracking_uri_source) == ("http://environment", URI)


def test_an_empty_variable_counts_as_not_set(tmp_path: Path):
    (tmp_path / ".env").write_text(f"{URI}=http://file\n")
    assert load(tmp_path, {URI: ""}).tracking_uri == "http://file"


def test_the_env_file_goes_before_the_default_and_is_named_as_the_source(tmp_path: Path):
    (tmp_path / ".env").write_text(f"# the team's server\nexport {URI}='http://file'\n")
    settings = load(tmp_path)
    assert (settings.tracking_uri, settings.tracking_uri_source) == ("http://file", str(tmp_path / ".env"))


def test_the_env_file_is_found_in_a_folder_above_and_the_nearest_wins(tmp_path: Path):
    inner = tmp_path / "project" / "notebooks"
    inner.mkdir(parents=True)
    (tmp_path / ".env").write_text(f"{URI}=http://far\n")
    assert load(inner).tracking_uri == "http://far"
    (tmp_path / "project" / ".env").write_text(f"{URI}=http://near\n")
    assert load(inner).tracking_uri == "http://near"


def test_a_named_env_file_is_read_instead_of_the_nearest(tmp_path: Path):
    (tmp_path / ".env").write_text(f"{URI}=http://nearest\nMLFLOW_WORKSPACE=nearest\n")
    named = tmp_path / "ci.env"
    named.write_text(f"{URI}=http://named\n")
    settings = load(tmp_path, env_file=named)
    assert (settings.tracking_uri, settings.workspace) == ("http://named", "default")


def test_a_named_env_file_that_is_not_there_is_an_error(tmp_path: Path):
    with pytest.raises(UsageError, match="there is no file"):
        load(tmp_path, env_file=tmp_path / "missing.env")


def test_an_env_file_that_is_no_text_is_an_error(tmp_path: Path):
    (tmp_path / ".env").write_bytes(b"\xff\xfe\x00binary")
    with pytest.raises(UsageError, match="can't be read"):
        load(tmp_path, env_file=tmp_path / ".env")
    with pytest.warns(AgentNNWarning, match="can't be read and is left out"):
        load(tmp_path)


def test_the_default_is_the_database_in_the_working_directory(tmp_path: Path):
    settings = load(tmp_path)
    assert (settings.tracking_uri, settings.tracking_uri_source) == ("sqlite:///mlflow.db", "default")


def _folder_of_runs(directory: Path) -> None:
    experiment = directory / "mlruns" / "0"
    experiment.mkdir(parents=True)
    (experiment / "meta.yaml").write_text("experiment_id: '0'\nname: Default\n")


def test_the_default_is_the_folder_of_runs_when_only_that_holds_data(tmp_path: Path):
    _folder_of_runs(tmp_path)
    assert load(tmp_path).tracking_uri == "./mlruns"


def test_the_default_is_the_database_when_both_are_there(tmp_path: Path):
    _folder_of_runs(tmp_path)
    (tmp_path / "mlflow.db").touch()
    assert load(tmp_path).tracking_uri == "sqlite:///mlflow.db"


def test_a_folder_that_only_holds_the_artifacts_of_a_database_is_no_store(tmp_path: Path):
    (tmp_path / "mlruns" / "0" / "3f2a" / "artifacts").mkdir(parents=True)
    assert load(tmp_path).tracking_uri == "sqlite:///mlflow.db"


def test_the_env_file_is_not_written_to_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / ".env").write_text(f"{URI}=http://file\nMLFLOW_TRACKING_TOKEN=hunter2\nOTHER=1\n")
    monkeypatch.chdir(tmp_path)
    before = dict(os.environ)
    assert ModelManager().settings.tracking_uri == "http://file"
    assert dict(os.environ) == before


def test_the_registry_is_the_store_of_runs_unless_said_otherwise(tmp_path: Path):
    assert load(tmp_path, {URI: "http://runs"}).registry_uri == "http://runs"
    elsewhere = {URI: "http://runs", "MLFLOW_REGISTRY_URI": "http://models"}
    assert load(tmp_path, elsewhere).registry_uri == "http://models"
    assert load(tmp_path, elsewhere, registry_uri="http://option").registry_uri == "http://option"


def test_the_registry_uri_in_the_environment_is_where_models_are_looked_for(
    tmp_path: Path, template_database: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    for name in ("runs.db", "models.db"):
        (tmp_path / name).write_bytes(template_database.read_bytes())
        with Rows(tmp_path / name) as rows:
            rows.model(f"in-{name}")
    monkeypatch.setenv(URI, f"sqlite:///{tmp_path}/runs.db")
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", f"sqlite:///{tmp_path}/models.db")
    assert run_command(["model", "list", "-o", "id"]) == 0
    assert capsys.readouterr().out == "in-models.db\n"


def test_the_workspace_comes_from_the_environment(tmp_path: Path):
    assert load(tmp_path).workspace == "default"
    assert load(tmp_path, {"MLFLOW_WORKSPACE": "research"}).workspace == "research"


def test_only_the_experiments_and_models_of_the_workspace_are_shown(
    database: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    with Rows(database) as rows:
        rows.experiment(1, "ours", workspace="research")
        rows.run("a" * 32, "our run", experiment_id=1)
        rows.run("b" * 32, "their run", experiment_id=0)
        rows.model("our-net", workspace="research")
        rows.model("their-net")
    monkeypatch.setenv("MLFLOW_WORKSPACE", "research")
    shown = {}
    for group in ("experiment", "run", "model"):
        assert run_command(["--tracking-uri", f"sqlite:///{database}", group, "list", "-o", "csv"]) == 0
        shown[group] = capsys.readouterr().out
    assert "ours" in shown["experiment"]
    assert "Default" not in shown["experiment"]
    assert "our run" in shown["run"]
    assert "their run" not in shown["run"]
    assert "our-net" in shown["model"]
    assert "their-net" not in shown["model"]


@pytest.fixture
def two_experiments(database: Path, monkeypatch: pytest.MonkeyPatch) -> ModelManager:
    with Rows(database) as rows:
        for number, name in ((1, "alpha"), (2, "beta")):
            rows.experiment(number, name)
            rows.run(f"{number}" * 32, f"of {name}", experiment_id=number, metrics={"m": number})
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_ID", raising=False)
    return ModelManager(f"sqlite:///{database}")


def _names(manager: ModelManager) -> list[str]:
    again = ModelManager(manager.settings.tracking_uri)  # reads the environment as it is now
    return [run.name for run in again.list_runs()]


def test_the_experiment_of_the_environment_is_where_runs_are_looked_for(
    two_experiments: ModelManager, monkeypatch: pytest.MonkeyPatch
):
    assert sorted(_names(two_experiments)) == ["of alpha", "of beta"]
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "alpha")
    assert _names(two_experiments) == ["of alpha"]
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "2")
    assert _names(two_experiments) == ["of beta"]


def test_an_experiment_that_is_named_goes_before_that_of_the_environment(
    two_experiments: ModelManager, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "alpha")
    manager = ModelManager(two_experiments.settings.tracking_uri)
    assert [run.name for run in manager.list_runs("beta")] == ["of beta"]


def test_a_name_and_an_id_of_the_same_experiment_agree(two_experiments: ModelManager, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "beta")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "2")
    assert _names(two_experiments) == ["of beta"]


def test_a_name_and_an_id_of_two_experiments_are_an_error(
    two_experiments: ModelManager, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "alpha")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "2")
    with pytest.raises(UsageError, match="name two experiments"):
        _names(two_experiments)


def test_the_experiment_of_the_environment_is_where_a_run_is_recorded(
    two_experiments: ModelManager, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "alpha")
    manager = ModelManager(two_experiments.settings.tracking_uri)
    assert manager.get_run(manager.track_run("new")).experiment == "alpha"


def test_debug_names_the_store_and_who_said_so(database: Path):
    (database.parent / ".env").write_text(f"{URI}=sqlite:///{database}\n")
    ran = agentnn("--debug", "run", "list", cwd=database.parent)
    assert ran.stderr == f"debug: store sqlite:///{database} (from {database.parent / '.env'})\n"
    assert ran.returncode == 0


def test_credentials_are_not_in_the_representation_of_the_settings(tmp_path: Path):
    secrets = {"MLFLOW_TRACKING_PASSWORD": "hunter2", "MLFLOW_TRACKING_TOKEN": "tok-3", "MLFLOW_TRACKING_USERNAME": "u"}
    settings = load(tmp_path, {**secrets, URI: "postgresql://user:swordfish@db/runs"})
    assert settings.credentials == secrets
    assert "hunter2" not in repr(settings)
    assert "tok-3" not in repr(settings)
    assert "swordfish" not in repr(settings)


def test_credentials_come_from_the_env_file_too(tmp_path: Path):
    (tmp_path / ".env").write_text("MLFLOW_TRACKING_TOKEN=from-file\nMLFLOW_TRACKING_PASSWORD=from-file\n")
    settings = load(tmp_path, {"MLFLOW_TRACKING_TOKEN": "from-environment"})
    assert settings.credentials == {
        "MLFLOW_TRACKING_TOKEN": "from-environment",
        "MLFLOW_TRACKING_PASSWORD": "from-file",
    }


@given(
    scheme=st.sampled_from(["postgresql", "postgresql+psycopg", "mysql", "http", "https", "mssql+pyodbc"]),
    user=st.text(string.ascii_lowercase, max_size=8),
    password=st.text(IN_USERINFO, min_size=4, max_size=24),
)
@example(scheme="http", user="user", password="it'sme")
@example(scheme="http", user="user", password="star*")
@example(scheme="http", user="user", password="p%40ss%2Fword")
def test_a_password_in_a_uri_never_survives(scheme: str, user: str, password: str):
    frame = f"can't reach {scheme}://{user}:@db.example.org:5432/runs?sslmode=require (refused)"
    assume(password not in frame + "***")
    cleaned = redact(frame.replace(f"{user}:@", f"{user}:{password}@"))
    assert password not in cleaned
    assert cleaned.startswith(f"can't reach {scheme}://")
    assert cleaned.endswith("@db.example.org:5432/runs?sslmode=require (refused)")


@pytest.mark.parametrize("password", ["sw/rdfish", 'sw"rdfish', "sw@rdfish", "sw'rdfish", "swordfish*", "sw#rd?fish"])
def test_a_password_that_should_have_been_quoted_does_not_survive_either(password: str):
    cleaned = redact(f"postgresql://user:{password}@db.example.org/runs")
    assert "rdfish" not in cleaned
    assert cleaned.endswith("@db.example.org/runs")


@pytest.mark.parametrize("name", ["password", "sslpassword", "passwd", "token"])
def test_a_password_among_the_options_of_a_uri_does_not_survive(name: str):
    cleaned = redact(f"postgresql://db.example.org/runs?user=ada&{name}=swordfish&sslmode=require")
    assert "swordfish" not in cleaned
    assert "sslmode=require" in cleaned


@given(st.text(string.printable, max_size=40), st.dictionaries(st.text(max_size=3), st.text(min_size=5, max_size=9)))
def test_a_given_secret_never_survives(text: str, secrets: dict[str, str]):
    assume(not any("*" in secret for secret in secrets.values()))
    cleaned = redact(text.join(secrets.values()), secrets.values())
    assert not any(secret in cleaned for secret in secrets.values())


@pytest.mark.parametrize(
    "text", ["sqlite:///mlflow.db", "sqlite:////home/ada@work/mlflow.db", "mail ada@example.org", "@last"]
)
def test_a_text_without_a_password_stays_as_it_is(text: str):
    assert redact(text) == text


def test_redacting_twice_is_redacting_once():
    once = redact("http://user:swordfish@host/x")
    assert redact(once) == once == "http://***@host/x"


# -- folders of TOML runs


def _toml_runs(folder: Path) -> Path:
    run = folder / "alpha" / "r1"
    run.mkdir(parents=True)
    (run / "config.toml").write_text("lr = 0.1\n")
    return folder


@pytest.mark.parametrize(
    ("uri", "folder"),
    [
        ("toml:checkpoints", "checkpoints"),
        ("toml:./checkpoints", "checkpoints"),
        ("toml:../checkpoints", "../checkpoints"),
        ("toml:/data/checkpoints", "/data/checkpoints"),
        ("toml:///data/check points%20", "/data/check points%20"),
        ("TOML:checkpoints", "checkpoints"),
        ("toml:a:b", "a:b"),
        ("toml:a~", "a~"),
    ],
)
def test_what_stands_behind_toml_is_a_path(tmp_path: Path, uri: str, folder: str):
    assert toml_folder(uri) == Path(folder)
    assert load(tmp_path, tracking_uri=uri).tracking_uri == f"toml:{folder}"
    assert load(tmp_path, {URI: uri}).registry_uri == f"toml:{folder}"


def test_a_tilde_is_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert toml_folder("toml:~/checkpoints") == tmp_path / "checkpoints"
    (tmp_path / ".env").write_text(f"{URI}=toml:~/runs\n")
    assert load(tmp_path).tracking_uri == f"toml:{tmp_path}/runs"


@pytest.mark.parametrize(
    "uri", ["sqlite:///mlflow.db", "./checkpoints", "http://toml", "tomlfile:x", "toml", "", "x:toml:y"]
)
def test_every_other_uri_names_no_folder_of_toml_runs(uri: str):
    assert toml_folder(uri) is None


@pytest.mark.parametrize("uri", ["toml:", "toml://", "toml://host", "toml://user:swordfish@host/x", "toml:a\0b"])
def test_a_toml_uri_that_names_no_folder_is_wrong_use(tmp_path: Path, uri: str):
    with pytest.raises(UsageError) as error:
        load(tmp_path, tracking_uri=uri)
    assert error.value.hint
    assert "swordfish" not in str(error.value)


@pytest.mark.parametrize("path", ["checkpoints", "./checkpoints", "{}/checkpoints"])
def test_a_bare_path_that_holds_toml_runs_is_a_store_of_them(tmp_path: Path, path: str):
    _toml_runs(tmp_path / "checkpoints")
    path = path.format(tmp_path)
    wanted = f"toml:{Path(path)}"
    assert load(tmp_path, tracking_uri=path).tracking_uri == wanted
    assert load(tmp_path, tracking_uri=Path(path)).tracking_uri == wanted
    assert load(tmp_path, {URI: path}).tracking_uri == wanted
    assert load(tmp_path, {URI: path}).tracking_uri_source == URI
    assert load(tmp_path, {URI: "sqlite:///x.db", "MLFLOW_REGISTRY_URI": path}).registry_uri == wanted


def test_a_project_without_runs_makes_a_folder_a_store_too(tmp_path: Path):
    (tmp_path / "checkpoints" / "alpha").mkdir(parents=True)
    assert load(tmp_path, tracking_uri="checkpoints").tracking_uri == "checkpoints"
    (tmp_path / "checkpoints" / "alpha" / "project.toml").touch()
    assert load(tmp_path, tracking_uri="checkpoints").tracking_uri == "toml:checkpoints"


def test_what_is_no_folder_of_toml_runs_stays_as_it_is(tmp_path: Path):
    (tmp_path / "a file").touch()
    (tmp_path / "flat").mkdir()
    (tmp_path / "flat" / "config.toml").touch()
    _toml_runs(tmp_path / "hidden" / ".cache")
    _toml_runs(tmp_path / "deep" / "one more")
    for path in ("a file", "flat", "hidden", "deep", "nowhere", "databricks", "a\0b"):
        assert load(tmp_path, tracking_uri=path).tracking_uri == path


def test_a_folder_of_mlflows_runs_stays_one(tmp_path: Path):
    _folder_of_runs(tmp_path)
    _toml_runs(tmp_path / "mlruns")
    assert load(tmp_path, tracking_uri="mlruns").tracking_uri == "mlruns"
    assert load(tmp_path).tracking_uri == "./mlruns"


def test_toml_runs_are_never_the_default(tmp_path: Path):
    _toml_runs(tmp_path / "mlruns")
    _toml_runs(tmp_path / "checkpoints")
    assert load(tmp_path).tracking_uri == "sqlite:///mlflow.db"


@pytest.mark.parametrize("written", ["checkpoints", "./checkpoints", "toml:checkpoints", "toml:./checkpoints"])
def test_in_an_env_file_a_folder_of_toml_runs_starts_at_the_file(tmp_path: Path, written: str):
    _toml_runs(tmp_path / "checkpoints")
    (tmp_path / ".env").write_text(f"{URI}={written}\n")
    inner = tmp_path / "notebooks"
    inner.mkdir()
    assert load(inner).tracking_uri == f"toml:{tmp_path}/checkpoints"


@pytest.mark.parametrize("path", ["/home/ada@work/runs", "/home/a:b@work/runs", "runs@home"])
def test_a_path_of_toml_runs_may_hold_an_at(tmp_path: Path, path: str):
    settings = load(tmp_path, tracking_uri=f"toml:{path}")
    assert redact(settings.tracking_uri) == f"toml:{path}"
    assert settings.secrets == {}


def test_another_process_finds_the_same_toml_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    absolute = with_absolute_uris(load(tmp_path, tracking_uri="toml:check points"))
    assert (absolute.tracking_uri, absolute.registry_uri) == (f"toml:{tmp_path}/check points",) * 2
