# The short forms of what the README and the contributor's loop run.
PYTHON ?= .venv/bin/python

.PHONY: quick check test format
quick:            ## the tests of the contributor's loop
	$(PYTHON) -m pytest -q -m "not slow and not system" -n auto

check:            ## style and types
	$(PYTHON) -m ruff check . && $(PYTHON) -m ruff format --check . && $(PYTHON) -m mypy

test: check       ## everything
	$(PYTHON) -m pytest -n auto

format:
	$(PYTHON) -m ruff check --fix . ; $(PYTHON) -m ruff format .
