.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin
READY := $(VENV)/.ready

# The SDKs of other languages; TASKER_SKIP_SDKS=ruby,rust leaves some out on purpose.
COMMA := ,
SKIPPED := $(strip $(subst $(COMMA), ,$(TASKER_SKIP_SDKS)))
LANGUAGES := typescript ruby rust
ifneq ($(filter-out $(LANGUAGES),$(SKIPPED)),)
$(error TASKER_SKIP_SDKS: $(filter-out $(LANGUAGES),$(SKIPPED)) is not one of $(LANGUAGES))
endif
ifneq ($(and $(CI),$(SKIPPED)),)
$(error TASKER_SKIP_SDKS is set, but CI leaves nothing out)
endif
SDKS := $(filter-out $(SKIPPED),$(LANGUAGES))

# Cargo has a job server of its own.
CARGO := env -u MAKEFLAGS cargo

help:  ## Show the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

setup: $(READY)  ## Install everything into .venv (all other commands do this first)

$(READY): pyproject.toml requirements/dev.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Tasker needs Python 3.11 or later; set PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(RUN)/python -m pip install --quiet --require-hashes -r requirements/dev.lock
	$(RUN)/python -m pip install --quiet --no-deps --editable .
	@touch $@

sdks: $(SDKS:%=sdk-%)  ## Build the TypeScript, Ruby and Rust SDKs, and install their languages where apt-get can

demo: $(READY)  ## Run the example workflows on an embedded PostgreSQL
	$(RUN)/python -m examples

demo-polyglot: $(READY) sdks  ## Run one workflow whose steps are in Python, TypeScript, Ruby and Rust
	$(RUN)/python -m examples.polyglot

test: $(READY) sdks  ## Run all tests, those of the SDKs, too
	$(if $(SDKS),$(MAKE) --jobs=3 --output-sync $(SDKS:%=test-%))
	$(RUN)/python -m pytest -n auto

check: $(READY) sdks $(SDKS:%=check-%)  ## Lint, types and import layers
	$(RUN)/ruff format --check .
	$(RUN)/ruff check .
	$(RUN)/mypy
	$(RUN)/lint-imports

sdk-typescript: sdks/typescript/dist/.built

sdks/typescript/dist/.built: $(shell find sdks/typescript \( -name node_modules -o -name dist \) -prune -o -type f -print)
	@sdks/toolchain.sh typescript
	cd sdks/typescript && { [ node_modules/.package-lock.json -nt package-lock.json ] || npm ci --no-audit --no-fund; }
	cd sdks/typescript && npm run --silent build
	@touch $@

sdk-ruby:
	@sdks/toolchain.sh ruby

sdk-rust:
	@sdks/toolchain.sh rust
	cd sdks/rust && $(CARGO) build --locked --quiet

test-typescript: sdk-typescript
	cd sdks/typescript && npm test --silent

test-ruby: sdk-ruby
	cd sdks/ruby && rspec

test-rust: sdk-rust
	cd sdks/rust && $(CARGO) test --locked --quiet

check-typescript: sdk-typescript
	cd sdks/typescript && npm run --silent check

check-ruby: sdk-ruby
	cd sdks/ruby && rubocop --format quiet
	cd sdks/ruby && ! find lib exe live spec -type f | xargs -n 1 ruby -wc 2>&1 | grep -v '^Syntax OK$$'

check-rust: sdk-rust
	cd sdks/rust && $(CARGO) fmt --check && $(CARGO) clippy --locked --quiet --all-targets -- -D warnings

bench: $(READY) sdks  ## Measure, beside the bare SQL loop and DBOS
	$(if $(filter rust,$(SDKS)),cd sdks/rust && $(CARGO) build --locked --quiet --release -p live-worker)
	$(RUN)/python -m pip install --quiet --require-hashes -r requirements/bench.lock
	$(RUN)/python -m benchmarks $(ARGS)

lock: $(READY)  ## Renew the locked dependencies
	$(RUN)/python -m pip install --quiet uv
	$(RUN)/uv pip compile pyproject.toml --group dev --universal --generate-hashes --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" --upgrade -q -o requirements/dev.lock
	$(RUN)/uv pip compile pyproject.toml --group dev --extra bench --universal --generate-hashes --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" --upgrade -q -o requirements/bench.lock

clean:  ## Remove everything that was installed or built, and the embedded database
	rm -rf $(VENV) .tasker .pytest_cache .mypy_cache .ruff_cache
	rm -rf sdks/typescript/node_modules sdks/typescript/dist sdks/rust/target
	rm -rf examples/polyglot/typescript/node_modules examples/polyglot/typescript/dist

.PHONY: help setup sdks demo demo-polyglot test check bench lock clean \
	$(LANGUAGES:%=sdk-%) $(LANGUAGES:%=test-%) $(LANGUAGES:%=check-%)
