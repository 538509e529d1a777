# make demo, make test: from a bare checkout. Everything they install stays in this folder.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup demo test lint docs clean

# MODEL=nemotron or MODEL=/path/to.gguf: the language model of the demo.
MODEL ?=
# PYTHON=/path/to/python3: the Python (3.10 to 3.13) to set up with.
PYTHON ?=
export PYTHON

IN_ENV := . scripts/env.bash &&

help:
	@echo 'make demo    set up, then a simulated robot obeys ten commands in words'
	@echo '             MODEL=nemotron or MODEL=/path/to.gguf: with another language model'
	@echo 'make test    set up, then check and test everything'
	@echo 'make lint    set up, then check only: ruff, mypy --strict'
	@echo 'make docs    set up, then the pages and the API as a site: build/docs/index.html'
	@echo 'make setup   .venv, and both packages built (PYTHON=/path/to/python3 to choose one)'
	@echo 'make clean   remove everything that make has made here'

setup:
	@boot=$$(command -v python3 || command -v "$$PYTHON") || { \
	    echo 'python3 is missing: sudo apt-get install python3 python3-venv python3-dev' >&2; \
	    exit 1; \
	}; "$$boot" scripts/bootstrap.py $(SETUP)

demo: setup
	@$(IN_ENV) python -m nemotron_ros.cli demo $(if $(MODEL),--model "$(MODEL)")

lint: setup
	@$(IN_ENV) ruff check .
	@$(IN_ENV) ruff format --check --quiet .
	@$(IN_ENV) mypy --strict nemotron_ros

test: SETUP := --tests
test: lint
	@$(IN_ENV) scripts/test.bash

docs: SETUP := --docs
docs: setup
	@$(IN_ENV) python -m sphinx -q -W --keep-going -d build/docs/.doctrees docs build/docs

clean:
	rm -rf .venv build docs/api install log out .pytest_cache .mypy_cache .ruff_cache .hypothesis
