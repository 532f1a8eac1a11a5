# Everything runs in .venv. `make setup` builds it from scratch with pip and keeps it up to date.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The demo's requirements: the service, a worker and its compiled engine.
PROGRAMS_INSTALLED := $(VENV)/.programs-installed
# The tests' requirements.
INSTALLED := $(VENV)/.installed
# Libraries that only the benchmarks need, for comparison.
PEERS := .venv-bench
PEERS_INSTALLED := $(PEERS)/.installed
# What `make hashes`, `make audit` and `make sbom` run.
SUPPLY_CHAIN := .venv-supply-chain
SUPPLY_CHAIN_INSTALLED := $(SUPPLY_CHAIN)/.installed
IMAGES := deploy/docker/requirements
# More than the two cores of a small machine: many tests mostly wait for other processes.
TEST_PROCESSES ?= 4
# The tests of one file run in one process, and share its servers and trained jobs.
IN_PARALLEL = -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder
# With this variable, each of the hundreds of processes that the tests start would compile the project again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo article test test-long test-all fast test-newest test-chaos test-deploy check chaos model bench bench-diagnosis overload docs format constraints hashes audit sbom clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: $(INSTALLED) ## build .venv with all requirements

$(PROGRAMS_INSTALLED): pyproject.toml constraints.txt $(wildcard workers/engines/native/*)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "CostCurve needs Python 3.11 or later; use: make PYTHON=python3.12 ..."; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
	  --editable '.[service,worker]' ./workers/engines/native
	touch $@

$(INSTALLED): $(PROGRAMS_INSTALLED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: $(PROGRAMS_INSTALLED) ## run the article's experiments on MNIST; transcripts, a table and plots go to demo/
	$(BIN)/costcurve demo $(DEMO_OPTIONS)

article: $(PROGRAMS_INSTALLED) ## test each claim of the article; the verdicts go to article/article.html
	$(BIN)/costcurve article $(ARTICLE_OPTIONS)

test: setup ## run all tests except the long suites: test-long, test-chaos, test-deploy, chaos and model
	$(BIN)/python -m pytest $(IN_PARALLEL) -m 'not deploy and not chaos and not long' $(TEST_OPTIONS)

test-long: setup ## run the tests that take minutes: Ray, installations, versions, restarts, overload, the article
	$(BIN)/python -m pytest $(IN_PARALLEL) -m long $(TEST_OPTIONS)

test-all: setup ## run test and test-long at once
	$(BIN)/python -m pytest $(IN_PARALLEL) -m 'not deploy and not chaos' $(TEST_OPTIONS)

fast: setup ## run the tests that take less than about 5 s each
	$(BIN)/python -m pytest $(IN_PARALLEL) -q -m 'not slow and not deploy' $(TEST_OPTIONS)

test-newest: ## run the fast tests of what depends on the language most on the newest supported Python found here
	newest=$$($(PYTHON) .ci/newest_python.py); test -z "$$newest" || \
	  $(MAKE) fast PYTHON="$$newest" VENV=".venv-$$(basename "$$newest")" \
	    TEST_OPTIONS="tests/core tests/runtime tests/analysis tests/training tests/engines --deselect tests/engines/test_packed_gpu.py"

test-chaos: setup ## run a short form of each chaos scenario, about 6 minutes
	$(BIN)/python -m pytest -n 2 -m chaos $(TEST_OPTIONS) tests/chaos

test-deploy: setup ## build the images and test docker-compose.yml; needs a Docker engine
	$(BIN)/python -m pytest -m deploy $(TEST_OPTIONS) tests/deploy

check: setup ## check style, types, import rules and the fast tests; run it before every commit
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(MAKE) fast

chaos: setup ## run all chaos scenarios, about 2 hours; CHAOS_OPTIONS="SCENARIO ..." selects some
	$(BIN)/python -m tests.chaos $(CHAOS_OPTIONS)

model: setup ## compare the job store with a model over 10,000 random steps on each database
	STORE_MODEL_STEPS=10000 $(BIN)/python -m pytest -q -s --timeout 3600 tests/store/test_store_model.py

bench: setup $(PEERS_INSTALLED) ## measure speed, and compare the engines with other libraries; writes benchmarks/records/
	$(BIN)/python benchmarks/compare.py
	$(BIN)/python benchmarks/engines.py
	$(BIN)/python benchmarks/shapes.py
	$(BIN)/python benchmarks/claims.py
	$(BIN)/python benchmarks/sweeps.py
	$(BIN)/python benchmarks/turnaround.py
	$(BIN)/python benchmarks/key_timing.py

bench-diagnosis: setup ## measure the diagnosis: faults named, repaired, harmed; keeps its runs, about two hours on two cores
	$(BIN)/python -m benchmarks.diagnosis $(BENCH_DIAGNOSIS_OPTIONS)
	cd benchmarks && ../$(BIN)/python diagnosis_cost.py

overload: setup ## measure latencies and memory under overload; writes benchmarks/records/overload.md
	cd benchmarks && ../$(BIN)/python overload.py

$(PEERS_INSTALLED): benchmarks/requirements.txt
	test -x $(PEERS)/bin/python || $(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --requirement benchmarks/requirements.txt
	touch $@

docs: setup ## update the generated parts of docs/
	$(BIN)/python docs/generate.py

format: setup ## format the code and apply ruff's fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

constraints: ## pin the versions of a fresh environment in constraints.txt
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]' ./workers/engines/native
	{ echo '# Versions that were tested together, written by `make constraints`.'; \
	  $(BIN)/python -m pip freeze --exclude-editable --exclude costcurve-kernel | sed -E 's/\+cpu$$//'; } > constraints.txt

$(SUPPLY_CHAIN_INSTALLED): pyproject.toml
	test -x $(SUPPLY_CHAIN)/bin/python || $(PYTHON) -m venv $(SUPPLY_CHAIN)
	$(SUPPLY_CHAIN)/bin/python -m pip install --quiet --disable-pip-version-check \
	  $$($(PYTHON) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["dependency-groups"]["supply-chain"])')
	touch $@

hashes: $(SUPPLY_CHAIN_INSTALLED) ## pin what the images install, with hashes, in deploy/docker/requirements
	$(SUPPLY_CHAIN)/bin/python deploy/docker/hashes.py --uv $(SUPPLY_CHAIN)/bin/uv

audit: $(SUPPLY_CHAIN_INSTALLED) ## look for known vulnerabilities of the pinned packages; fails if it cannot ask for each of them
	$(SUPPLY_CHAIN)/bin/python deploy/docker/audit.py constraints.txt $(IMAGES)/*.txt

sbom: $(SUPPLY_CHAIN_INSTALLED) ## write what the images contain to build/sbom/, as CycloneDX JSON
	mkdir -p build/sbom
	for image in service worker worker-cuda ray; do \
	  case $$image in \
	    service) files=service ;; \
	    worker) files="worker torch-cpu" ;; \
	    worker-cuda) files="worker torch-cuda" ;; \
	    ray) files="worker torch-cpu ray" ;; \
	  esac; \
	  for file in $$files; do cat $(IMAGES)/$$file.txt; done > build/sbom/$$image.txt; \
	  $(SUPPLY_CHAIN)/bin/cyclonedx-py requirements build/sbom/$$image.txt --pyproject pyproject.toml \
	    --output-reproducible --output-format JSON --output-file build/sbom/$$image.cdx.json || exit 1; \
	done

clean: ## remove environments and caches; keep demo/, article/ and the data set
	rm -rf .venv .venv-* build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
