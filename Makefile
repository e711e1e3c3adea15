# `make` or `make help` lists the targets. Each installs what it needs first (scripts/bootstrap), once.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON_BIN := .venv/bin
KEEP ?=
SERVER ?= prosody
ARGS ?=
FUZZ_SECONDS ?= 60
SOAK_SECONDS ?= 600
WORKERS ?= 2
SOURCES := bridge adapters crypto client companion rig demo tests

.PHONY: help demo test bench soak fuzz lint format lock clean bootstrap bootstrap-ejabberd bootstrap-python

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## */  make \1\t/' | expand -t 18

demo: bootstrap$(if $(filter ejabberd,$(SERVER)),-ejabberd) ## real servers on loopback, twenty encrypted messages, shown in three columns (KEEP=1 leaves it running, SERVER=ejabberd, CLIENT=profanity: an ordinary client behind the companion, CLIENT=profanity-omemo: the same client with its own OMEMO)
	@echo "demo: starting"
	@exec $(PYTHON_BIN)/python -m demo --server $(SERVER) $(if $(CLIENT),--client $(CLIENT)) $(if $(KEEP),--keep) $(ARGS)

test: bootstrap-ejabberd ## the whole test suite: style, types, import contracts, then pytest (ARGS="-k name")
	@$(MAKE) lint BOOTSTRAPPED=1
	@echo "test: pytest"
	@exec $(PYTHON_BIN)/python -m pytest -m "not soak" -n $(WORKERS) --dist loadfile --timeout 600 --durations 10 $(ARGS)

bench: bootstrap-python ## messages per second, CPU per message, negotiation time, memory: JSON and a table
	@exec $(PYTHON_BIN)/python -m tests.bench $(ARGS)

soak: bootstrap ## long runs: every fuzz target for SOAK_SECONDS, and the tests marked `soak`
	@$(MAKE) fuzz FUZZ_SECONDS=$(SOAK_SECONDS) BOOTSTRAPPED=1
	@echo "soak: pytest"
	@exec $(PYTHON_BIN)/python -m pytest -m soak --timeout 0 $(ARGS)

fuzz: bootstrap-python ## every fuzz target for FUZZ_SECONDS each (FUZZ=name for one)
	@exec scripts/fuzz $(FUZZ_SECONDS) $(FUZZ)

lint: bootstrap-python ## ruff, formatting, mypy, import contracts
	@echo "lint: ruff"; $(PYTHON_BIN)/ruff check --quiet $(SOURCES)
	@echo "lint: formatting"; $(PYTHON_BIN)/ruff format --quiet --check $(SOURCES)
	@echo "lint: types"; $(PYTHON_BIN)/mypy
	@echo "lint: import contracts"; $(PYTHON_BIN)/lint-imports

format: bootstrap-python ## rewrite the sources in the project's format
	@$(PYTHON_BIN)/ruff check --quiet --fix $(SOURCES); $(PYTHON_BIN)/ruff format --quiet $(SOURCES)

lock: bootstrap-python ## pin all dependencies anew
	@scripts/lock

clean: ## remove everything that was installed or built in this folder
	@echo "clean: virtual environments, node modules, caches"
	@rm -rf .venv .venv-synapse rig/bob/node_modules .cache build dist *.egg-info \
		.mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

bootstrap: ## install what is missing
	@scripts/bootstrap

bootstrap-ejabberd:
	@scripts/bootstrap ejabberd python synapse bob oidc

bootstrap-python:
	@$(if $(BOOTSTRAPPED),:,scripts/bootstrap python)
