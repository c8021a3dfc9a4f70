PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PACKAGES := -e . -e extensions/core -e extensions/web -e extensions/example
TYPED := scheduler_daemon extensions/core/scheduler_core extensions/web/scheduler_web extensions/example/scheduler_example
.DEFAULT_GOAL := help
.PHONY: help run test check format lock bench chaos verify-cron clean install uninstall test-systemd

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(STAMP) ## Set everything up and run the daemon: embedded PostgreSQL, docs/ published as a site
	@exec $(BIN)/scheduler-daemon run --config config/config.yaml

test: $(STAMP) ## Set up what is missing and run all tests
	@$(BIN)/pytest -n 2 --dist loadfile

check: $(STAMP) ## Format, lint, types, layers, and the shipped configuration
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy $(TYPED)
	$(BIN)/lint-imports --no-logo
	$(BIN)/scheduler-daemon check --config config/config.yaml

format: $(STAMP) ## Format, and mend what ruff can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP) ## Print the published figures beside the peers' (minutes; a quiet machine)
	$(BIN)/python benchmarks/lateness.py
	$(BIN)/python benchmarks/workers.py
	$(BIN)/python benchmarks/cli.py

chaos: $(STAMP) ## Five minutes of kills, stops, cuts and clock steps; then the accounts (SEED=n SECONDS=n)
	PYTHONPATH=tests/chaos $(BIN)/python tests/chaos/suite.py $(if $(SEED),--seed $(SEED)) --seconds $(or $(SECONDS),300)

verify-cron: $(STAMP) ## The cron engine against CronSim, over every zone and transition 2000-2040 (25 minutes)
	VERIFY_CRON=full $(BIN)/python -m pytest tests/unit/test_cron_*.py --timeout 0

install: ## Install or upgrade the systemd service, as root: make install PYTHON=/usr/bin/python3
	@PYTHON="$(PYTHON)" sh systemd/manage.sh install

uninstall: ## Remove the service, as root; data and configuration stay
	@sh systemd/manage.sh uninstall

test-systemd: $(STAMP) ## Install, run, break, upgrade and remove the service under a real systemd (root; minutes)
	@TEST_SYSTEMD=1 $(BIN)/pytest tests/systemd

lock: ## Write requirements.lock anew from every pyproject.toml (needs uv)
	uv pip compile --universal --generate-hashes --no-emit-package scheduler-daemon --no-header --no-annotate --all-extras \
	  --no-emit-index-url --no-emit-find-links -q -o requirements.lock \
	  pyproject.toml extensions/core/pyproject.toml extensions/web/pyproject.toml extensions/example/pyproject.toml

clean: ## Remove the environment and everything that runs left behind (var/ too: the embedded database!)
	rm -rf $(VENV) var build .mypy_cache .ruff_cache .import_linter_cache .hypothesis

$(STAMP): requirements.lock pyproject.toml $(wildcard extensions/*/pyproject.toml)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; $(PYTHON) is `$(PYTHON) -V`. Name another: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "Python's venv module is missing. On Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@echo "Setting up $(VENV) from requirements.lock (once; half a minute) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation $(PACKAGES)
	@touch $@
