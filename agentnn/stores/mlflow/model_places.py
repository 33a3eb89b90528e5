"""Where the files of a saved model lie, whatever its source calls them."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from agentnn.errors import NotFoundError
from agentnn.stores.artifacts.places import check_model_place, local_folder
from agentnn.stores.mlflow.calls import mlflow_call
from agentnn.stores.mlflow.client import find_logged_model, make_client
from agentnn.stores.rest.address import is_server

if TYPE_CHECKING:
    from agentnn.settings import Settings


def model_folder(source: str, settings: Settings) -> Path:
    """The folder of a model on this machine; it is fetched when it lies elsewhere.

    Args:
        source: A path, a URI, ``models:/m-ID`` (a logged model of MLflow 3) or ``runs:/RUN_ID/path``.
        settings: Name the store.

    Raises:
        NotFoundError: The model's files are not where its source says.
    """
    location = model_location(source, settings)
    folder = local_folder(location)
    if folder is None:
        with mlflow_call(settings):
            from mlflow.artifacts import download_artifacts

            folder = Path(download_artifacts(artifact_uri=location, tracking_uri=settings.tracking_uri))
    if not (folder / "MLmodel").is_file():
        raise NotFoundError(f"there is no model at {source}", hint="the files were moved or deleted; register it again")
    return folder


def model_location(source: str, settings: Settings) -> str:
    """Where a source lies. MLflow would look it up in the store of its global state, not in ours.

    Raises:
        UnsafeError: It breaks the rule of :mod:`agentnn.stores.artifacts.places`. Without a server, a folder of this
            machine may be anywhere: it is read only if it says of itself that it is a model.
    """
    location = _location(source, settings)
    if local_folder(location) is None or is_server(settings.tracking_uri):
        check_model_place(location, settings)
    return location


def _location(source: str, settings: Settings) -> str:
    scheme, _, rest = source.partition(":/")
    if scheme not in ("models", "runs"):
        return source
    served = _served_location(scheme, rest.strip("/"), settings)
    if served is not None:
        return served
    client = make_client(settings.tracking_uri, settings)
    if scheme == "models":
        with mlflow_call(settings):
            return str(client.get_logged_model(rest.strip("/")).artifact_location)
    run_id, _, path = rest.strip("/").partition("/")
    logged = find_logged_model(client, settings, run_id, path)
    if logged is not None:
        return str(logged.artifact_location)
    with mlflow_call(settings):
        return f"{client.get_run(run_id).info.artifact_uri}/{path}"


def _served_location(scheme: str, rest: str, settings: Settings) -> str | None:
    """What a server says of ``models:/`` and ``runs:/`` over its REST API; ``None`` where there is no such server."""
    if not is_server(settings.tracking_uri):
        return None
    from agentnn.stores.rest.logged_models import location_of, model_of_run
    from agentnn.stores.rest.opening import open_transport

    transport = open_transport(settings.tracking_uri, settings)
    if transport is None:
        return None
    with closing(transport):
        if scheme == "models":
            return location_of(transport, rest)
        run_id, _, path = rest.partition("/")
        return model_of_run(transport, run_id, path).location
