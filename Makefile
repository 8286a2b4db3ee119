# Everything here does its own set-up in .venv; nothing needs to be installed by hand but Python 3.11+, git and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
AGENTS := $(VENV)/agents/.ready
LORECONVO := $(VENV)/loreconvo/.ready

.PHONY: demo test lint unit agents loreconvo bench peers storms clean

demo: $(STAMP)  ## two shifts on a small real repository, with an approval between them; under a minute
	$(BIN)/nightcrew demo

test: $(STAMP) lint unit  ## everything that CI runs

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: $(STAMP) agents loreconvo
	$(BIN)/pytest -n 2 --dist worksteal --durations=25

loreconvo: $(LORECONVO)  ## the real LoreConvo that the tests talk to, in an environment of its own

agents: $(AGENTS)  ## the real coding agents that the tests drive against a scripted model; npm packages

bench: $(STAMP)  ## the benchmarks, in full; prints tables and writes bench/results/
	$(BIN)/python bench/planner.py
	$(BIN)/python bench/ledger.py
	$(BIN)/python bench/guard.py
	$(BIN)/python bench/pipeline.py
	$(BIN)/python bench/calibrate.py
	$(BIN)/python -m bench.turns
	$(BIN)/python bench/metrics.py
	$(BIN)/python bench/drift.py
	$(BIN)/python bench/web.py

peers: $(STAMP)  ## the orchestrators and libraries that benchmarks and tests/peers compare with, and those tests
	@if command -v uv >/dev/null 2>&1; then uv pip install --quiet --python $(BIN)/python -e '.[dev,peers]'; \
	else $(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev,peers]'; fi
	$(BIN)/pytest tests/peers -q

storms: $(STAMP) agents loreconvo  ## the fault tests in full length (CI runs the same code with fewer rounds)
	NIGHTCREW_STORM_ROUNDS=30 NIGHTCREW_STORM_RECORDS=1000000 NIGHTCREW_STORM_KILLS=20 \
	  NIGHTCREW_STORM_SHARED=200000 NIGHTCREW_STORM_SESSIONS=200 NIGHTCREW_STORM_EXAMPLES=100 NIGHTCREW_ALL_PROJECTS=1 \
	  $(BIN)/pytest tests/faults tests/integration/test_web_api.py tests/integration/test_drill_core.py tests/integration/test_drills_readiness.py tests/integration/test_drills_crew.py tests/integration/test_drills_ops.py tests/acceptance/test_dashboard.py tests/acceptance/test_real_projects.py tests/acceptance/test_drill_all.py tests/acceptance/test_examples_ready.py -q -s

# uv if it is there, else the venv module and pip.
$(STAMP): pyproject.toml
	@if command -v uv >/dev/null 2>&1; then \
	  uv venv --quiet --allow-existing --python $(PYTHON) $(VENV) && uv pip install --quiet --python $(BIN)/python -e '.[dev]'; \
	else \
	  $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "nightcrew needs Python 3.11 or newer; set PYTHON=..." >&2; exit 1; }; \
	  $(PYTHON) -m venv $(VENV) && $(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'; \
	fi
	@touch $(STAMP)

# What they need of the network is their packages; their own install scripts are not run.
$(AGENTS): tests/agents/package.json | $(STAMP)
	@if command -v npm >/dev/null 2>&1; then \
	  mkdir -p $(VENV)/agents && cp tests/agents/package.json $(VENV)/agents/ && \
	  (cd $(VENV)/agents && npm install --no-audit --no-fund --no-package-lock --loglevel=error) && touch $(AGENTS); \
	else \
	  echo "npm is missing: the tests that drive real coding agents will be SKIPPED" >&2; \
	fi

# Its licence is its own (BUSL 1.1): the tests run it as it comes from the package index, nothing of it is in here.
$(LORECONVO): pyproject.toml | $(STAMP)
	@wanted="$$(sed -n 's/^loreconvo = .*"\(loreconvo[^"]*\)".*/\1/p' pyproject.toml)"; \
	if command -v uv >/dev/null 2>&1; then \
	  uv venv --quiet --allow-existing --python $(PYTHON) $(VENV)/loreconvo && \
	  uv pip install --quiet --python $(VENV)/loreconvo/bin/python "$$wanted"; \
	else \
	  $(PYTHON) -m venv $(VENV)/loreconvo && \
	  $(VENV)/loreconvo/bin/python -m pip install --quiet --disable-pip-version-check "$$wanted"; \
	fi && touch $(LORECONVO) || \
	echo "LoreConvo could not be installed: the tests that talk to it will be SKIPPED" >&2

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
