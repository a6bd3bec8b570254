# Lamplight's Makefile. `make help` lists the targets.
.DEFAULT_GOAL := help
GO ?= go
MEASURE ?= short
VERSION ?= 0.1.0
ACCOUNT := 4f3c1c0ad1cd4bd2a1bd0d3c6f2a9e10

.PHONY: help build run cluster test bench bench-smoke bench-paths bench-growth bench-peers pgo chaos measure man deb lint client docs client-check chart-check licences licences-check fuzz fmt clean
help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build bin/lamplight
	@[ -e bin/lamplight ] || echo 'building bin/lamplight; the first time this takes a few minutes, in which nothing is printed'
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/lamplight ./cmd/lamplight

run: build ## build, start one node, load the sample account, print requests to try
	@tools/run-sample.sh $(ACCOUNT)

cluster: build ## the same with three nodes on loopback that replicate; prints how to kill one
	@tools/run-cluster.sh $(ACCOUNT)

test: ## run every test with the race detector; those with phones, proxies and brokers of others, which wait for these most of the time, without it
	$(GO) test -race -timeout 15m $$($(GO) list ./... | grep -v -e /transport/sip/witness -e /transport/source/amqp)
	$(GO) test -timeout 9m ./transport/sip/witness ./transport/source/amqp

lint: ## run gofmt, go vet, staticcheck and more, by golangci-lint (the first time it is built from tools/lint: minutes)
	$(GO) tool -modfile=tools/lint/go.mod golangci-lint run ./...
	$(GO) tool -modfile=tools/lint/go.mod golangci-lint run --build-tags nolinkname ./cluster/...

client: ## generate the TypeScript client in transport/ui/client from openapi.yaml; needs npm ci --prefix transport/ui/js
	node transport/ui/js/generate.mjs transport/ui/client

docs: ## write docs/http-reference.md from transport/rest/openapi.yaml
	cd tools/openapi && $(GO) run ./reference

client-check: ## generate a client from transport/rest/openapi.yaml and use it with a node; all answers must be what the document says
	cd tools/openapi && $(GO) generate ./... && $(GO) test ./...

chart-check: ## lint and render the Helm chart of deploy/helm with helm's libraries (the first time they are compiled: minutes)
	cd tools/helm && $(GO) test ./...

bench: build ## run the standard set of lamplight bench on nodes of its own (minutes); results go to bench-results/
	@tools/run-bench.sh bench-results

bench-smoke: ## check that every scenario of lamplight bench runs and finds every lamp right
	$(GO) test -run 'TestScenarios|TestTarget' ./bench

bench-paths: ## run the Go benchmarks of the hot paths, with floors and allocations
	$(GO) test -pgo=cmd/lamplight/default.pgo -run '^$$' -bench . -benchmem ./actors/... ./transport/... ./cluster/... ./cmd/lamplight/node ./bench

bench-growth: ## measure a refresh, a change and a read among 10,000, 100,000 and 1,000,000 extensions (minutes)
	LAMPLIGHT_MEASURE=long $(GO) test -pgo=cmd/lamplight/default.pgo -run '^$$' -bench Growth -timeout 20m ./bench

bench-peers: build ## measure Kamailio's presence server beside Lamplight; needs Debian's kamailio and kamailio-presence-modules
	$(GO) run ./bench/peers

pgo: ## write the profile that builds are optimized for (cmd/lamplight/default.pgo)
	@tools/pgo.sh

chaos: ## run all faults under load and check what remains (minutes, as root); CHAOS_SEED=n repeats a schedule, CHAOS_DIR keeps logs
	CHAOS=long $(GO) test -v -count 1 -timeout 20m ./bench/chaos

measure: ## measure heap per extension and start-up time with LAMPLIGHT_BENCH_EXTENSIONS (100000); MEASURE=long also with 1M records, storms of 20,000 phones, and what a flood of one account costs another
	LAMPLIGHT_MEASURE=$(MEASURE) $(GO) test -v -run 'TestMemory|TestStart|TestStorm|TestIdleFlows|TestTenants' -timeout 20m ./bench

man: build ## write bin/lamplight.1, the man page: man -l bin/lamplight.1
	bin/lamplight help --man > bin/lamplight.1

deb: build ## build bin/lamplight_VERSION_ARCH.deb, a Debian package
	tools/deb.sh bin/lamplight $(VERSION) bin/lamplight_$(VERSION)_$$(dpkg --print-architecture).deb

licences: ## write docs/licences.md: the licence of each module that is linked
	@tools/licences.sh docs/licences.md

licences-check: ## fail if docs/licences.md is out of date, or a module has no known licence
	@now=$$(mktemp) && trap 'rm -f '$$now EXIT && tools/licences.sh $$now && \
		{ diff docs/licences.md $$now || { echo 'docs/licences.md is out of date: run make licences'; exit 1; }; }

fuzz: ## run each fuzz test for 20 seconds
	@for p in $$($(GO) list ./...); do for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz'); do \
		$(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime 20s $$p || exit 1; done; done

fmt: ## format all Go files
	gofmt -w .

clean: ## delete the binary, and the data of make run and make cluster
	rm -rf bin lamplight-data lamplight-cluster
