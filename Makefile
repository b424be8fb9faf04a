# make demo   the whole study on this machine, until Ctrl-C (DEMO="--port 8001" passes options)
# make test   every check; ends with pytest's summary line
# make setup  .venv with the pinned dependencies; both of the above call it
# make format puts the code into the house's form

BIN := .venv/bin
DEMO ?=
PYTEST ?=

.PHONY: setup demo test lint format
.DEFAULT_GOAL := test

setup:
	@.ci/setup

demo: setup
	@exec $(BIN)/python manage.py demo $(DEMO)

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/djlint --quiet --lint templates

test: lint
	@.ci/test-programs
	$(BIN)/python -m pytest $(PYTEST)

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
