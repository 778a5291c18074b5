# Each target sets up what it needs: .venv, from requirements.lock, made anew only when that file's content changes;
# in it, for tests and development, what requirements-dev.lock adds.
PYTHON ?= python3
PY := .venv/bin/python
PIP := $(PY) -m pip install --quiet --disable-pip-version-check --require-hashes
READY := .venv/ready-$(shell cksum < requirements.lock | tr ' ' '-')
DEV_READY := .venv/dev-$(shell cat requirements.lock requirements-dev.lock | cksum | tr ' ' '-')
NOTEBOOK := notebooks/mnist_cnn.ipynb
BENCH := build/bench/bin/python
BENCH_READY := build/bench/ready-$(shell cat requirements.lock benchmarks/*.txt | cksum | tr ' ' '-')
LOCK := build/uv/bin/uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate \
	--custom-compile-command "make lock" --quiet --upgrade
PAGE := $(PY) -m nbconvert --log-level=WARN --to html --template page \
	--TemplateExporter.extra_template_basedirs=templates --output-dir build

# What you have set for other work must not change a result here. No variable for Python, TensorFlow, Keras, Jupyter,
# Matplotlib or pytest gets through, nor one that says where pip installs, or how wide or coloured text is.
unexport $(filter-out PYTHONUNBUFFERED PYTHONDONTWRITEBYTECODE,$(filter \
	PYTHON% TF_% KERAS_% JUPYTER_% MPL% PYTEST_% PIP_TARGET PIP_PREFIX PIP_ROOT PIP_CONSTRAINT \
	COLUMNS LINES NO_COLOR FORCE_COLOR,$(.VARIABLES)))
export PIP_USER := 0
export PYTHONUTF8 := 1
# TensorFlow leaves its quicker arithmetic, oneDNN's, off on processors without AVX-512.
export TF_ENABLE_ONEDNN_OPTS := 1
# Nor do files in your home folder: IPython's start-up files, keras.json, matplotlibrc (an empty one is read), Jupyter's
# kernels and, but for the looks of `make lab`, its configuration.
export IPYTHONDIR := $(CURDIR)/build/settings/ipython
export KERAS_HOME := $(CURDIR)/build/settings/keras
export KERAS_BACKEND := tensorflow
export MATPLOTLIBRC := /dev/null
export JUPYTER_PREFER_ENV_PATH := 1
run html test notebook: export JUPYTER_CONFIG_DIR := $(CURDIR)/build/settings/jupyter
# Without this the debugger complains, in each kernel's start-up, that the standard library is frozen.
export PYDEVD_DISABLE_FILE_VALIDATION := 1

.DEFAULT_GOAL := help
run test lab notebook: | build/settings/ipython
.PHONY: help run test html lab notebook bench bench-quick bench-env lock clean

help:  ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

run: $(READY)  ## execute the notebook headless: a page in build/, the model in models/ (ARGS="-p EPOCHS 1" to change a parameter)
	@touch build/started
	@$(PY) tools/run_notebook.py $(NOTEBOOK) build/mnist_cnn.ipynb $(ARGS)
	@$(PAGE) build/mnist_cnn.ipynb
	@if test models/mnist_cnn.json -nt build/started; then $(PY) -c "import json; \
		print(f\"test accuracy  {json.load(open('models/mnist_cnn.json'))['test_accuracy']:.2%}\")"; fi
	@echo "page           build/mnist_cnn.html"
	@echo "saved         " $$(find models -name "mnist_cnn.*" -newer build/started | sort)

html: $(READY)  ## build the saved notebook as one page to read, build/mnist_cnn.html, without running it
	@$(PAGE) $(NOTEBOOK)
	@echo "page           build/mnist_cnn.html"

# The tests work on a copy, so that they neither use nor replace the model that `make run` left in models/.
test: $(DEV_READY)  ## re-execute the notebook under nbval, comparing every output, and run the tests (ARGS="-x" to stop at the first failure)
	$(PY) -m ruff format --check --quiet
	$(PY) -m ruff check --quiet
	.venv/bin/oxfmt --check notebooks/pad/*.js >/dev/null
	.venv/bin/oxlint --quiet --deny-warnings --allow no-unused-vars notebooks/pad
	$(PY) -m pip install --quiet --disable-pip-version-check --dry-run --no-index -r requirements.txt -r requirements-dev.txt
	$(PY) -m deptry --no-ansi data tests tools benchmarks notebooks
	@rm -rf build/test && $(PY) tests/lesson.py build/test >/dev/null
	$(PY) -m pytest --numprocesses 2 --dist loadgroup --no-loadscope-reorder --junitxml build/test/report.xml \
		--nbval build/test/$(NOTEBOOK) tests .ci/test_ci.py $(ARGS)

lab: $(READY)  ## open the notebook in JupyterLab
	$(PY) -m jupyter lab $(NOTEBOOK)

notebook: $(DEV_READY)  ## for developers: refresh the outputs saved in the notebook, and its page, docs/index.html
	$(PY) tools/run_notebook.py $(NOTEBOOK) build/mnist_cnn.ipynb
	cp build/mnist_cnn.ipynb $(NOTEBOOK)
	$(PY) tools/finish_notebook.py $(NOTEBOOK)
	$(PAGE) $(NOTEBOOK)
	cp build/mnist_cnn.html docs/index.html

bench: $(BENCH_READY)  ## measure the notebook's recipes beside published ones: build/results.csv, .md and .png (ARGS="--seeds 1 2")
	$(BENCH) benchmarks/bench.py $(ARGS)
	$(BENCH) benchmarks/report.py build/results.csv

bench-quick: $(BENCH_READY)  ## a first impression of the same in a few minutes: build/quick.csv, .md and .png
	$(BENCH) benchmarks/bench.py --csv build/quick.csv --seeds 1 --recipes ours-1 train-mnist-fast ours keras-example
	$(BENCH) benchmarks/report.py build/quick.csv

bench-env: $(BENCH_READY)  ## install what only the benchmark needs, PyTorch and Ray, apart from the notebook's packages

lock:  ## for developers: resolve requirements.txt and requirements-dev.txt into requirements.lock and requirements-dev.lock
	test -x build/uv/bin/uv || ($(PYTHON) -m venv build/uv && build/uv/bin/pip install --quiet uv)
	$(LOCK) requirements.txt --constraints requirements-dev.txt --output-file requirements.lock
	$(LOCK) requirements-dev.txt --constraints requirements.lock --output-file requirements-dev.lock

clean:  ## remove the environment and everything built
	rm -rf .venv build

build/pip build/settings/ipython:
	@mkdir -p $@

# Pip unpacks more than 1 GB on the way. The usual folder for that may be small, and in memory.
$(READY) $(DEV_READY) $(BENCH_READY): export TMPDIR := $(CURDIR)/build/pip
$(READY) $(DEV_READY) $(BENCH_READY): | build/pip

$(READY):
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) not found: install Python 3.11, 3.12 or 3.13, or name one: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) tools/check_machine.py
	$(PYTHON) -m venv --clear .venv
	$(PIP) -r requirements.lock
	@$(PY) -c "import matplotlib.font_manager"  # lists the fonts, or the notebook's first import would, and say so
	@touch $@

$(DEV_READY): $(READY)
	$(PIP) -r requirements-dev.lock
	@touch $@

# The benchmark sees the notebook's packages through a .pth file and adds its own, so that both run the same versions.
$(BENCH_READY): $(READY)
	$(PYTHON) -m venv --clear build/bench
	$(BENCH) -c "import site, sys; open(site.getsitepackages()[0] + '/notebook.pth', 'w').write(sys.argv[1])" \
		"$$($(PY) -c 'import site; print(site.getsitepackages()[0])')"
	$(BENCH) -m pip install --quiet --disable-pip-version-check -r benchmarks/requirements.txt -r benchmarks/requirements-ray.txt
	@touch $@
