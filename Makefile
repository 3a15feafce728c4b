# Two commands do all the set-up: `make demo` and `make test`. Later runs reuse the environment in .venv.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
DEMO   ?= demo
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1
export NUMBA_NUM_THREADS ?= 2
export DO_NOT_TRACK := 1

.PHONY: demo test lint system clean help
help:
	@echo "make demo   set up, run the surrogate pipeline on its demo config, print the table and the report's path"
	@echo "make test   set up, lint, type-check, check the import contracts, run the tests"

system:
	@$(PYTHON) deploy/check_system.py

$(VENV)/.installed: pyproject.toml constraints.txt | system
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(VENV)/.installed
	@$(BIN)/pushforward run surrogate --project $(DEMO)

lint: $(VENV)/.installed-dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

test: lint
	@$(BIN)/python -m pytest -n 2 --dist loadgroup

clean:
	rm -rf $(VENV) demo
