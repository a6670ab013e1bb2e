# Everything a developer types. `make help` lists it.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SETUP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup lock generate check format test test-unit test-api test-flux test-node demo demo-down \
        cluster-up cluster-down image image-reproducible sbom conformance bench bench-peers bench-start bench-scale chaos clean

help: ## Show this help
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  \033[1m%-18s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Dependencies come from the lock, with their hashes; the project itself is installed as editable.
$(SETUP): requirements-dev.lock
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Towline needs Python 3.11 or later; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

setup: $(SETUP) ## Make .venv with all dependencies

lock: $(SETUP) ## Resolve the dependencies anew and lock them with hashes
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --extra cluster --extra parquet --group dev pyproject.toml -o requirements-dev.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes hack/images/build.in -o hack/images/build.lock

generate: $(SETUP) ## Write what is generated from the models: crds/, docs/reference/, the data model's tables
	$(BIN)/python -m towline.api.generate crds
	$(BIN)/python -m hack.chart
	$(BIN)/python -m towline_connectors.entities.docs docs/data-model.md
	$(BIN)/python -m towline_connectors.kit.overview docs/connectors.md

check: $(SETUP) ## Lint, types, layers of imports, generated files up to date
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m towline.api.generate --check crds
	$(BIN)/python -m hack.chart --check
	$(BIN)/python -m towline_connectors.kit.overview --check docs/connectors.md

format: $(SETUP) ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: $(SETUP) ## All tests: units, real API server, real node (builds the cluster's programs at the first run)
	$(BIN)/python -m pytest -n 3 --dist loadscope --no-loadscope-reorder tests

test-unit: $(SETUP) ## Tests without a cluster (a minute)
	$(BIN)/python -m pytest tests --ignore=tests/api --ignore=tests/node --ignore=tests/chaos

test-api: $(SETUP) ## Tests on a real API server
	$(BIN)/python -m pytest tests/api

test-flux: $(SETUP) ## The GitOps examples under Flux' own controller (builds it at the first run: some minutes)
	TOWLINE_BUILD_FLUX=1 $(BIN)/python -m pytest tests/node/test_flux.py

test-node: $(SETUP) ## Tests on a real node, end to end
	$(BIN)/python -m pytest tests/node

cluster-up: $(SETUP) ## Start the development cluster and print its kubeconfig
	$(BIN)/python -m tests.cluster up

cluster-down: $(SETUP) ## Stop the development cluster and remove what it made
	$(BIN)/python -m tests.cluster down

image: $(SETUP) ## Build the image and load it into the development cluster
	$(BIN)/python -m tests.cluster image

image-reproducible: $(SETUP) ## Build the image twice from nothing and compare its layers
	$(BIN)/python -m hack.images.reproduce

sbom: $(SETUP) ## What is in the image, as CycloneDX, on standard output
	@$(BIN)/python -m hack.images.sbom

demo: $(SETUP) ## Cluster, Towline, simulated systems, integrations, and the data that they brought
	$(BIN)/python -m hack.demo up

demo-down: $(SETUP) ## Remove all that `make demo` made
	$(BIN)/python -m hack.demo down

conformance: $(SETUP) ## The conformance suite for all connectors, and docs/connectors.md with its table
	$(BIN)/towline connector test --all --write connectors/towline_connectors/kit/conformance/results.json
	$(BIN)/python -m towline_connectors.kit.overview docs/connectors.md

bench: $(SETUP) ## Speed and memory of the data path, beside a hand-written script
	$(BIN)/python -m tests.bench.engine

bench-peers: $(SETUP) ## The engine beside Airbyte's CDK, Singer's SDK and dlt, each in an environment of its own
	$(BIN)/python -m tests.bench.peers

bench-start: $(SETUP) ## From SyncJob to data on a real node, beside a bare Job
	$(BIN)/python -m tests.bench.start

bench-scale: $(SETUP) ## 10,000 Integrations, 1,000 SyncJobs at once (ARGS="--integrations 1000" for a quick look)
	$(BIN)/python -m tests.bench.scale $(ARGS)

chaos: $(SETUP) ## Faults against a real API server, a line a promise (ARGS="--size 30" for an hour, --seed to repeat)
	$(BIN)/python -m tests.chaos $(ARGS)

clean: ## Remove what the checks and tests leave in the checkout
	rm -rf .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis build dist
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
