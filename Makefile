# The two commands of the quickstart are `make demo` and `make test`; `make help` lists the rest.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

UV_VERSION := 0.13.9
# uv takes the machine's certificate store, so that a company's own authority is trusted.
export UV_SYSTEM_CERTS ?= true
export UV_PYTHON_DOWNLOADS := never
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export PYTHONPATH := $(CURDIR)
export PYTHONUNBUFFERED := 1
TOOLS := .venv/.tools
UV := $(TOOLS)/bin/uv
STAGE := tests/stage
CLUSTER := python -m tests.cluster
# Runs a command with the cluster's addresses in its environment.
IN_CLUSTER := $(CLUSTER) exec --
CODE := operator model tests benchmarks

.PHONY: help
help: ## Show what can be made
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# ---------------------------------------------------------------- the two commands

.PHONY: demo
demo: venv ## Cluster up, train, serve, send line traffic, promote a good canary, roll back bad ones
	@$(STAGE) "cluster" "20 to 25 minutes cold, 2 minutes from caches, seconds when it is up" $(CLUSTER) up
	@$(STAGE) "images and chart" "6 minutes cold, seconds from caches" $(MAKE) --no-print-directory install
	@$(STAGE) "demo" "about 12 minutes" $(IN_CLUSTER) python -m tests.demo

.PHONY: test
test: venv ## All tests: the quick gate, then integration and end-to-end on the cluster
	@start=$$SECONDS; \
	$(MAKE) --no-print-directory verify && \
	$(STAGE) "cluster" "20 to 25 minutes cold, 2 minutes from caches, seconds when it is up" $(CLUSTER) up && \
	$(STAGE) "images and chart" "6 minutes cold, seconds from caches" $(MAKE) --no-print-directory install && \
	$(STAGE) "integration tests" "20 minutes" $(MAKE) --no-print-directory integration && \
	$(STAGE) "trained versions" "6 minutes cold, seconds from caches" $(IN_CLUSTER) python -m tests.harness.lab && \
	$(STAGE) "end-to-end tests" "18 minutes" $(MAKE) --no-print-directory e2e && \
	printf '\nmake test: everything passed in %d s\n' $$((SECONDS - start))

.PHONY: down
down: venv ## Stop the local cluster and clean up after it (caches stay; `make clean` removes them too)
	@$(CLUSTER) down

# ---------------------------------------------------------------- the quick gate

.PHONY: verify
verify: venv ## The quick local gate: format, lint, types, layers, unit tests, generated files, charts
	@$(STAGE) "format, lint, types, layers" "1 minute" $(MAKE) --no-print-directory lint
	@$(STAGE) "unit tests" "3 minutes" $(MAKE) --no-print-directory unit
	@$(STAGE) "generated files and chart" "seconds; 2 minutes when helm is built first" $(MAKE) --no-print-directory crds-check helm-lint

.PHONY: format
format: venv ## Format the code in place
	@ruff check --fix --quiet $(CODE)
	@ruff format --quiet $(CODE)

.PHONY: lint
lint: venv ## Format check, lint, strict types, import layers, Dockerfile
	@ruff format --check $(CODE)
	@ruff check $(CODE)
	@mypy
	@lint-imports --no-cache
	@hadolint Dockerfile

.PHONY: unit
unit: venv ## Unit tests, with the coverage floor of the pure layers
	@pytest tests/unit -q --numprocesses auto --maxprocesses 4 --dist loadfile --cov --cov-report=term

.PHONY: crds
crds: venv ## Generate crds/ and the chart's copy from the types
	@python -m puzzle_operator.api.crd

.PHONY: crds-check
crds-check: venv ## Fail when crds/ or the chart's copy differ from the types
	@python -m puzzle_operator.api.crd --check

.PHONY: helm-lint
helm-lint: venv ## Lint and render the chart with its defaults and with every file of its ci/
	@helm=$$($(CLUSTER) tool helm); \
	for values in charts/puzzle-operator/values.yaml charts/puzzle-operator/ci/*.yaml; do \
	  "$$helm" lint --strict --quiet charts/puzzle-operator -f $$values && \
	  "$$helm" template check charts/puzzle-operator -n puzzle-system -f $$values >/dev/null && \
	  echo "helm: charts/puzzle-operator renders with $$values" || exit 1; \
	done

# ---------------------------------------------------------------- the cluster and what runs on it

.PHONY: cluster
cluster: venv ## Bring the local cluster up (or check the one that KUBECONFIG names)
	@$(CLUSTER) up

.PHONY: status
status: venv ## Say what is up in the local cluster
	@$(CLUSTER) status

.PHONY: install
install: venv ## Build the images, bring them to the cluster, helm upgrade --install the chart
	@$(IN_CLUSTER) python -m tests.harness.install

.PHONY: chaos
chaos: venv ## On the cluster: Prometheus stopped for 10 minutes in mid-canary, the operator killed 50 times
	@$(STAGE) "cluster" "20 to 25 minutes cold, 2 minutes from caches, seconds when it is up" $(CLUSTER) up
	@PUZZLE_CHAOS_OUTAGE_SECONDS=600 PUZZLE_CHAOS_KILLS=50 $(STAGE) "chaos" "25 minutes" \
		$(IN_CLUSTER) pytest tests/integration/rollouts/test_chaos.py -q -s

.PHONY: faults
faults: venv ## On the cluster: pods and processes of a training killed, the store away for a minute, full disks, clocks that jump
	@$(STAGE) "cluster" "20 to 25 minutes cold, 2 minutes from caches, seconds when it is up" $(CLUSTER) up
	@$(STAGE) "images and chart" "6 minutes cold, seconds from caches" $(MAKE) --no-print-directory install
	@PUZZLE_FAULTS_OUTAGE_SECONDS=60 $(STAGE) "faults" "15 minutes" \
		$(IN_CLUSTER) pytest tests/integration/rollouts/test_faults.py tests/integration/monitor/test_full_disk.py \
		tests/integration/retraining/test_retrain.py tests/e2e/test_faults.py -q -s

.PHONY: story
story: venv ## On the cluster: a line that retrains its own model, from drift to promotion, and wrong labels that never reach it
	@$(STAGE) "cluster" "20 to 25 minutes cold, 2 minutes from caches, seconds when it is up" $(CLUSTER) up
	@$(STAGE) "images and chart" "6 minutes cold, seconds from caches" $(MAKE) --no-print-directory install
	@$(STAGE) "story" "about 10 minutes" $(IN_CLUSTER) python -m tests.story

.PHONY: integration
integration: venv ## Tests against the real API server, registry and TorchServe
	@$(IN_CLUSTER) pytest tests/integration -q

.PHONY: e2e
e2e: venv ## Tests of whole rollouts: real serving, promotion, rollback, hand edits, restarts
	@$(IN_CLUSTER) pytest tests/e2e -q --no-header -s

# ---------------------------------------------------------------- the house

.PHONY: venv
venv: .venv/.stamp ## Make .venv with everything the project needs (uv, from uv.lock)

$(UV): tests/bootstrap
	@tests/bootstrap && touch $@
.venv/.stamp: pyproject.toml uv.lock $(UV)
	@echo "[venv] installing the locked packages into .venv (about 2 minutes the first time: torch is 4.5 GB)"
	@$(UV) sync --quiet --frozen --all-extras --inexact --python .venv/bin/python
	@touch $@

.PHONY: lock
lock: $(UV) ## Resolve pyproject.toml into uv.lock
	@$(UV) lock

.PHONY: clean
clean: ## Stop the local cluster and delete its caches, the trained demo versions and .venv
	@if [ -x .venv/bin/python ]; then env -u KUBECONFIG $(CLUSTER) down; fi
	@cache="$${PUZZLE_STATE:-$${XDG_CACHE_HOME:-$$HOME/.cache}/puzzlemodel}"; echo "deleting $$cache and .venv"; rm -rf "$$cache" .venv
