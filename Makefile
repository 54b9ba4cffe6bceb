# make demo, make test, make lint, make docs, make bench: each builds what it needs into .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := $(shell find cpp python -name '*.?pp' -o -name '*.py' -o -name '*.csv' -o -name '*.json') \
           CMakeLists.txt pyproject.toml

.PHONY: demo test lint docs bench clean

demo: $(VENV)/.installed
	$(BIN)/python -m blocklmm demo

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile tests

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check python tests benchmarks docs
	$(BIN)/ruff format --check python tests benchmarks docs
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run -Werror $(shell find cpp -name '*.?pp')

# Every block of code of every page is run; a failure, a warning or a dangling reference stops it.
docs: $(VENV)/.installed-docs
	$(BIN)/python -m sphinx -W --keep-going -E -q -b html docs docs/_build/html

bench: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/report.py $(ARGS)

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/.installed: $(VENV)/bin/python $(SOURCES)
	$(BIN)/python -m pip install --quiet .
	touch $@

$(VENV)/.installed-dev: $(VENV)/bin/python $(SOURCES)
	$(BIN)/python -m pip install --quiet \
	  --config-settings=cmake.define.BLOCKLMM_STRICT=ON '.[test,lint]'
	touch $@ $(VENV)/.installed

# What the site needs beside what is installed: the library is not built again for it.
$(VENV)/.installed-docs: $(VENV)/.installed-dev
	$(BIN)/python -m pip install --quiet 'blocklmm[docs]'
	touch $@

clean:
	rm -rf build $(VENV) docs/_build docs/reference/generated
