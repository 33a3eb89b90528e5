"""An MLflow server, over its public REST API (https://mlflow.org/docs/latest/rest-api.html), without MLflow.

``address`` and ``access`` say where the server is and who asks; ``reaching`` makes a connection, ``connection`` speaks
HTTP over it and waits with ``patience``, ``transport`` asks and asks again, ``replies`` says what an answer is that is
none. On them stand ``experiments``, ``searching`` over ``pushdown``, ``best`` over ``counting``, ``nested``,
``histories``, ``artifacts``, and ``store`` and ``registry``, which are what the door opens.
``writer`` over ``uploading`` delivers runs, ``importer`` past ones; ``run_changes``, ``experiment_changes`` and
``registry_changes`` change what is there.
"""
