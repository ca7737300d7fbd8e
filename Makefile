# Everything runs in an environment of its own, made on first use. `make help` lists the targets.
PYTHON ?= python3
VENV ?= .venv
PRESET ?= mini
RUN_DIR ?= runs/notebooks
NOTEBOOKS ?= --all

BIN := $(VENV)/bin
READY := $(VENV)/.ready

# Idle threads that spin cost other processes half the machine.
export OMP_WAIT_POLICY ?= PASSIVE
export TOKENIZERS_PARALLELISM ?= false
# glibc hands large tensors back to the system after each use; taking them again costs up to half of the time.
export MALLOC_MMAP_THRESHOLD_ ?= 1000000000
export MALLOC_TRIM_THRESHOLD_ ?= 2000000000

.DEFAULT_GOAL := help
.PHONY: setup demo lab notebooks gallery test check ablations weights samples clean help

$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; got $$($(PYTHON) --version); use: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install -r requirements.txt -e ".[dev]"
	@touch $@

setup: $(READY)  ## make the environment (other targets do it when needed)

demo: $(READY)  ## the whole method in miniature; report in runs/demo
	$(BIN)/python -m semrepa.headless --all --preset mini --run-dir runs/demo

lab: $(READY)  ## open copies of the notebooks in JupyterLab; yours to edit, in lab/
	$(BIN)/python -m semrepa.ui lab
	$(BIN)/jupyter lab lab

notebooks: $(READY)  ## run notebooks: NOTEBOOKS=notebooks/06_dit_finetuning.ipynb PRESET=full RUN_DIR=runs/x
	$(BIN)/python -m semrepa.headless $(NOTEBOOKS) --preset $(PRESET) --run-dir $(RUN_DIR)

gallery: $(READY)  ## pictures and times of runs/demo into docs/gallery and the notebooks (after make demo)
	$(BIN)/python -m semrepa.showcase runs/demo

test: $(READY)  ## all tests, notebooks included; TESTS="tests/test_losses.py -x" for some
	$(BIN)/python -m pytest -rs $(TESTS)

check: $(READY)  ## format, lint, types and house rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright --pythonpath $(BIN)/python
	$(BIN)/python -m pytest -q tests/house

# The structure aligner for noisy latents, which none of the shipped weights is; then all cells, then the table.
ABLATIONS ?= runs/ablations
NOISY := data.extra_train=160 pretrain_structure.steps=2000 pretrain_structure.batch_size=4 \
	pretrain_structure.lr=0.001 pretrain_structure.warmup=20 pretrain_structure.eval_every=500

ablations: $(READY)  ## Table 2 in miniature: nine models, three seeds (an hour and a half on two cores)
	$(BIN)/python -m semrepa.ablations aligner --run-dir $(ABLATIONS) $(addprefix -o ,$(NOISY))
	$(BIN)/python -m semrepa.ablations run --run-dir $(ABLATIONS) -o finetune.balance_every=20
	$(BIN)/python -m semrepa.ablations table --run-dir $(ABLATIONS)

weights: $(READY)  ## build the mini weights anew (hours on two cores)
	$(BIN)/python -m semrepa.miniature

samples: $(READY)  ## render data_samples anew
	$(BIN)/python -m semrepa.miniature.samples data_samples

clean:  ## remove what runs and tools left; the environment stays
	rm -rf runs .pytest_cache .ruff_cache build *.egg-info
	find semrepa tests -name __pycache__ -type d -prune -exec rm -rf {} +

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
