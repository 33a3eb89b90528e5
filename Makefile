# Everything a developer or CI does, by name. The environment is made once and made again when its inputs change.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INPUTS := pyproject.toml constraints.txt
# Much of the time is waiting, for servers and senders: three processes keep two cores busy.
PYTEST_ARGS ?= -n 3 --dist worksteal
PYTEST ?= -m pytest

# The tests start thousands of processes; without compiled files each would compile agentnn again.
unexport PYTHONDONTWRITEBYTECODE

# The older MLflow servers that the tests ask, each in an environment of its own beside the main one.
OLDER_SERVERS := $(patsubst tests/older_servers/%.txt,%,$(wildcard tests/older_servers/*.txt))

.PHONY: quickstart test test-strong check compile older-servers bench bench-full bench-writing readme clean

quickstart: $(VENV)/.installed
	$(BIN)/agentnn quickstart

test: $(VENV)/.installed-dev
	$(BIN)/python $(PYTEST) $(PYTEST_ARGS)

# With as many generated examples as the authors tried; ``make test`` tries a third of the costly ones.
test-strong: export AGENTNN_TESTS := strong
test-strong: test

check: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python docs/check_readme.py

# What the tests import, and the tests themselves; else each of their processes does it at the same time. (syrupy would
# call every snapshot unused.)
compile: $(VENV)/.installed-dev
	$(BIN)/python -m pytest --collect-only -q -p no:syrupy >/dev/null

older-servers: $(OLDER_SERVERS:%=$(VENV)/older_servers/%/.installed)

# Rewrite the README's help texts from --help.
readme: $(VENV)/.installed-dev
	$(BIN)/python docs/check_readme.py --write

bench: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/run_all.py --small --python "$$($(BIN)/python benchmarks/install_wheel.py)"

bench-full: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/run_all.py --full --python "$$($(BIN)/python benchmarks/install_wheel.py)"

# Beside wandb, Aim, Trackio and TensorBoard, in an environment of their own (2 GB).
bench-writing: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/install_peers.py
	$(BIN)/python benchmarks/run_all.py --small --part writing

$(VENV)/.installed: $(INPUTS)
	$(PYTHON) .ci/install.py $(VENV) -c constraints.txt -e ".[train]"
	touch $@

$(VENV)/.installed-dev: $(INPUTS)
	$(PYTHON) .ci/install.py $(VENV) -c constraints.txt -e ".[dev]"
	touch $(VENV)/.installed $@

# One that can't be had is said, and its tests are skipped.
$(VENV)/older_servers/%/.installed: tests/older_servers/%.txt | $(VENV)/.installed-dev
	@if $(BIN)/python .ci/install.py $(@D) -r $<; then touch $@; \
	else echo "MLflow $* could not be installed: the tests with its server are skipped" >&2; fi

clean:
	rm -rf $(VENV) build dist *.egg-info
