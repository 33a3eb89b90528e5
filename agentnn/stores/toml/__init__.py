"""Runs as folders of plain TOML files, and whatever reads and writes them.

::

    BASE/PROJECT/project.toml        only where there is something to say: the experiment's name, tags, times, stage
    BASE/PROJECT/RUN/config.toml     the config, with the tables _meta (what a run is) and _wandb (where it is shown)
    BASE/PROJECT/RUN/metrics.toml    the final value of every metric
    BASE/PROJECT/RUN/history.jsonl   every value that was logged with a step
    BASE/PROJECT/RUN/origin.toml     where an imported run was made
    BASE/PROJECT/RUN/...             whatever else lies there: the run's artifacts
    BASE/.agentnn-index.sqlite       what a scan has read; made again whenever it is not right

Files are the truth; the index is only what was read of them. A project is an experiment, and its folder's name is the
experiment's id; a run folder's name is the run's id.

``text`` turns mappings into TOML and back, ``runs`` reads and writes the folder of one run, ``index`` and ``frame``
read all of them, ``asking`` and ``writing`` are the store that the rest of agentnn sees. docs/adr/0010 says why.
"""
