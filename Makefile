# Every command here first brings .venv up to date (nothing to do: 0.1 s).

PY := .venv/bin/python
CODE := $(wildcard music components pipeline serving client kubeflow benchmarks)

# The `tfx` command calls pip and python by name.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
# Bytecode that is not kept costs 10 s at every start of TFX.
unexport PYTHONDONTWRITEBYTECODE

# Tests share the cores by files; one more than two cores, as they wait for processes that they start.
WORKERS ?= 3
PYTEST := $(PY) -m pytest
SHARED := -n $(WORKERS) --dist loadscope

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow test-all test-debian13 lint format bench serving-real clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

setup: ## Make .venv with everything in it (some minutes, once); STACK=1.16 or 1.21
	@bash scripts/setup.sh

demo: setup ## Train on the built-in data set, serve, and compose songs to hear
	@.venv/bin/segue demo

test: setup ## Run the tests that do not take minutes
	@$(PYTEST) $(SHARED) -m "not slow"

test-slow: setup ## Run the tests that take minutes
	@$(PYTEST) $(SHARED) -m slow

test-all: test test-slow ## Run every test

test-debian13: setup ## As a new user of Debian 13: tests, a pipeline, and models across stacks (root)
	@bash scripts/debian13.sh

lint: setup ## Check style and types
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check . || { echo "'make format' mends the layout"; exit 1; }
	@.venv/bin/mypy $(CODE)

format: setup ## Lay out the code and mend what ruff can mend by itself
	@.venv/bin/ruff check --fix .
	@.venv/bin/ruff format .

bench: setup ## Measure every claim beside its peers
	@$(PY) -m benchmarks

serving-real: setup ## Test TensorFlow Serving itself, from its Docker image
	@bash scripts/serving_real.sh

clean: ## Remove caches and built packages; .venv and what you made stay
	@rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -path './.venv*' -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
