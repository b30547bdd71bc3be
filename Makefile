# `make demo` and `make test` need python3 (3.11 or newer) and a network for the first run; nothing else.

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: help install demo up down test lint bench bench-days bench-year clean

help:
	@echo "make demo    play one synthetic market day through the whole pipeline"
	@echo "             SECURE=1 plays it on a secured Kafka,"
	@echo "             TAPE=file.parquet SESSION=2013-10-11 plays a recording instead"
	@echo "make up      start the local stack in the foreground; Ctrl-C stops it"
	@echo "make down    stop it from elsewhere"
	@echo "make test    lint, types, import rules, then all tests"
	@echo "make bench   the figures of this machine, measured side by side with its peers"
	@echo "make bench-days   ten sessions in a row, a process killed on each: half an hour, and 3 GB of disk"
	@echo "make bench-year   rebuild and verify a trading year: minutes, and 5 GB of disk"
	@echo "make clean   stop what runs and remove what was made here"

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "tapedeck needs Python 3.11 or newer, and $(PYTHON) is not that:" \
	       "install one and name it, as in: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv .venv || { \
	  echo "$(PYTHON) cannot make a virtual environment: install its venv module" \
	       "(Debian: apt install python3-venv)" >&2; exit 1; }
	@echo "installing the packages into .venv: a few hundred MB, once"
	$(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt --editable '.[local,dev]'
	@touch $(INSTALLED)

demo: install
	@$(BIN)/tape demo $(if $(SECURE),--secure) $(if $(TAPE),--tape '$(TAPE)') $(if $(SESSION),--session '$(SESSION)')

up: install
	@$(BIN)/tape up

down: install
	@$(BIN)/tape down

lint: install
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	$(BIN)/pytest

bench: install
	@$(BIN)/python -m tests.bench

bench-days: install
	@$(BIN)/python -m tests.bench.bench_days

bench-year: install
	@$(BIN)/python -m tests.bench --year

clean:
	@if [ -x $(BIN)/tape ] && [ -d .tape ]; then \
	  for folder in .tape/*/; do \
	    [ -d "$$folder" ] && $(BIN)/tape down --purge --name "$$(basename "$$folder")"; \
	  done; true; \
	fi
	rm -rf .venv .tape build dist *.egg-info .hypothesis .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
