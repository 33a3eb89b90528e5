"""The peer of ``agentnn model list`` on a large registry: the same answer from ``MlflowClient``, with true aliases.

How many versions a model has, and which is the newest, comes from one search of all versions; its aliases come from a
search of the models. Older versions of MLflow give none there (https://github.com/mlflow/mlflow/issues/16734): with
``--ask-each`` every model is asked for by its name, which is right with all of them.

    MLFLOW_TRACKING_URI=sqlite:///mlflow.db python benchmarks/peer_model_list.py [--ask-each]
"""

from __future__ import annotations

import sys
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from mlflow import MlflowClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def main() -> None:
    """Print one line a model: name, newest version, number of versions, aliases."""
    client, ask_each = MlflowClient(), "--ask-each" in sys.argv
    versions: dict[str, list[int]] = defaultdict(list)
    for one in pages(client.search_model_versions, 10_000):
        versions[one.name].append(int(one.version))
    for found in pages(client.search_registered_models, 1000):
        model = client.get_registered_model(found.name) if ask_each else found
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
