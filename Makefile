# make demo   installs, shows what the model that ships makes, and that training runs
# make demo-train   trains every stage in miniature from nothing and shows what came out
# make test   installs, lints, runs all tests
# make test-parity   installs torch and diffusers too, compares with them
# make test-metrics   fetches I3D's weights and short videos too, tests metrics with them
# make test-footage   fetches TransNet V2's weights and short videos too, tests curation with them
# make test-beam   installs Apache Beam in an environment of its own, tests curation with it
# make test-plan   installs the TPU compiler too, compiles for slices that are not there
#
# PYTHON chooses the interpreter: make test PYTHON=python3.12
PYTHON ?= python3
VENV := .venv
BEAM := .venv-beam
BIN := $(VENV)/bin
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
# Another interpreter, other requirements: a new environment.
INSTALLED := $(VENV)/.installed-$(VERSION)

# glibc would give the buffers of a step back to the system after each one, a fifth of a training's time on a CPU.
KEEP_BUFFERS := MALLOC_ARENA_MAX=1 MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=17179869184 MALLOC_TOP_PAD_=268435456

.PHONY: install demo demo-train test test-parity test-metrics test-footage test-beam test-plan lint format clean

install: $(INSTALLED)

$(INSTALLED): setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv --clear $(VENV)
	# Byte code by all processors afterwards, but for the packages' own tests; pip would compile everything, with one.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt -e '.[test]'
	-$(BIN)/python -m compileall -qq -j 0 -x '/tests/' $(VENV)/lib
	touch $@

demo: install
	$(KEEP_BUFFERS) $(BIN)/python scripts/demo.py

demo-train: install
	$(KEEP_BUFFERS) $(BIN)/python scripts/demo_train.py

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

test: lint
	$(BIN)/python -m pytest

# Against torch, diffusers and transformers, on fresh random networks.
test-parity: install
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[parity]'
	$(BIN)/python -m pytest tests/parity

# With the real weights behind FVD, on real footage.
test-metrics: install
	$(BIN)/python -m lumiere.fetch --what=i3d
	$(BIN)/python -m lumiere.fetch --what=footage
	$(BIN)/python -m pytest tests/metrics

# Curation of real footage, with the real weights of TransNet V2.
test-footage: install
	$(BIN)/python -m lumiere.fetch --what=transnet
	$(BIN)/python -m lumiere.fetch --what=footage
	$(BIN)/python -m pytest tests/footage

# Curation by Apache Beam, whose versions do not go with those of training.
test-beam: $(BEAM)/.installed
	$(BEAM)/bin/python -m pytest tests/beam -n 0

$(BEAM)/.installed: setup.cfg constraints-beam.txt
	$(PYTHON) -m venv --clear $(BEAM)
	$(BEAM)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-beam.txt -e '.[beam]' pytest pytest-xdist
	touch $@

# With the TPU compiler, which asks for no TPU.
test-plan: install
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[plan]'
	$(BIN)/python -m pytest tests/lumiere/planning

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) $(BEAM)
