# Two commands matter: `make demo` runs the main job on real photographs, `make test` passes the tests.
# Each makes its own virtual environment and needs nothing but Python 3.10 to 3.13 and the package index.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Test files at a time.
JOBS ?= 2
# More threads than free cores make small networks slower, not faster.
export OMP_NUM_THREADS ?= 1

.PHONY: help demo test lint types unit docs clean

help:
	@echo "make demo   set up, train a baseline and the colour fine-tune on real photographs, write the report (7 to 12 min, 2 cores)"
	@echo "make test   set up, lint, type check, unit tests"
	@echo "make lint | types | unit   one part of make test"
	@echo "make docs   write docs/options.md from the components' signatures"
	@echo "make clean  remove the virtual environments"

$(VENV)/.installed: setup.py constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch torchvision
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[color,demo,illuminant]'
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[color,demo,illuminant,app,lego,onnx,dev]'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[crf]' \
		|| echo "DenseCRF could not be built (it needs a C++ compiler): its tests are skipped"
	touch $@

demo: $(VENV)/.installed
	$(BIN)/python tools/run_demo.py

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

unit: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile

test: lint types unit

docs: $(VENV)/.installed
	$(BIN)/python tools/make_option_docs.py

clean:
	rm -rf $(VENV)
