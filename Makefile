# `make results` runs the default experiment, `make test` all tests, `make lint` the linters.
PYTHON ?= python3
VENV ?= .venv
CORES ?= $(shell nproc)
BIN := $(VENV)/bin
ENGINES := relay onnxruntime openvino torch

ENVIRONMENT := $(if $(filter /%,$(VENV)),$(VENV),$(CURDIR)/$(VENV))
ifneq ($(words $(ENVIRONMENT)),1)
$(error $(ENVIRONMENT) has a space, by which Snakemake cannot start Python: use a folder without one, or VENV=/another/folder)
endif

.PHONY: results test lint
results: $(VENV)/.installed
	$(BIN)/snakemake --cores $(CORES)

test: $(VENV)/.installed-test
	$(BIN)/snakemake --cores $(CORES) --quiet all -- $(ENGINES:%=.engines/%/engine.json)
	$(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder --durations 50

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile rules

$(VENV)/.installed: requirements.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11) and "bitsweep needs CPython 3.11: make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --requirement requirements.txt
	touch $@

# Apart: Snakemake imports every executor that it finds, and pandas with Slurm's.
$(VENV)/.installed-test: requirements-test.txt requirements/slurm.txt $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --requirement requirements-test.txt
	$(BIN)/python -m pip install --quiet --no-deps --upgrade --target $(VENV)/slurm --requirement requirements/slurm.txt
	touch $@
