# make demo: set up and run the main job on the embedded data.   make test: set up and pass the tests.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# make voc2007: the paper's Table 9 on the real data set (network, disk and time: docs/guide.md).
.PHONY: demo test voc2007 lint types docs site unit fuzz clean

demo: $(VENV)/.user
	$(BIN)/spp demo

voc2007: $(VENV)/.user
	PATH="$(abspath $(BIN)):$$PATH" $(MAKE) -f docs/voc2007.mk PYTHON=$(abspath $(BIN))/python

test: lint types docs site unit

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

docs: $(VENV)/.dev
	$(BIN)/python docs/make_reference.py --check
	$(BIN)/python docs/make_drawings.py --check
	$(BIN)/python docs/make_stragglers.py --check

# The documentation as pages, in site/; a link that leads nowhere is an error.
site: $(VENV)/.dev
	$(BIN)/zensical build --strict --clean

# Which lines the tests reach: nearly for nothing where Python has sys.monitoring, from 3.12 on.
TRACER = $$($(BIN)/python -c "import sys; print('sysmon' if sys.version_info >= (3, 12) else 'ctrace')")

# Two processes share the test files. What is compiled once is compiled before: numba's index knows no lock.
unit: $(VENV)/.dev
	$(BIN)/python -c "from sppcli.proposals.selective_search import warm_up as w; [w.compile_part(name) for name in w.PARTS]"
	COVERAGE_CORE=$(TRACER) $(BIN)/pytest -n 2 --dist loadfile --cov --cov-report=term

# Changed files to every reader, for MINUTES; what is found lies in fuzz-found/. The same SEED gives the same inputs.
MINUTES ?= 10
SEED ?= $(shell date +%s)

fuzz: $(VENV)/.dev
	$(BIN)/python -m tests.fuzz --minutes $(MINUTES) --seed $(SEED)

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.user: $(VENV)/bin/python pyproject.toml
	$(BIN)/pip install --quiet -e .
	touch $@

$(VENV)/.dev: $(VENV)/bin/python pyproject.toml
	$(BIN)/pip install --quiet -e '.[dev]'
	touch $@ $(VENV)/.user

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage spp-demo fuzz-found site .cache
