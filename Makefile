# Everything a checkout needs: `make help` lists it. Needs python3 (3.10 to 3.13), pip and make.

PYTHON ?= python3
# Options of every pip call, and of the one that installs torch (see requirements-torch.txt).
PIP_FLAGS ?=
TORCH_FLAGS ?=
# Arguments of `hal conformance`, and of pytest.
ARGS ?=
PYTEST_FLAGS ?= -n auto --maxprocesses 8 --dist loadfile

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.hal-setup
PLUGINS := $(sort $(patsubst %/pyproject.toml,%,$(wildcard plugins/*/pyproject.toml)))
DISTRIBUTIONS := . conformance $(PLUGINS)
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input

CHECK_PYTHON := import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 10) <= v <= (3, 13) \
	else "HAL needs Python 3.10 to 3.13, and $(PYTHON) is %d.%d: name another with make PYTHON=..." % v)

.PHONY: help setup conformance test lint format clean
.DEFAULT_GOAL := help

help:
	@echo "make setup        create $(VENV) and install the pinned checkout in it"
	@echo "make conformance  measure every ready device on ONNX's cases (ARGS='--device ort:cpu')"
	@echo "make test         run every test (PYTEST_FLAGS='-k tensor')"
	@echo "make lint         ruff and mypy over all distributions"
	@echo "make format       let ruff lay out the code"
	@echo "make clean        remove $(VENV), caches and build products"
	@echo "Variables: PYTHON=$(PYTHON) PIP_FLAGS= TORCH_FLAGS= (see requirements-torch.txt)"

setup: $(STAMP)

# The stamp is the last thing written, so that make takes up a set-up that was cut short. An
# environment whose pip does not start is built anew.
$(STAMP): Makefile requirements.txt requirements-torch.txt $(DISTRIBUTIONS:%=%/pyproject.toml)
	@rm -f $@
	@$(PIP) --version >/dev/null 2>&1 || { \
	  command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not on the PATH: name another with make PYTHON=..." >&2; exit 1; }; \
	  $(PYTHON) -c '$(CHECK_PYTHON)' && $(PYTHON) -m venv --clear $(VENV); }
	$(PIP) install $(PIP_FLAGS) $(TORCH_FLAGS) -r requirements-torch.txt
	$(PIP) install $(PIP_FLAGS) -r requirements.txt
	$(PIP) install $(PIP_FLAGS) --no-build-isolation --no-deps $(DISTRIBUTIONS:%=-e ./%)
	$(PIP) check
	@touch $@

conformance: setup
	$(BIN)/hal conformance $(ARGS)

test: setup
	$(BIN)/python -m pytest $(PYTEST_FLAGS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m mypy

format: setup
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name .git -prune -o -type d \( -name __pycache__ -o -name '*.egg-info' -o -name build \) -prune -exec rm -rf {} +
