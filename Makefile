# Everything is set up on first use, in this checkout: .venv for Python, converters/targets/tfjs/js/node_modules for JavaScript.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

# The first Python here that TensorFlow 2.19 exists for; `make PYTHON=...` names another.
PYTHON ?= $(shell for p in python3 python3.12 python3.11 python3.10; do \
	"$$p" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null && echo "$$p" && break; done)
BIN := .venv/bin
JS := converters/targets/tfjs/js
READY := .venv/.ready $(JS)/node_modules/.ready

.PHONY: help setup deploy-all ui test mutants bench lint type format lock doctor clean

help: ## Show what there is to make
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r name text; do printf '  make %-12s %s\n' "$$name" "$$text"; done

setup: $(READY) ## Install everything into this checkout

deploy-all: $(READY) ## Build, convert, check and release every model in configs/
	@$(BIN)/fanout deploy --all

# The password goes by the environment: arguments are seen by every user of the machine. exec, so that a signal arrives.
ui: export FANOUT_AUTH := $(or $(AUTH),$(FANOUT_AUTH))
ui: $(READY) ## Prefect's UI, a worker and the nightly schedules (HOST=, PORT=, AUTH=user:password)
	@exec $(BIN)/fanout ui $(if $(HOST),--host $(HOST)) $(if $(PORT),--port $(PORT))

test: $(READY) ## Run all tests
	@$(BIN)/pytest

mutants: $(READY) ## Mutate releases in every way known, and check them
	@$(BIN)/pytest --mutants all tests/whole/test_sensitivity.py tests/whole/test_sensitivity_digits.py tests/whole/test_false_alarms.py

bench: $(READY) ## Time it against a plain script and the command lines (ROUNDS=5)
	@$(BIN)/python tests/benchmarks/bench.py --rounds $(or $(ROUNDS),5)

lint: $(READY) ## Check style and imports
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

type: $(READY) ## Check types
	@$(BIN)/mypy

format: $(READY) ## Format the code
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

doctor: $(READY) ## Say which runtimes are here
	@$(BIN)/fanout doctor

lock: ## Resolve requirements.lock from pyproject.toml anew (needs uv)
	uv pip compile -q --universal --python-version 3.10 --generate-hashes --no-emit-index-url \
		--custom-compile-command "make lock" --all-extras pyproject.toml -o requirements.lock

clean: ## Remove what was installed; releases stay
	rm -rf .venv $(JS)/node_modules

.venv/.ready: requirements.lock pyproject.toml
	@if [ -z "$(PYTHON)" ]; then \
		echo "Python 3.10, 3.11 or 3.12 is needed and none is on PATH; install one, or name it: make PYTHON=/path/to/python3.11" >&2; exit 2; fi
	@"$(PYTHON)" -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 10) <= v <= (3, 12) else f"Python {v[0]}.{v[1]} is not supported: TensorFlow 2.19 needs 3.10, 3.11 or 3.12; name one with make PYTHON=...")'
	@echo "Installing Python packages into .venv (a few minutes the first time) ..." >&2
	@[ -x $(BIN)/python ] || "$(PYTHON)" -m venv .venv
# The lock is complete, so pip need not resolve anything (and pip's resolver refuses extras under hashes).
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(JS)/node_modules/.ready: $(JS)/package-lock.json .venv/.ready
	@echo "Installing JavaScript packages into $(JS)/node_modules ..." >&2
	@cd $(JS) && PATH="$(CURDIR)/$(BIN):$$PATH" npm ci --silent --no-audit --no-fund
	@touch $@
