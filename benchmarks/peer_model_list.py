"""The peer of ``agentnn model list`` on a large registry: the same answer from ``MlflowClient``, with true aliases.

A search of registered models gives no aliases (https://github.com/mlflow/mlflow/issues/16734), so that each model is
asked for by its name; how many versions it has and which is the newest comes from one search of all versions.

    MLFLOW_TRACKING_URI=sqlite:///mlflow.db python benchmarks/peer_model_list.py
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from mlflow import MlflowClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def main() -> None:
    """Print one line a model: name, newest version, number of versions, aliases."""
    client = MlflowClient()
    versions: dict[str, list[int]] = defaultdict(list)
    for one in pages(client.search_model_versions, 10_000):
        versions[one.name].append(int(one.version))
    for found in pages(client.search_registered_models, 1000):
        model = client.get_registered_model(found.name)
        aliases = ",".join(f"{alias}={version}" for alias, version in sorted(model.aliases.items()))
        print(model.name, max(versions[model.name]), len(versions[model.name]), aliases, sep="\t")


def pages(search: Callable[..., Any], size: int) -> Iterator[Any]:
    """Give everything that a paged search finds."""
    token = None
    while True:
        page = search(max_results=size, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


if __name__ == "__main__":
    main()
