# `make` alone lists the targets.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
PAGE := tb_plugin/static/index.js
LOGS ?= logs

.PHONY: help setup page demo test lowest lint tables pictures bench clean debian

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/ready $(PAGE) ## everything the project needs, into .venv

.venv/ready: setup.cfg setup.py constraints.txt data/packages.txt | $(PAGE)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Attention Zoo wants Python 3.11 or newer, found " + sys.version.split()[0] + ": type `make setup PYTHON=python3.11`.")'
	$(PYTHON) -m venv .venv
	$(PIP) install -q -c constraints.txt -e ".[tensorflow,live,test,lint]"
	$(PIP) install -q -c constraints.txt --no-deps -r data/packages.txt
	@touch $@

page: $(PAGE) ## build the Attention tab's page (needs Node)

$(PAGE): $(wildcard $(addprefix tb_plugin/frontend/, src/* src/*/* *.json))
	@command -v npm >/dev/null || { echo "The page of the Attention tab is built with Node, and npm was not found: install Node 20 or newer."; exit 1; }
	cd tb_plugin/frontend && npm ci --no-audit --no-fund && npm run build

demo: setup ## train on the S&P 500 and look at the attention in TensorBoard, until Ctrl-C
	$(BIN)/python -m training forecast --attention bahdanau --series sp500 --logdir $(LOGS)
	@echo "Open the address below and choose the tab Attention; Ctrl-C ends it."
	@TF_CPP_MIN_LOG_LEVEL=3 exec $(BIN)/tensorboard --logdir $(LOGS) --port 0

test: setup debian ## every test, on two cores
	$(BIN)/python -m pytest -n 2 --dist worksteal

LOWEST = .lowest/bin/python

lowest: $(PAGE) debian ## the tests on the lowest versions that setup.cfg allows, in .lowest
	$(PYTHON) -m venv .lowest
	sed '/^test =/q' setup.cfg | sed -nE 's/^ +([a-z0-9-]+)>=(.*)$$/\1==\2/p' > .lowest/versions.txt
	grep '^torch==' constraints.txt >> .lowest/versions.txt
	echo 'setuptools<81' >> .lowest/versions.txt # TensorBoard 2.20 asks for its pkg_resources
	$(LOWEST) -m pip install -q 'setuptools<81'
	$(LOWEST) -m pip install -q -c .lowest/versions.txt -e ".[tensorflow,live,test]"
	$(LOWEST) -m pip install -q --no-deps -r data/packages.txt
	$(LOWEST) -m pytest

lint: setup ## the linters
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	cd tb_plugin/frontend && npm run check

# The browser that the page's tests drive; a voice, pictures and letters, without which a few of them are skipped.
DEBIAN = chromium espeak-ng dataset-fashion-mnist fonts-noto-core

debian:
	@dpkg -s $(DEBIAN) >/dev/null 2>&1 || { \
	  [ "$$(id -u)" = 0 ] && apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $(DEBIAN); } || \
	  command -v chromium >/dev/null || { \
	  echo "The page's tests need Chromium. Type: sudo apt-get install $(DEBIAN)"; exit 1; }

FORECAST = $(BIN)/python -m training forecast --logdir $(LOGS)
RESULTS = training/results
LOCAL = --alignment local_predictive --attention-window 10

tables: setup ## train every model of the docs' tables, and write the tables (a quarter of an hour)
	$(FORECAST) --series sp500 --attention bahdanau --result $(RESULTS)/sp500-bahdanau.json
	$(FORECAST) --series sp500 --attention luong --result $(RESULTS)/sp500-luong.json
	$(FORECAST) --series sp500 --attention luong $(LOCAL) --result $(RESULTS)/sp500-luong-local.json
	$(FORECAST) --series sp500_2022 --attention bahdanau --result $(RESULTS)/sp500_2022-bahdanau.json
	$(FORECAST) --series sp500_2022 --attention luong --result $(RESULTS)/sp500_2022-luong.json
	$(BIN)/python -m training tables

pictures: setup debian ## take the docs' screenshots again, of models trained for them (ten minutes)
	$(BIN)/python -m pytest -q tests/test_whole_path.py --pictures docs

bench: setup ## the speed that the docs state
	$(BIN)/python benchmarks/import_time.py
	$(BIN)/python benchmarks/attention.py
	$(BIN)/python benchmarks/attention_tab.py

clean: ## remove what was built, not what was trained
	rm -rf .venv .lowest build dist *.egg-info tb_plugin/static tb_plugin/frontend/node_modules
