# Everything a developer or a newcomer runs. `make` alone lists it.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.14 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --require-hashes --only-binary :all:
SOURCES := app config workers tests

.DEFAULT_GOAL := help
.PHONY: help run test test-unit lint format bench fuzz rehearse fresh screenshots docs lock clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

run: .venv/run.stamp ## Start everything on this machine, with three simulated venues (PORT=8000)
	@$(BIN)/python -m config.embedded

test: .venv/dev.stamp ## Run the whole test suite
	@$(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder

test-unit: .venv/dev.stamp ## Run the tests of single parts
	@$(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder tests/unit tests/contract

lint: .venv/dev.stamp ## Check style and types
	@$(BIN)/ruff check $(SOURCES)
	@$(BIN)/ruff format --check $(SOURCES)
	@$(BIN)/mypy

format: .venv/dev.stamp ## Format the code
	@$(BIN)/ruff check --fix --quiet $(SOURCES)
	@$(BIN)/ruff format $(SOURCES)

fresh: .venv/dev.stamp ## Do what the README says, in a clean clone and a temporary home
	@$(BIN)/python -m tests.fresh

bench: .venv/dev.stamp ## Measure how fast it is, each figure beside its ceiling (SHORT=1: a trial; SUBJECTS="intake burst")
	@$(BIN)/python -m tests.bench $(if $(SHORT),--short) $(SUBJECTS)

fuzz: .venv/dev.stamp ## Send 100,000 hostile texts to the door, in one process (TEXTS=1000)
	@$(BIN)/python -m tests.fuzz $(TEXTS)

rehearse: .venv/dev.stamp ## Play a series of bad days, and compare with the venues' books (SHORT=1: a sample)
	@$(BIN)/python -m tests.rehearsal $(if $(SHORT),--short) $(SERIES)

screenshots: .venv/dev.stamp ## Picture each page into var/screenshots/; the docs show some
	@$(BIN)/python -m tests.screenshots

docs: .venv/dev.stamp ## Build the documentation as a site, into var/site/; a broken link fails
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --site-dir var/site
	@echo "read it with a search: $(BIN)/python -m http.server --directory var/site"

lock: .venv/dev.stamp ## Pin every dependency, with hashes, for all platforms
	@for name in requirements requirements-embedded requirements-dev; do \
		$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
			--custom-compile-command "make lock" $$name.in --output-file $$name.txt; done

clean: ## Remove what was installed and made here, the data under var/ too
	rm -rf .venv var .pytest_cache .mypy_cache .ruff_cache .hypothesis

.venv/run.stamp: requirements.txt requirements-embedded.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: install it, or name it: make PYTHON=/path/to/python3"; exit 1; }
	@echo "setting up .venv (once)"
	@$(PYTHON) -m venv .venv || { echo "no virtual environment could be made; on Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@$(PIP) -r requirements.txt -r requirements-embedded.txt || { echo "the packages could not be installed: this first run needs the network"; exit 1; }
	@touch $@

.venv/dev.stamp: .venv/run.stamp requirements-dev.txt
	@$(PIP) -r requirements-dev.txt || { echo "the packages could not be installed: the first run needs the network"; exit 1; }
	@touch $@
