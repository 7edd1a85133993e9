# payplane. `make help` explains the targets; docs/lab.md the local cluster.
SHELL := /bin/bash
.ONESHELL:
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Everything that is built stays outside the clone, so a clean clone on a warm
# machine starts quickly.
export PAYPLANE_CACHE ?= $(HOME)/.cache/payplane
export CARGO_TARGET_DIR ?= $(PAYPLANE_CACHE)/target
BIN := $(CARGO_TARGET_DIR)/x86_64-unknown-linux-gnu/release
export PATH := $(BIN):$(PATH)

.PHONY: help prerequisites bench-ledger bench-book bench-gateway chaos-ledger chaos-gateway chaos-plants build programs images demo demo-down test e2e e2e-up e2e-full check cluster-up cluster-down

help: ## Explain the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

prerequisites:
	@e2e/scripts/prerequisites.sh

build: prerequisites ## Build every Rust program once, for images and tests alike
	e2e/scripts/sources.sh restore
	cargo build --release --locked --workspace --all-targets
	e2e/scripts/sources.sh remember

programs: prerequisites ## Build the third-party programs of the local cluster
	cargo build --release --locked --workspace
	lab programs

images: programs ## Write the images as OCI archives
	e2e/scripts/images.sh

demo: images ## A local cluster, a tenant from YAML, a payment, a refund, the books
	e2e/scripts/demo.sh

demo-down: ## Remove the demo's cluster and everything it left
	e2e/scripts/demo-down.sh

cluster-up: programs ## Start an empty local cluster (NAME=dev NODES=1)
	lab cluster up $(or $(NAME),dev) --nodes $(or $(NODES),1)

cluster-down: ## Remove a local cluster (NAME=dev)
	lab cluster down $(or $(NAME),dev)

e2e-up: build images ## A local cluster with the product, for single suites (CLUSTER=e2e NODES=4)
	e2e/scripts/cluster.sh

e2e: ## Run suites on it (ONLY="fee_edit disabled_channel")
	e2e/scripts/suites.sh short $(ONLY)

check: prerequisites ## Format, lints, tidy: before every commit
	cargo fmt --all --check
	cargo clippy --release --locked --workspace --all-targets -- -D warnings
	cargo clippy --release --locked --workspace --test cluster -- -D warnings
	cargo test --release --locked --workspace --test tidy --test dependencies --test generated --test accounting --test rules --test fields -- --nocapture
	e2e/scripts/sources.sh remember

test: build images ## Everything, fault suites in their short form
	e2e/scripts/test.sh short

bench-ledger: build ## Transfers per second and latency of the ledger, beside PostgreSQL's own limit
	bench ledger $(ARGS)

bench-book: build ## A book of 20 million transactions beside an empty one (40 minutes and more)
	bench book $(ARGS)

bench-gateway: build ## Payments per second and latency over two gateways (ARGS="--seconds 60 --rate 1000")
	bench gateway $(ARGS)

chaos-ledger: build images ## Faults around the ledger until the result counts (not in CI; EACH=15)
	e2e/scripts/chaos.sh

chaos-gateway: build ## Faults around gateways, ledgers, database and networks until the result counts (not in CI; SEED=)
	e2e/scripts/chaos-gateway.sh

chaos-plants: build ## Plants bugs in the product: chaos-gateway must catch each (not in CI; ONLY="any-body told-once")
	e2e/scripts/plants.sh $(ONLY)

e2e-full: build images ## The long fault suites (not in CI)
	e2e/scripts/test.sh full
