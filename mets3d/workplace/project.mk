# The stages of {name}, each from what the one before wrote. `make` alone lists them; `make all DATA=...` runs them all.
#   make all DATA=/path/to/BraTS-METS     one fold, to its page
#   make train FOLD=1                     another fold; --key=value words go into ARGS
.PHONY: check explore preprocess train predict tune evaluate report sweep all help
.DEFAULT_GOAL := help
.NOTPARALLEL:  # each stage needs the one before

DATA ?= data
CONFIG ?= configs/{name}.yaml
FOLD ?= 0
JOBS ?= 2
ARGS ?=
# A fold has a run of its own.
RUN := runs/{name}-fold$(FOLD)
WORDS := --config $(CONFIG) --name={name}-fold$(FOLD) --data.fold=$(FOLD) $(ARGS)

help:  ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 12

check:  ## is the data set usable: all findings as a table
	mets3d check $(DATA) --config $(CONFIG)

explore:  ## a page about the data set, in explore/
	mets3d explore $(DATA) --out explore --config $(CONFIG)

preprocess:  ## the store that training reads, in stores/
	mets3d preprocess $(DATA) stores/{name} --config $(CONFIG) --jobs $(JOBS)

train:  ## one fold; the same command again goes on from the newest checkpoint
	mets3d train $(WORDS)

predict:  ## label maps of the held-out cases
	mets3d predict $(RUN) $(DATA) --held-out

tune:  ## thresholds that cross-validation supports; predict anew after it
	mets3d tune $(RUN) $(DATA)

evaluate:  ## scores.csv and lesions.csv
	mets3d evaluate $(RUN) $(DATA)

report:  ## the page, in RUN/report
	mets3d report $(RUN)

sweep:  ## every loss on five folds, compared on one page
	mets3d sweep configs/sweeps/loss_variants.yaml $(ARGS)

all: preprocess train predict evaluate report  ## one fold, from scans to its page
