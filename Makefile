# `make help` lists the targets. They share one .venv, made by .ci/env.sh.
BIN := .venv/bin
export OMP_NUM_THREADS := 1

.DEFAULT_GOAL := help
.PHONY: help env demo demo-own test test-all campaign lint bench validate results-density results-flow clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

env: ## create or refresh .venv
	@.ci/env.sh

demo: env ## train, evaluate and draw HypeMARL and MARL on density-1d
	$(BIN)/hypemarl demo

demo-own: env ## the same for a PDE in one file, demos/own_pde.py, beside the best schedules
	$(BIN)/hypemarl demo demos/own_pde.py --train apg --episodes 150 --yardsticks 150 --seeds 0 1 2 --run runs/own

test: env lint ## run the fast tests with coverage, in two processes
	$(BIN)/python -m pytest -m "not slow" --cov -n 2 --dist loadscope

test-all: env lint ## run all tests, with coverage
	$(BIN)/python -m pytest --cov

campaign: env ## test kills, damaged files, hostile inputs, long episodes; write docs/reliability.md (21 minutes)
	$(BIN)/python -m tests.campaign --write

lint: env ## check style, types and imports between packages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

bench: env ## time the hot paths next to alternative implementations
	for name in density-step flow-step agent-update scaling-agents reset env-steps adjoint morph morph-step moving-step problem-step; do $(BIN)/hypemarl bench $$name || exit 1; done

validate: env ## compare with exact solutions and published values
	for case in ou gibbs mass poiseuille taylor-green dfg-2d-1 dfg-2d-2 adjoint feasible transfer ale problems rayleigh-benard; do $(BIN)/hypemarl validate $$case || exit 1; done

results-density: env ## train, optimise and make the tables of docs/results/density (hours)
	$(BIN)/hypemarl results density

results-flow: env ## the same for docs/results/flow (hours)
	$(BIN)/hypemarl results flow

clean: ## remove caches and builds; keep .venv and runs
	rm -rf build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .coverage
	find hypemarl tests demos -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
