# make quickstart        everything, small, from nothing, on a CPU; ends with a report to look at
# make quickstart SOURCE=DIR [CAPTIONS=FILE]    the same on your own videos; captions are DIR/captions.csv, if any
# make quickstart ... OUT=DIR     into another folder than outputs/quickstart or outputs/footage
# make test | lint | bench | soak
#
# Each of them makes .venv first, from requirements.lock. PYTHON=... chooses the interpreter (3.11 or newer);
# PIP_ARGS=... is handed to pip (an index of CPU wheels, a folder of wheels).

PYTHON ?= $(shell command -v python3.11 || command -v python3)
PIP_ARGS ?=
SOURCE ?=
CAPTIONS ?=
OUT ?=
SECTIONS ?=
TRIALS ?=
KILLS ?= 200
MINUTES ?= 5
PY := .venv/bin/python
STAMP := .venv/.stamp
ONE_THREAD := OMP_NUM_THREADS=1

.PHONY: setup quickstart test lint bench soak clean
.DELETE_ON_ERROR:

setup: $(STAMP)

$(STAMP): requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; name it by PYTHON=..."; exit 2; }
	test -x $(PY) || $(PYTHON) -m venv .venv || { rm -rf .venv; echo "python venv is needed: apt-get install python3-venv"; exit 2; }
	$(PY) -m pip install --disable-pip-version-check --quiet $(PIP_ARGS) -r requirements.lock
	touch $(STAMP)

quickstart: $(STAMP)
	$(PY) -m datamodules.quickstart $(if $(SOURCE),source="$(SOURCE)") $(if $(CAPTIONS),captions="$(CAPTIONS)") $(if $(OUT),out="$(OUT)")

test: $(STAMP)
	$(ONE_THREAD) $(PY) -m pytest -n 2 --dist loadgroup -q

lint: $(STAMP)
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

bench: $(STAMP)
	$(ONE_THREAD) PYTHONPATH=. $(PY) benchmarks/frame.py
	$(ONE_THREAD) PYTHONPATH=. $(PY) benchmarks/order.py

# The matrix of faults with real processes; an hour and a half. SECTIONS="kills goodput" runs some of it.
soak: $(STAMP)
	$(ONE_THREAD) PYTHONPATH=.:tests/fakes $(PY) -m benchmarks.soak $(if $(SECTIONS),sections="$(SECTIONS)") kills=$(KILLS) minutes=$(MINUTES) $(if $(TRIALS),trials="$(TRIALS)")

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache
