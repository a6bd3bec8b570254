# Lamplight. `make help` lists what there is.
.DEFAULT_GOAL := help
GO ?= go
MEASURE ?= short
VERSION ?= 0.1.0
ACCOUNT := 4f3c1c0ad1cd4bd2a1bd0d3c6f2a9e10

.PHONY: help build run cluster test bench bench-smoke bench-paths bench-growth bench-peers pgo chaos measure lint licences licences-check fuzz fmt clean
help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build bin/lamplight
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/lamplight ./cmd/lamplight

run: build ## build, start a node on embedded parts, load the sample account, print how to drive it
	@tools/run-sample.sh $(ACCOUNT)

cluster: build ## the same with three nodes on loopback, whose embedded servers replicate; says how to kill one
	@tools/run-cluster.sh $(ACCOUNT)

test: ## run every test with the race detector
	$(GO) test -race -timeout 9m ./...

lint: ## gofmt, go vet, staticcheck and more, by golangci-lint (built from tools/lint the first time: minutes)
	$(GO) tool -modfile=tools/lint/go.mod golangci-lint run ./...
	$(GO) tool -modfile=tools/lint/go.mod golangci-lint run --build-tags nolinkname ./cluster/...

bench: build ## the standard set of lamplight bench, on nodes of its own: minutes; results in bench-results/
	@tools/run-bench.sh bench-results

bench-smoke: ## that every scenario of lamplight bench runs and finds every lamp right
	$(GO) test -run 'TestScenarios|TestTarget' ./bench

bench-paths: ## Go benchmarks of the hot paths, each with its floor and allocations
	$(GO) test -pgo=cmd/lamplight/default.pgo -run '^$$' -bench . -benchmem ./actors/... ./transport/... ./cluster/... ./cmd/lamplight/node ./bench

bench-growth: ## what refresh, change and read cost among 10,000, 100,000 and 1,000,000 extensions (minutes)
	LAMPLIGHT_MEASURE=long $(GO) test -pgo=cmd/lamplight/default.pgo -run '^$$' -bench Growth -timeout 20m ./bench

bench-peers: build ## Lamplight beside Kamailio's presence server: needs Debian's kamailio and kamailio-presence-modules
	$(GO) run ./bench/peers

pgo: ## make the profile that builds are optimized for anew (cmd/lamplight/default.pgo)
	@tools/pgo.sh

chaos: ## faults of all kinds under load, and a checker (10 minutes, as root): CHAOS_SEED=n replays a schedule, CHAOS_DIR keeps logs
	CHAOS=long $(GO) test -v -count 1 -timeout 20m ./bench/chaos

measure: ## heap per extension and start-up time, at LAMPLIGHT_BENCH_EXTENSIONS (100000); with MEASURE=long also with 1M records
	LAMPLIGHT_MEASURE=$(MEASURE) $(GO) test -v -run 'TestMemory|TestStart' -timeout 20m ./bench

licences: ## write docs/licences.md: the licence of each module that is linked
	@tools/licences.sh docs/licences.md

licences-check: ## fail if docs/licences.md is out of date, or a module has no known licence
	@now=$$(mktemp) && trap 'rm -f '$$now EXIT && tools/licences.sh $$now && \
		{ diff docs/licences.md $$now || { echo 'docs/licences.md is out of date: make licences writes it anew'; exit 1; }; }

fuzz: ## 20 seconds of each fuzz test
	@for p in $$($(GO) list ./...); do for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz'); do \
		$(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime 20s $$p || exit 1; done; done

fmt: ## gofmt
	gofmt -w .

clean: ## remove what was built and the sample's data
	rm -rf bin lamplight-data lamplight-cluster
