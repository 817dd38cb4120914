# Two commands from a bare clone: `make demo`, `make test`. Each sets up its own environment in .venv first.

PYTHON ?= python3
BIN = .venv/bin
READY = .venv/.ready

.PHONY: demo test lint manifests environment clean

demo: $(READY)
	$(BIN)/unlatent run quickstart

# Two files at a time; one thread each, for two processes with two threads each get into each other's way on two cores.
test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# KubeRay's own definitions, over the network; CRDS=FOLDER takes them from a checkout. Needs kubectl.
manifests: $(READY)
	$(BIN)/python deploy/validate.py $(CRDS)

environment: $(READY)

# pip keeps a CPU build of PyTorch where the package index offers one, and takes the usual build elsewhere.
$(READY): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]' --constraint requirements.lock
	@touch $(READY)

clean:
	rm -rf .venv build dist *.egg-info
