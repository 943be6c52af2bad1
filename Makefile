# One command each, the same here and in CI. `make help` lists them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Two per processor: real servers and workers spend much of their time waiting for one another.
TEST_WORKERS ?= $(shell echo $$((2 * $$(getconf _NPROCESSORS_ONLN))))

.DEFAULT_GOAL := help
.PHONY: help venv run test test-slow test-machine faults check proto lint types format bench bench-page lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(STAMP) ## .venv with everything

$(STAMP): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)

proto: venv ## regenerate the stubs
	$(BIN)/python proto/generate.py

run: proto ## serve configs/demo.yaml
	$(BIN)/runner serve --config configs/demo.yaml

test: venv ## the tests, under five minutes
	$(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadfile -m "not slow"

test-slow: venv ## the slow tests alone
	$(BIN)/python -m pytest -n 2 --dist loadfile -m slow

test-machine: venv ## cgroup v2 and a power failure, in a virtual machine (see tests/machine/prepare.sh)
	RUNNER_TESTS_MACHINE=1 $(BIN)/python -m pytest tests/machine

SCHEDULES ?= 1000
FIRST ?= 1
FAULT_WORKERS ?= 2

faults: venv ## the fault suite: SCHEDULES=1000 from seed FIRST=1 on
	FAULT_SCHEDULES=$(SCHEDULES) FAULT_FIRST_SEED=$(FIRST) FAULT_POSTGRES_SCHEDULES=100 FAULT_CONTAINER_SCHEDULES=100 \
	FAULT_MODEL_EXAMPLES=200 FAULT_BATCHES=6 FAULT_CROWD=5000 FAULT_MUTANTS=all FAULT_CALLS=all FAULT_LOG_MB=1000 $(BIN)/python -m pytest tests/faults -n $(FAULT_WORKERS) --dist load

check: lint types test ## everything that CI checks

lint: proto
	$(BIN)/buf format --diff --exit-code proto
	$(BIN)/buf lint runner/descriptors.binpb --config buf.yaml --path runner/v1 --path runner/gateway --path runner/dialects
	@tag=$$(git describe --tags --abbrev=0 2>/dev/null); \
	if [ -n "$$tag" ]; then PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python proto/breaking.py "$$tag"; \
	else echo "buf breaking: skipped, there is no tag to compare with"; fi
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: proto
	$(BIN)/mypy

format: venv ## format protos and Python
	$(BIN)/buf format -w proto
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: proto ## figures of this machine, as ratios measured in one run
	$(BIN)/python -m benchmarks

bench-page: proto ## the same, written into docs/reference/benchmarks.md; let nothing else run
	$(BIN)/python -m benchmarks --page docs/reference/benchmarks.md

lock: venv ## pin the newest versions that pyproject.toml takes (needs uv)
	uv pip compile --quiet --upgrade --generate-hashes --no-header --universal --python-version 3.11 \
		--all-extras --group dev pyproject.toml -o requirements.lock

clean: ## remove what was made
	rm -rf $(VENV) runner dist build .mypy_cache .ruff_cache .pytest_cache
