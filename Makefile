# Six words: run, test, check, bench, docs, clean. Each installs what it needs, once.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
HOST ?= 127.0.0.1
PORT ?= 8000
DATA ?= $(HOME)/.homeport
# A file of tests stays in one process: what it has started is started once. In the order of tests/conftest.py. More
# processes than cores: half of what tests do is wait.
PARALLEL ?= -n 3 --dist loadfile --no-loadscope-reorder
# Through the SDK's older generation, too: what its own HTTP library, streams, forms, pages and errors have a part in,
# one file for each, and the programs of its time. What is asked and answered is the same for both, and so are databases
# and doors.
SDK2 := assistants_examples azure chat embeddings errors files fine_tuning responses_examples responses_streaming \
	stored_completions threads transcriptions
SDK2_TESTS := $(SDK2:%=tests/api/test_%.py) -k "not postgresql and not asgi"

# Where a machine says that no bytecode is kept, every one of the hundreds of processes that tests start compiles Homeport
# anew: a third of what it takes them to start.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run test check bench docs clean

run: $(VENV)/.run
	$(BIN)/homeport pull --data $(DATA)
	exec $(BIN)/homeport serve --host $(HOST) --port $(PORT) --data $(DATA)

test: $(VENV)/.dev
	$(BIN)/pytest $(PARALLEL)
	OPENAI_SDK=2 $(VENV)-sdk2/bin/pytest $(PARALLEL) $(SDK2_TESTS)

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell

bench: $(VENV)/.dev
	$(BIN)/python bench/run.py $(BENCH)

docs: $(VENV)/.dev
	$(BIN)/python docs/make.py

clean:
	rm -rf $(VENV) $(VENV)-sdk2 .mypy_cache .ruff_cache .pytest_cache .import_linter_cache build dist

$(VENV)/.pip:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade 'pip>=25.1'
	touch $@

$(VENV)/.run: $(VENV)/.pip pyproject.toml
	$(BIN)/pip install --quiet --editable '.[local,images,documents,count]'
	touch $@

$(VENV)/.dev: $(VENV)/.pip pyproject.toml
	$(BIN)/pip install --quiet --editable '.[local,audio,images,entra,otel,openvino,postgres,redis,s3,documents,count]' --group check --group test
	$(PYTHON) -m venv $(VENV)-sdk2
	$(VENV)-sdk2/bin/pip install --quiet --upgrade 'pip>=25.1'
	$(VENV)-sdk2/bin/pip install --quiet --editable '.[local,audio,images,entra,otel,postgres,redis,s3,documents,count]' --group test 'openai>=2,<3'
	touch $@
