# Everything runs in .venv, which `make setup` builds from scratch with pip and keeps up to date.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# What the demo needs: the service, a worker, and its compiled engine.
PROGRAMS_INSTALLED := $(VENV)/.programs-installed
# And what the tests need.
INSTALLED := $(VENV)/.installed
# What the benchmarks compare with, and the product does without.
PEERS := .venv-bench
PEERS_INSTALLED := $(PEERS)/.installed
# More than the two processors of a small machine: many tests wait for another process more than they compute.
TEST_PROCESSES ?= 3
# Where it is set, each of the hundreds of processes that the tests start compiles the project for itself.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo article test fast test-deploy check chaos model bench overload docs format constraints clean

help: ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: $(INSTALLED) ## build .venv with everything that the project needs

$(PROGRAMS_INSTALLED): pyproject.toml constraints.txt $(wildcard workers/engines/native/*)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "CostCurve needs Python 3.11 or later; say: make PYTHON=python3.12 ..."; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
	  --editable '.[service,worker]' ./workers/engines/native
	touch $@

$(INSTALLED): $(PROGRAMS_INSTALLED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: $(PROGRAMS_INSTALLED) ## the article's experiments on real MNIST, with progress, transcripts, a table, and plots in demo/
	$(BIN)/costcurve demo $(DEMO_OPTIONS)

article: $(PROGRAMS_INSTALLED) ## each of the article's claims put to the test, with a verdict: article/article.html
	$(BIN)/costcurve article $(ARTICLE_OPTIONS)

test: setup ## all tests but the heavy suites
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) -m 'not deploy' $(TEST_OPTIONS)

fast: setup ## the tests that take less than about five seconds each
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) -q -m 'not slow and not deploy' $(TEST_OPTIONS)

test-deploy: setup ## build the images and start docker-compose.yml on a Docker engine, if there is one
	$(BIN)/python -m pytest -m deploy $(TEST_OPTIONS) tests/deploy

check: setup ## style, types, import rules and the fast tests: before every commit
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(MAKE) fast

chaos: setup ## what must hold when things go wrong, in full: about two hours; CHAOS_OPTIONS="SCENARIO ..."
	$(BIN)/python -m tests.chaos $(CHAOS_OPTIONS)

model: setup ## 10,000 random steps of the job store, on each database, against a model of it
	STORE_MODEL_STEPS=10000 $(BIN)/python -m pytest -q -s --timeout 3600 tests/store/test_store_model.py

bench: setup $(PEERS_INSTALLED) ## the speed of all that has to be fast, and of our engines' peers; figures go to benchmarks/records/
	$(BIN)/python benchmarks/compare.py
	$(BIN)/python benchmarks/engines.py
	$(BIN)/python benchmarks/shapes.py
	$(BIN)/python benchmarks/claims.py
	$(BIN)/python benchmarks/sweeps.py
	$(BIN)/python benchmarks/turnaround.py

overload: setup ## how the service holds under overload: latencies and memory, into benchmarks/records/overload.md
	cd benchmarks && ../$(BIN)/python overload.py

$(PEERS_INSTALLED): benchmarks/requirements.txt
	test -x $(PEERS)/bin/python || $(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --requirement benchmarks/requirements.txt
	touch $@

docs: setup ## put into docs/ what is generated from the code
	$(BIN)/python docs/generate.py

format: setup ## put the code into shape
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

constraints: ## pin in constraints.txt what a fresh environment resolves to
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]' ./workers/engines/native
	{ echo '# The versions that were tested together; `make constraints` makes this file.'; \
	  $(BIN)/python -m pip freeze --exclude-editable --exclude costcurve-kernel | sed -E 's/\+cpu$$//'; } > constraints.txt

clean: ## remove what was built; keeps demo/, article/ and the data set's cache
	rm -rf .venv .venv-* build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
