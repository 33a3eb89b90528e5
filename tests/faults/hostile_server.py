"""A server that speaks enough of MLflow's REST API to hand out one run, lies about its files, and counts requests."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

RUN_ID = "ab" * 16
LOCATION = "mlflow-artifacts:/0"


class HostileServer:
    """A server on 127.0.0.1, for the duration of a ``with``.

    Attributes:
        artifact_uri, location: What it says of the run's files, and of those of its experiment.
        models: The logged models that it lists.
        listings: What it answers to a listing, by path; of another path nothing.
        files: What it sends, by path.
        redirect: Where it sends who asks for artifacts.
        requests: The path of every request, and the Authorization that came with it.
    """

    def __init__(self) -> None:
        self.artifact_uri = f"{LOCATION}/{RUN_ID}/artifacts"
        self.location = LOCATION
        self.models: list[dict[str, Any]] = []
        self.listings: dict[str, list[dict[str, Any]]] = {}
        self.files: dict[str, bytes] = {}
        self.redirect = ""
        self.requests: list[tuple[str, str | None]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self) -> HostileServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        """Its tracking URI."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def artifact_requests(self) -> list[str]:
        """The paths of the requests for artifacts."""
        return [path for path, _ in self.requests if "mlflow-artifacts" in path]

    def answer(self, path: str, query: dict[str, list[str]]) -> tuple[int, Any]:
        """Status and body of the answer to a request."""
        root = f"0/{RUN_ID}/artifacts"
        experiment = {"experiment_id": "0", "name": "Default", "artifact_location": self.location}
        experiment |= {"lifecycle_stage": "active"}
        if path.endswith("/runs/get"):
            info = {"run_id": RUN_ID, "run_name": "lies", "experiment_id": "0", "status": "FINISHED"}
            info |= {"start_time": 1, "end_time": 2, "lifecycle_stage": "active", "artifact_uri": self.artifact_uri}
            return 200, {"run": {"info": info, "data": {}}}
        if path.endswith("/experiments/get"):
            return 200, {"experiment": experiment}
        if path.endswith("/experiments/search"):
            return 200, {"experiments": [experiment]}
        if path.endswith("/logged-models/search"):
            return 200, {"models": self.models}
        if path.endswith("/mlflow-artifacts/artifacts"):
            return 200, {"files": self.listings.get(query["path"][0].removeprefix(root).strip("/"), [])}
        found = self.files.get(path.partition(f"/mlflow-artifacts/artifacts/{root}/")[2])
        return (404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": path}) if found is None else (200, found)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hostile = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                split = urlsplit(self.path)
                hostile.requests.append((self.path, self.headers.get("Authorization")))
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if hostile.redirect and "mlflow-artifacts" in self.path:
                    self.send_response(302)
                    self.send_header("Location", hostile.redirect)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                status, body = hostile.answer(split.path, parse_qs(split.query))
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_POST = do_GET  # noqa: N815 - the name that http.server looks for

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler
