"""An MLflow server, over its public REST API (https://mlflow.org/docs/latest/rest-api.html), without MLflow.

``address`` and ``access`` say where the server is and who asks; ``connection`` speaks HTTP, ``transport`` asks and asks
again, ``replies`` says what an answer is that is none. On them stand ``experiments``, ``searching`` over ``pushdown``,
``best`` over ``counting``, ``histories``, ``artifacts``, and ``store`` and ``registry``, which are what the door opens.
``writer`` over ``uploading`` delivers runs, ``importer`` past ones; ``run_changes``, ``experiment_changes`` and
``registry_changes`` change what is there.
"""
