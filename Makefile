PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
.DEFAULT_GOAL := help

lock: ## Write requirements.lock anew from every pyproject.toml (needs uv)
	uv pip compile --universal --generate-hashes --no-emit-package scheduler-daemon --no-header --no-annotate --all-extras \
	  --no-emit-index-url --no-emit-find-links -q -o requirements.lock \
	  pyproject.toml extensions/core/pyproject.toml extensions/web/pyproject.toml extensions/example/pyproject.toml
