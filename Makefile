# make demo   install into .venv, then train and compare four ways on drawn pictures (about twelve minutes on two cores)
# make install   install into .venv and no more
# make test   install with the development extra, then run the tests
# make lint   ruff and pyright
# RISE_BROWSER names the Chromium of the tests of pages: its path, or the address of a running one (tests/qt_chromium.py).
# RISE_ARGS="--world errand" adds arguments to `rise demo`; PYTEST_ARGS="-k report" to pytest; PYTHON picks the interpreter.

PYTHON ?= python3
RISE_ARGS ?=
PYTEST_ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt

.PHONY: demo install test lint clean

install: $(VENV)/installed
	@echo "rise is in $(VENV). To have it on your path: source $(BIN)/activate"

demo: $(VENV)/installed
	$(BIN)/rise demo $(RISE_ARGS)

test: $(VENV)/installed-dev
	$(BIN)/python -m pytest -q -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python

clean:
	rm -rf $(VENV)

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# The stamps make a second `make` start at once; they age when the packaging files change.
$(VENV)/installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing into $(VENV): some minutes the first time."
	$(PIP) -q -e .
	@touch $@

$(VENV)/installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing into $(VENV), with what the tests need: some minutes the first time."
	$(PIP) -q -e '.[dev]'
	@touch $(VENV)/installed $@
