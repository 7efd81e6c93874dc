# make help lists what there is. The environment lives in .venv; nothing else is installed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
.PHONY: help run cluster demo test lint schedules-oracle sim sim-mutants scenarios-rewrite fuzz-ports upgrade-fixture
.PHONY: chaos docker-check bench bench-quick snapshots profile clean

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

$(BIN)/python:
	@$(PYTHON) .ci/make_venv.py $(VENV)

$(VENV)/.run: requirements.lock pyproject.toml | $(BIN)/python
	@echo "installing pinned requirements ..."
	@$(PIP) install -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.run
	@echo "installing pinned development requirements ..."
	@$(PIP) install -r requirements-dev.lock
	@touch $@

run: $(VENV)/.run ## a complete node on this machine, data in ./chronos-data
	@$(BIN)/chronos

cluster: $(VENV)/.run ## three workers and two API processes on loopback, data in ./chronos-cluster
	@$(BIN)/chronos local-cluster

demo: $(VENV)/.run ## forty jobs, a receiver for them, and what arrives
	@$(BIN)/python examples/demo.py

lint: $(VENV)/.dev ## style, types and import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint ## every check and every test
	$(BIN)/python -m pytest -n 2 --cov --cov-report= --cov-fail-under=90 --durations=5
	$(BIN)/coverage report --skip-covered --sort=cover | tail -30

schedules-oracle: $(VENV)/.dev ## ten years by the minute and a thousand expressions in each of ten zones (many minutes)
	CHRONOS_SCHEDULE_EXAMPLES=1000 CHRONOS_SCHEDULE_YEARS=10 $(BIN)/python -m pytest -n 2 --timeout=0 tests/schedules

SEEDS ?= 1000
FROM ?= 0
sim: $(VENV)/.dev ## SEEDS=n FROM=first: whole clusters simulated under faults, each from one number
	$(BIN)/python -m tests.sim run --seeds $(SEEDS) --from $(FROM)

sim-mutants: $(VENV)/.dev ## rules broken on purpose, which the simulation has to notice
	$(BIN)/python -m tests.sim mutants

scenarios-rewrite: $(VENV)/.dev ## write into tests/scenarios what happens today; read the difference before you commit it
	$(BIN)/python -m tests.scenarios

upgrade-fixture: $(VENV)/.dev ## the data directory that later versions are tested with: once, when a version is released
	$(BIN)/python -m tests.upgrade.make_fixture

chaos: $(VENV)/.dev ## KILLS=n SECONDS=n FAULTS=kill,cut,... SEED=n: real workers under faults (as root, with networks that fail)
	$(BIN)/python -m tests.cluster $(if $(SECONDS),--seconds $(SECONDS)) $(if $(KILLS),--kills $(KILLS)) \
	  $(if $(FAULTS),--faults $(FAULTS)) $(if $(SEED),--seed $(SEED))

TRIES ?= 100000
fuzz-ports: $(VENV)/.dev ## TRIES=n SEED=s: bytes no peer would send, at the Raft port and the control port
	PORT_FUZZ_TRIES=$(TRIES) PORT_FUZZ_SEED=$(or $(SEED),1) $(BIN)/python -m pytest -n 2 --timeout=0 -rP --show-capture=stdout \
	  -k stranger_sends tests/raft/test_port_fuzz.py tests/worker/test_control_fuzz.py

docker-check: ## build the image and try it with a real engine, started here if none runs (as root, on Debian)
	@docker/check.sh

bench: $(VENV)/.dev ## every measurement at full length (hours); the results go into docs/performance.md
	$(BIN)/python -m bench all --json bench/results
	$(BIN)/python -m bench report bench/results --into docs/performance.md

bench-quick: $(VENV)/.dev ## every measurement, short and small: to see that they work (5 minutes)
	$(BIN)/python -m bench all --quick

SIZE ?= 2000
snapshots: $(VENV)/.dev ## SIZE=megabytes: a follower emptied beside a large database, either side killed in the middle
	$(BIN)/python -m bench snapshot --size $(SIZE)

profile: $(VENV)/.dev ## where the microseconds of an execution go, in a worker under load
	$(BIN)/python -m bench profile

clean: ## remove the environment and caches, keep data
	rm -rf $(VENV) .mypy_cache .ruff_cache .import_linter_cache .coverage* build *.egg-info
