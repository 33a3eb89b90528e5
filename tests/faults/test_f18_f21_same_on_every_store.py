"""F18 to F21: long values, values that are not finite, changed params and odd names end the same on every store."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from mlflow import MlflowClient
from real_stores import STORE_KINDS

from agentnn import ModelManager, start_run
from agentnn.errors import ConflictError
from agentnn.tracking.journal.state import StoreFolder
from agentnn.values.keys import decode_key, encode_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentnn.tracking.active_run import ActiveRun

ODD = {
    "loss %": 1.0,
    "a//b": 2.0,
    "../up": 3.0,
    "tab\tnew\nline": 4.0,
    "nul\0": 5.0,
    "\ud800": 6.0,
    "🚀": 7.0,
    "größe": 8.0,
    "_x0041_": 9.0,
    "metrics.sharpe": 10.0,
    "it's `quoted`": 11.0,
}
EMOJI_PARAM = "🚀" * 7000
LONG_TAG = "tag " * 2500
LARGEST = 1.7976931348623157e308


@pytest.mark.parametrize("kind", STORE_KINDS)
def test_what_is_hard_to_keep_is_kept_the_same(
    kind: str, make_store: Callable[[str], str], caplog: pytest.LogCaptureFixture
):
    uri = make_store(kind)
    with start_run("odd", tracking_uri=uri) as run:
        run.log_metrics(ODD, step=2**62)
        run.log_params({"long": EMOJI_PARAM, "nul": "a\0b", "surrogate": "a\ud800b", "empty": ""})
        run.log_params(ODD)
        run.set_tags({"long": LONG_TAG, "p\0": "x"})
        for step, value in enumerate([0.5, math.nan, math.inf, -math.inf]):
            run.log_metric("unsteady", value, step)
        _log_a_param_that_the_store_has_otherwise(run)
    client = MlflowClient(uri)
    stored = client.get_run(run.run_id)

    # F21: names are mapped, and back
    assert {decode_key(key): value for key, value in stored.data.metrics.items() if key != "unsteady"} == ODD
    assert stored.data.params[encode_key("loss %")] == "1.0"
    assert client.get_metric_history(run.run_id, encode_key("🚀"))[0].step == 2**62

    # F18: what is too long, or what no store takes, is whole in a file, and says so
    for name, whole in (("long", EMOJI_PARAM), ("nul", "a\0b"), ("surrogate", "a\ud800b")):
        target = f"agentnn/params/{name}.txt"
        assert stored.data.params[name].endswith(f"[whole text: artifact {target}]")
        kept = Path(client.download_artifacts(run.run_id, target)).read_bytes().decode("utf-8", "surrogatepass")
        assert kept == whole
    assert stored.data.params["empty"] == ""
    assert len(stored.data.params["long"]) <= 6000
    assert stored.data.tags["long"].startswith("tag tag ")
    assert Path(client.download_artifacts(run.run_id, "agentnn/tags/long.txt")).read_text("utf-8") == LONG_TAG

    # F19: NaN and infinity are kept, flagged, and never best
    assert json.loads(stored.data.tags["agentnn.non_finite"]) == ["unsteady"]
    points = ModelManager(uri).get_metric_history(run.run_id, "unsteady")
    assert [str(point.value) for point in points] == ["0.5", "nan", "inf", "-inf"]
    assert "the metric 'unsteady' is nan at step 1" in caplog.text

    # F20: what contradicts the store is refused alone, by name, and kept for the user
    assert stored.data.params["contested"] == "theirs"
    assert stored.data.params["beside"] == "it"
    letters = StoreFolder.of(run.settings).run(run.uuid).dead_letters.read_text("utf-8").splitlines()
    assert [json.loads(letter)["record"]["values"] for letter in letters] == [{"contested": "ours"}]
    assert f"the store refused 1 records of the run 'odd': {run.folder.dead_letters}" in caplog.text


def _log_a_param_that_the_store_has_otherwise(run: ActiveRun) -> None:
    """As a second trainer of the same run would, on another machine."""
    MlflowClient(run.settings.tracking_uri).log_param(run.run_id, "contested", "theirs")
    run.log_params({"contested": "ours", "beside": "it"})


def test_a_changed_param_is_refused_when_it_is_logged_and_after_a_resume_too(uri: str):
    with start_run("first", tracking_uri=uri) as run:
        run.log_params({"model": {"layers": 2}, "lr": 0.1})
        with pytest.raises(ConflictError, match=r"the param 'model.layers' is '2' already and can't become '3'"):
            run.log_params({"model": {"layers": 3}, "new": 1})
    with start_run(run_id=run.run_id, tracking_uri=uri) as again, pytest.raises(ConflictError, match="'lr'"):
        again.log_param("lr", 0.2)
    assert MlflowClient(uri).get_run(run.run_id).data.params == {"model.layers": "2", "lr": "0.1"}
