# `make demo` and `make test` need python3 (3.11 or newer) and a network for the first run; nothing else.

PYTHON ?= python3
BIN := .venv/bin
# With bytecode files switched off, each of the hundreds of processes would compile every module again.
export PYTHONDONTWRITEBYTECODE :=
INSTALLED := .venv/.installed

.PHONY: help install demo up down quick test test-pythons lint chaos chart-test chart-golden test-ml registry-test connect-test notebooks bench bench-days bench-ml bench-year soak closure compose-test docker-test clean

help:
	@echo "make demo    play one synthetic market day through the whole pipeline"
	@echo "             SECURE=1 plays it on a secured Kafka,"
	@echo "             TAPE=file.parquet SESSION=2013-10-11 plays a recording instead"
	@echo "make up      start the local stack in the foreground; Ctrl-C stops it"
	@echo "make down    stop it from elsewhere"
	@echo "make test    lint, types, import rules, then all tests; quick ones on the other Pythons of the PATH"
	@echo "make quick   lint, types, import rules, and the unit tests that need neither servers nor time"
	@echo "make chaos   every fault at every point, 2,000 seeds: what make test shows with fewer cases"
	@echo "make test-pythons   the unit tests on every Python from 3.11 to 3.13 of this machine, pyenv's too"
	@echo "make test-ml the tests of FinBERT and ONNX in an environment of their own: 6 GB of disk, ten minutes"
	@echo "make chart-test  render the Helm chart with helm, which Go builds once (5 minutes, 110 MB), and check it"
	@echo "make registry-test   records through Apicurio Registry, read by an outside consumer: 150 MB once"
	@echo "make connect-test   the audit by Kafka Connect's JDBC sink, equal to the native sink's: 250 MB once"
	@echo "make notebooks   run the notebooks on a morning of the demo and keep what they show"
	@echo "make bench   the figures of this machine, measured side by side with its peers"
	@echo "make bench-ml   a FinBERT-size model in each engine, in the environment of make test-ml"
	@echo "make bench-days   ten sessions in a row, a process killed on each: half an hour, and 3 GB of disk"
	@echo "make bench-year   rebuild and verify a trading year: minutes, and 5 GB of disk"
	@echo "make soak    live bars and news at 60x for twenty minutes, something going wrong every half minute"
	@echo "make closure  what tapedeck's core takes installed, by package: at most 460 MB"
	@echo "make compose-test  the image and the demo in containers, on a Docker engine where there is one"
	@echo "make docker-test   tests of Kafka and Postgres in containers; TESTS=tests/integration for all"
	@echo "make clean   stop what runs and remove what was made here"

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "tapedeck needs Python 3.11 or newer, and $(PYTHON) is not that:" \
	       "install one and name it, as in: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) tests/environments.py install .venv local dev

demo: install
	@$(BIN)/tape demo $(if $(SECURE),--secure) $(if $(TAPE),--tape '$(TAPE)') $(if $(SESSION),--session '$(SESSION)')

up: install
	@$(BIN)/tape up

down: install
	@$(BIN)/tape down

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

quick: lint
	$(BIN)/pytest -n logical -m "not long and not slow" tests/unit tests/contract

test: lint
	@$(BIN)/python tests/environments.py test --short
	$(BIN)/pytest -n logical

chaos: install
	@$(BIN)/pytest -m "chaos or long"

HELM_VERSION := v3.22.0
TOOLS := $(HOME)/.cache/tapedeck-tools
TAPE_HELM ?= $(or $(shell command -v helm),$(TOOLS)/helm)
HELM_TEMPLATE = $(TAPE_HELM) template tapedeck helm/tapedeck --namespace tape --kube-version 1.34.0
CHART_DATA := tests/data/chart

chart-test: install $(TAPE_HELM)
	@TAPE_HELM='$(TAPE_HELM)' $(BIN)/pytest tests/unit/deployment

# Writes what tests/unit/deployment compares with: run it after a change of the chart, and read the difference.
chart-golden: install $(TAPE_HELM)
	@$(BIN)/python -m tapedeck.tape.chart
	@$(HELM_TEMPLATE) > $(CHART_DATA)/default.yaml
	@$(HELM_TEMPLATE) --values $(CHART_DATA)/own.values.yaml > $(CHART_DATA)/own.yaml

$(TOOLS)/helm:
	@command -v go > /dev/null || { \
	  echo "there is neither helm nor go: install one, or name helm in TAPE_HELM" >&2; exit 1; }
	@echo "helm $(HELM_VERSION) is built with go and put into $(TOOLS): 110 MB, about five minutes"
	@GOBIN='$(TOOLS)' go install helm.sh/helm/v3/cmd/helm@$(HELM_VERSION)

registry-test: install
	@echo "Apicurio Registry is downloaded once into the cache folder (150 MB), with Kafka if it is not there"
	@TAPE_TEST_DOWNLOAD=1 $(BIN)/pytest -n0 -m long tests/integration/test_apicurio.py

connect-test: install
	@echo "Kafka Connect, Debezium's JDBC sink and Apicurio are downloaded once into the cache folder (250 MB)"
	@TAPE_TEST_DOWNLOAD=1 $(BIN)/pytest -n0 -m long tests/integration/test_connect.py

notebooks: install
	@TAPE_WRITE_NOTEBOOKS=1 $(BIN)/pytest -m "long or not long" tests/integration/test_notebooks.py

test-ml: .venv-ml/.installed
	.venv-ml/bin/pytest -m ml tests/ml

.venv-ml/.installed: pyproject.toml constraints.txt
	@echo "torch and its libraries: 3 GB to download, 6 GB of disk, about ten minutes"
	@$(PYTHON) tests/environments.py install .venv-ml ml test

test-pythons: install
	@$(BIN)/python tests/environments.py test

bench: install
	@$(BIN)/python -m tests.bench

bench-days: install
	@$(BIN)/python -m tests.bench.bench_days

bench-ml: .venv-ml/.installed
	@.venv-ml/bin/python -m tests.bench.bench_bert

bench-year: install
	@$(BIN)/python -m tests.bench --year

soak: install
	@$(BIN)/python -m tests.bench.soak_live

closure: install
	@$(BIN)/python tests/closure.py --strip

compose-test: install
	@$(BIN)/python -m tests.containers

docker-test: install
	@echo "the package testcontainers is installed into .venv; Kafka and Postgres come from the Docker engine"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[containers]'
	@TAPE_TEST_SERVERS=docker $(BIN)/pytest -n0 $(or $(TESTS),tests/integration/test_topics_admin.py \
	  tests/integration/test_audit_store.py tests/integration/test_sink.py)

clean:
	@if [ -x $(BIN)/tape ] && [ -d .tape ]; then \
	  for folder in .tape/*/; do \
	    [ -d "$$folder" ] && $(BIN)/tape down --purge --name "$$(basename "$$folder")"; \
	  done; true; \
	fi
	rm -rf .venv .venv-3.* .venv-ml .tape build dist *.egg-info .hypothesis .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
