"""One change through ``MlflowClient``, as a script would make it; the store is the environment's.

python peer_change.py tag RUN_ID KEY VALUE
python peer_change.py create NAME
python peer_change.py promote MODEL VERSION ALIAS
"""

from __future__ import annotations

import sys

from mlflow import MlflowClient


def main() -> None:
    """Make the change that the arguments name."""
    what, *arguments = sys.argv[1:]
    client = MlflowClient()
    if what == "tag":
        client.set_tag(*arguments)
    elif what == "create":
        print(client.create_experiment(*arguments))
    else:
        name, version, alias = arguments
        client.set_registered_model_alias(name, alias, version)


if __name__ == "__main__":
    main()
