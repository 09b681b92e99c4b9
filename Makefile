# make demo    install, train a VAE on real images, print its ledger and pictures
# make test    install, run the fast tests
# make slow    whole trainings and long searches
# make lint    ruff and mypy
# make site    the course with its outputs, reference and gallery, as pages

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# BLAS of one thread in each of the test processes: they share the cores already
WORKERS ?= auto
comma := ,

.PHONY: demo test slow lint site install clean

demo: $(VENV)/.installed
	$(BIN)/minivae train

test: $(VENV)/.installed-test
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS)

slow: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m slow

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

site: $(VENV)/.installed-site
	$(BIN)/python lessons/site/build.py

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "minivae needs Python 3.11 or newer: make PYTHON=python3.11"; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/.installed-%: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[$*]'
	@touch $(VENV)/.installed $@

# make install EXTRAS=test,peers    several extras at once
install: $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[$(EXTRAS)]'
	@touch $(VENV)/.installed $(patsubst %,$(VENV)/.installed-%,$(subst $(comma), ,$(EXTRAS)))

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find kernels -name '*.nb[ic]' -delete
