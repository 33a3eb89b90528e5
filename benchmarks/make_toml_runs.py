"""Make a folder of N local-first runs from a seed, as ``MLRun`` and wandb leave them behind.

Every run has a config of a dozen leaves with one nested table, the tables ``_meta`` and ``_wandb``, and six metrics.
The text is written directly, so that ten thousand runs take a few seconds. Folders are cached in ``benchmarks/.data``
under a name made of the parameters; the path is printed on standard output.

    python benchmarks/make_toml_runs.py --runs 10000
"""

from __future__ import annotations

import argparse
import hashlib
import random
import shutil
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

DATA = Path(__file__).resolve().parent / ".data"
FIRST_START = datetime(2025, 1, 1, tzinfo=UTC)
SPACING = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Shape:
    """What the folder holds; the same shape and seed give the same files."""

    runs: int = 10_000
    projects: int = 4
    seed: int = 1

    def stem(self) -> str:
        """Name the cached folder after everything that its content depends on."""
        return f"toml-runs{self.runs}-p{self.projects}-s{self.seed}-v1"


def main() -> None:
    """Make the folder that the command line describes and print where it is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--projects", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print(folder_of(Shape(options.runs, options.projects, options.seed)))


def folder_of(shape: Shape, data: Path = DATA) -> Path:
    """Give the folder of a shape, made now if it is not there."""
    folder = data / shape.stem()
    if not folder.is_dir():
        print(f"making {shape.runs} runs in {folder}", file=sys.stderr, flush=True)
        unfinished = folder.with_name(f"{folder.name}.part")
        shutil.rmtree(unfinished, ignore_errors=True)
        write_runs(shape, unfinished)
        unfinished.rename(folder)
    return folder


def write_runs(shape: Shape, folder: Path) -> None:
    """Write every run of a shape into a folder that is made for it."""
    for project in range(min(shape.projects, shape.runs)):
        (folder / f"project-{project}").mkdir(parents=True)
    for index in range(shape.runs):
        project = f"project-{index % shape.projects}"
        config, metrics = texts_of(shape, index, project)
        run = folder / project / run_id_of(shape, index)
        run.mkdir()
        (run / "config.toml").write_text(config, encoding="utf-8")
        (run / "metrics.toml").write_text(metrics, encoding="utf-8")


def run_id_of(shape: Shape, index: int) -> str:
    """Give an id of eight characters, as wandb makes them."""
    digest = hashlib.md5(f"{shape.seed}:{index}".encode(), usedforsecurity=False).digest()
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    return "".join(letters[byte % 36] for byte in digest[:8])


def texts_of(shape: Shape, index: int, project: str) -> tuple[str, str]:
    """Give the text of a run's two files: a pure function of the seed and the index."""
    rng = random.Random(shape.seed * 1_000_003 + index)
    run_id = run_id_of(shape, index)
    began = FIRST_START + index * SPACING
    ended = began + timedelta(seconds=rng.randrange(60, 600))
    commit = f"{rng.getrandbits(160):040x}"
    config = f"""\
learning_rate = {10 ** rng.uniform(-5, -1)!r}
batch_size = {rng.choice((16, 32, 64, 128))}
epochs = {rng.randrange(1, 100)}
seed = {rng.randrange(10_000)}
optimizer = "{rng.choice(("adam", "adamw", "sgd"))}"
shuffle = {rng.choice(("true", "false"))}
dropout = {rng.choice((0.0, 0.1, 0.2, 0.5))}
note = "trial {index} of a sweep"

[model]
name = "{rng.choice(("CNN", "BERT", "LSTM", "MLP"))}"
layers = {rng.randrange(1, 24)}
hidden = {rng.choice((64, 128, 256))}
activation = "{rng.choice(("relu", "gelu"))}"

[_wandb]
run_id = "{run_id}"
project = "{project}"
entity = "bench"
url = "https://wandb.ai/bench/{project}/runs/{run_id}"
mode = "offline"

[_meta]
run_id = "{run_id}"
project = "{project}"
name = "run-{index}"
status = "{rng.choices(("FINISHED", "FAILED", "KILLED"), (90, 7, 3))[0]}"
created_at = {stamp(began)}
ended_at = {stamp(ended)}
user = "{rng.choice(("ada", "grace", "alan"))}"
git_commit = "{commit}"
"""
    metrics = f"""\
accuracy = {rng.random()!r}
loss = {rng.expovariate(2)!r}
f1_score = {rng.random()!r}
sharpe_ratio = {rng.gauss(0.8, 0.7)!r}
epoch = {rng.randrange(1, 100)}
duration_s = {rng.uniform(10, 1000)!r}
"""
    return config, metrics


def stamp(moment: datetime) -> str:
    """Write a time as MLRun does: RFC 3339 in UTC with milliseconds."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.000Z")


if __name__ == "__main__":
    main()
