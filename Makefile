.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin
READY := $(VENV)/.ready

help:  ## Show the commands
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

setup: $(READY)  ## Install everything into .venv (all other commands do this first)

$(READY): pyproject.toml requirements/dev.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Tasker needs Python 3.11 or later; set PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(RUN)/python -m pip install --quiet --require-hashes -r requirements/dev.lock
	$(RUN)/python -m pip install --quiet --no-deps --editable .
	@touch $@

demo: $(READY)  ## Run the example workflows on an embedded PostgreSQL
	$(RUN)/python -m examples

test: $(READY)  ## Run all tests
	$(RUN)/python -m pytest -n auto

check: $(READY)  ## Lint, types and import layers
	$(RUN)/ruff format --check .
	$(RUN)/ruff check .
	$(RUN)/mypy
	$(RUN)/lint-imports

bench: $(READY)  ## Measure, beside the bare SQL loop and DBOS
	$(RUN)/python -m pip install --quiet --require-hashes -r requirements/bench.lock
	$(RUN)/python -m benchmarks $(ARGS)

lock: $(READY)  ## Renew the locked dependencies
	$(RUN)/python -m pip install --quiet uv
	$(RUN)/uv pip compile pyproject.toml --group dev --universal --generate-hashes --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" --upgrade -q -o requirements/dev.lock
	$(RUN)/uv pip compile pyproject.toml --group dev --extra bench --universal --generate-hashes --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" --upgrade -q -o requirements/bench.lock

clean:  ## Remove the environment and the embedded database
	rm -rf $(VENV) .tasker .pytest_cache .mypy_cache .ruff_cache

.PHONY: help setup demo test check bench lock clean
