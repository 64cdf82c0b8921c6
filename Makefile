# Every target sets up .venv by itself when it is missing. PYTHON picks the interpreter (3.11 to 3.13).
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed

.PHONY: train test test-slow test-matrix check audit bench bench-sizes lock

train: $(INSTALLED)
	$(BIN)/jaxnn train mnist-mlp --dataset digits

# The tests compile the same programs many times: a cache of their own, gone afterwards, halves their time. OpenMP's
# threads wait for each other by turning: beside other tests that takes a PyTorch child process three times as long.
test: $(INSTALLED)
	cache=$$(mktemp -d) && trap 'rm -rf "$$cache"' EXIT && \
	JAX_COMPILATION_CACHE_DIR="$$cache" JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0 OMP_NUM_THREADS=1 \
	$(BIN)/python -m pytest -n auto --dist loadfile -m "not slow"

test-slow: $(INSTALLED)
	$(BIN)/python -m pytest -m slow

# The suite on Python 3.11 to 3.13 with the oldest and the newest versions allowed; what cannot be installed is skipped.
# PYTHONS="3.12", VERSIONS="oldest" and TESTS="jaxnn/data" restrict it; EXTRAS="onnx tensorboard" leaves PyTorch out.
PYTHONS ?= 3.11 3.12 3.13
VERSIONS ?= oldest newest
EXTRAS ?= onnx tensorboard torch
test-matrix: $(INSTALLED)
	$(BIN)/python .ci/matrix.py --pythons $(PYTHONS) --versions $(VERSIONS) --extras $(EXTRAS) --tests "$(TESTS)"

check: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright --warnings
	$(BIN)/lint-imports

# The code by bandit; the dependencies by pip-audit, where its service can be asked.
audit: $(INSTALLED)
	$(BIN)/bandit --quiet -c pyproject.toml -r jaxnn torchref benchmarks .ci
	$(BIN)/python .ci/audit_dependencies.py constraints.txt

# The README's table, and the plot over batch sizes; on an otherwise idle machine: others' work makes figures worthless.
bench: $(INSTALLED)
	$(BIN)/jaxnn bench --out benchmarks/results --render README.md

bench-sizes: $(INSTALLED)
	$(BIN)/jaxnn bench --out benchmarks/results --batch-sizes --seconds 0.05 --rounds 5

# Refreshes the versions that development and CI install.
lock: $(INSTALLED)
	$(BIN)/uv pip compile pyproject.toml --extra dev --extra fuzz --universal --upgrade --no-annotate --no-header --quiet -o constraints.txt

$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[dev]' --constraint constraints.txt
	touch $@
