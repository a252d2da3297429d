# Everything is set up on first use, in this checkout: .venv for Python, converters/javascript/js/node_modules for JavaScript.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

# The first Python here that TensorFlow 2.19 exists for; `make PYTHON=...` names another.
PYTHON ?= $(shell for p in python3 python3.12 python3.11 python3.10; do \
	"$$p" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null && echo "$$p" && break; done)
BIN := .venv/bin
JS := converters/javascript/js
# Prints what a command does only if it fails.
QUIETLY := $(SHELL) -c 'said=$$("$$@" 2>&1) || { printf "%s\n" "$$said" >&2; exit 1; }' quietly
PIP := $(BIN)/python -m pip install --disable-pip-version-check
UV := $(BIN)/uv pip install --python $(BIN)/python
# The lock is complete, so nothing is resolved (pip would ask for what [tool.uv] leaves out).
install = $(QUIETLY) $(1) --no-deps --require-hashes -r requirements.lock && $(QUIETLY) $(1) --no-deps --no-build-isolation -e .
READY := .venv/.ready $(JS)/node_modules/.ready

.PHONY: help setup deploy-all ui test quick mutants soak bench fitted docs lint type format lock schema doctor clean

help: ## Show what there is to make
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r name text; do printf '  make %-12s %s\n' "$$name" "$$text"; done

setup: $(READY) ## Install everything into this checkout

deploy-all: $(READY) ## Build, convert, check and release every model in configs/
	@$(BIN)/fanout deploy --all

# A password goes by the environment or a file: arguments, make's own too, are seen by every user of the machine.
ifneq ($(filter command,$(origin AUTH) $(origin FANOUT_AUTH)),)
$(error a password in make's arguments is seen by every user of this machine; choose another, and give it by \
FANOUT_AUTH_FILE=PATH, a file that only you may read, or as FANOUT_AUTH in the environment)
else ifneq ($(and $(filter ui,$(MAKECMDGOALS)),$(AUTH)),)
$(error AUTH is not read; give user and password by FANOUT_AUTH_FILE=PATH, a file that only you may read, or as FANOUT_AUTH \
in the environment)
endif

# exec, so that a signal arrives.
ui: $(READY) ## Prefect's UI, a worker and the nightly schedules (HOST=, PORT=, FANOUT_AUTH_FILE=file with user:password)
	@exec $(BIN)/fanout ui $(if $(HOST),--host $(HOST)) $(if $(PORT),--port $(PORT))

test: $(READY) ## Run all tests
	@$(BIN)/pytest

quick: $(READY) ## Run what needs neither TensorFlow nor server nor browser, and one tiny model to every target
	@$(BIN)/pytest -q -m "smoke or not (tensorflow or server or browser)"

mutants: $(READY) ## Mutate releases in every way known, and check them
	@$(BIN)/pytest --mutants all tests/whole/test_sensitivity.py tests/whole/test_sensitivity_digits.py tests/whole/test_false_alarms.py

soak: $(READY) ## Kill runs, corrupt releases, fill the disk, switch versions, deploy 200 times and fuzz, for some hours (MANY=0.1: a tenth of it)
	@for program in corruptions switching uploads together disk kills long_runs; do \
		PYTHONPATH=.:tests/support $(BIN)/python tests/soak/$$program.py --many $(or $(MANY),1); done
	@FUZZ_SECONDS=600 $(BIN)/pytest -n0 -q tests/test_fuzz.py

bench: $(READY) ## Time it against a plain script, the command lines and its last run, or another checkout (ROUNDS=5, AGAINST=DIR, MODEL=, ALONE=1)
	@PYTHONPATH=. $(BIN)/python tests/benchmarks/bench.py --rounds $(or $(ROUNDS),5) $(if $(AGAINST),--against $(AGAINST)) \
		$(if $(MODEL),--model $(MODEL)) $(if $(ALONE),--alone)

fitted: $(READY) ## Compare int8 calibrated on real, fitted and normally distributed inputs, of small trained models
	@PYTHONPATH=tests/support $(BIN)/python tests/benchmarks/fitted.py

docs: $(READY) ## Write what pages say of the code, and build them: build/docs/index.html
	@$(BIN)/python docs/generate.py
	@NO_MKDOCS_2_WARNING=1 $(QUIETLY) $(BIN)/mkdocs build

lint: $(READY) ## Check style and imports
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(QUIETLY) $(BIN)/lint-imports --no-cache

type: $(READY) ## Check types
	@$(BIN)/mypy

format: $(READY) ## Format the code
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

schema: $(READY) ## Write the JSON Schema of configs anew, with the targets of all packages installed here
	@$(BIN)/python -m converters.config.schema

doctor: $(READY) ## Say which runtimes are here
	@$(BIN)/fanout doctor

lock: .venv/.ready ## Resolve both lock files anew, keeping versions that still fit (UPGRADE=1 for the latest)
	@for lock in "requirements-setup.lock --group setup" "requirements.lock --all-extras pyproject.toml"; do \
		$(BIN)/uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-emit-index-url \
			--custom-compile-command "make lock" $(if $(UPGRADE),--upgrade) -o $$lock; done

clean: ## Remove what was installed; releases stay
	rm -rf .venv $(JS)/node_modules

.venv/.ready: requirements.lock requirements-setup.lock pyproject.toml
	@if [ -z "$(PYTHON)" ]; then \
		echo "Python 3.10, 3.11 or 3.12 is needed and none is on PATH; install one, or name it: make PYTHON=/path/to/python3.11" >&2; exit 2; fi
	@"$(PYTHON)" -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 10) <= v <= (3, 12) else f"Python {v[0]}.{v[1]} is not supported: TensorFlow 2.19 needs 3.10, 3.11 or 3.12; name one with make PYTHON=...")'
	@echo "Installing Python packages into .venv ..." >&2
	@[ -x $(BIN)/python ] || "$(PYTHON)" -m venv .venv
# What takes pip minutes takes uv seconds; pip does it where uv cannot: if it has no wheel for this platform, or only pip is
# told of the index to use.
	@$(QUIETLY) $(PIP) --require-hashes --only-binary :all: -r requirements-setup.lock 2>/dev/null && $(call install,$(UV)) \
		|| { echo "Installing them without uv (a few minutes) ..." >&2; $(call install,$(PIP)); }
# uv writes no bytecode, nor does Python where PYTHONDONTWRITEBYTECODE is set, as in many containers: then every process compiles
# anew what it imports, a quarter of all that a small deploy takes.
	-@$(QUIETLY) env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -c 'import converters.processes.preload, flows.cli, flows.deploy, flows.own_server, flows.ui.supervise'
	@touch $@

$(JS)/node_modules/.ready: $(JS)/package-lock.json | .venv/.ready
	@echo "Installing JavaScript packages into $(JS)/node_modules ..." >&2
	@cd $(JS) && PATH="$(CURDIR)/$(BIN):$$PATH" && $(QUIETLY) npm ci --no-audit --no-fund
	@touch $@
