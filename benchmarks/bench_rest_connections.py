"""One small question by kept and by fresh connections, under the servers that MLflow runs in.

``RestStore`` and ``MlflowClient`` keep their connections, and so do the bytes over a bare socket, which are what a
client can't be faster than. They ask ten times in a row. A server that writes the head and the body of an answer in two
pieces, and leaves Nagle's algorithm on, waits 40 ms for a client that is slow to acknowledge the first: so do Python's
own ``http.server`` and what is built on it, the last of the rows.

    python benchmarks/bench_rest_connections.py --runs 10000
"""

from __future__ import annotations

import json
import socket
import sys
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import subjects as given
from bench_rest import served
from timing import Goal, compare_calls, print_header

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATH = "/api/2.0/mlflow/experiments/get?experiment_id=1"
EXPERIMENT = {"experiment_id": "1", "name": "sweep", "lifecycle_stage": "active", "artifact_location": "file:///tmp"}
TIMES = 10
SERVERS = {
    "uvicorn, MLflow's default": (),
    "gunicorn, sync": ("--gunicorn-opts", "--log-level error"),
    "gunicorn, threads": ("--gunicorn-opts", "--log-level error -k gthread --threads 4"),
}


def main() -> None:
    """Print three rows a server."""
    parser = given.parser(__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    options = parser.parse_args()
    print_header("One experiment, ten times in a row, by the server and the way of asking")
    for name, more in SERVERS.items():
        with served(given.store_of(options.runs), *more) as url:
            rows(name, url, options.rounds)
    with served_in_two_pieces() as url:
        rows("http.server, in two pieces", url, options.rounds)


def rows(server: str, url: str, rounds: int) -> None:
    """Print how long ours takes beside MLflow's client, and beside a bare socket that is kept or not."""
    from mlflow import MlflowClient

    from agentnn.settings import Settings
    from agentnn.stores.opening import open_store

    store, client = open_store(Settings(url, registry_uri=url)), MlflowClient(url)
    with ExitStack() as kept:
        ours = in_a_row(lambda: store.find_experiment(experiment_id="1"))
        peers = {
            "MlflowClient": lambda: client.get_experiment("1"),
            "bare socket, kept, acknowledging at once": bare_socket(url, kept),
            "bare socket, fresh": lambda: fresh(url),
        }
        for name, ask in peers.items():
            goal = Goal(at_least=2.5) if name == "MlflowClient" else None
            compare_calls((server, "RestStore", name), ours, in_a_row(ask), rounds=rounds, goal=goal)


def in_a_row(ask: Callable[[], object]) -> Callable[[], None]:
    """What asks ten times: a connection that rests acknowledges at once again."""

    def asking() -> None:
        for _ in range(TIMES):
            ask()

    return asking


def bare_socket(url: str, kept: ExitStack) -> Callable[[], None]:
    """What sends the bytes of the question over a socket that is kept, as long as the server keeps it."""
    opened: list[socket.socket] = []

    def ask() -> None:
        if not opened:
            opened.append(kept.enter_context(connected(url)))
        if not asked(opened[0], url):
            opened.pop().close()

    return ask


def fresh(url: str) -> None:
    """Ask over a connection of its own."""
    with connected(url) as opened:
        asked(opened, url)


def connected(url: str) -> socket.socket:
    """A connection to a server."""
    place = urlsplit(url)
    opened = socket.create_connection((place.hostname, place.port))
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return opened


def asked(opened: socket.socket, url: str) -> bool:
    """Ask, read the answer to its end, and say whether the connection can be used again."""
    opened.sendall(f"GET {PATH} HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\n\r\n".encode())
    answer = b""
    while True:
        if sys.platform == "linux":
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        chunk = opened.recv(1 << 16)
        answer += chunk
        head, _, body = answer.partition(b"\r\n\r\n")
        _, _, length = head.lower().partition(b"content-length:")
        if not chunk or (length and len(body) >= int(length.split()[0])):
            return bool(chunk) and b"connection: close" not in head.lower()


@contextmanager
def served_in_two_pieces() -> Iterator[str]:
    """The address of a server of Python's own that knows one experiment."""
    body = json.dumps({"experiment": EXPERIMENT}).encode()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


if __name__ == "__main__":
    main()
