# Needs Go and make. Tools are built from the pinned modules in .tools/ into .bin/ when a target first wants them.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --warn-undefined-variables --no-builtin-rules --no-print-directory

# Every Go command below gets the same flags, so that run, build, test and lint share one set of compiled packages.
export CGO_ENABLED := 0
export GOFLAGS := -trimpath -buildvcs=false
export PATH := $(CURDIR)/.bin:$(PATH)

ARGS ?=
PKG ?= work
TESTFLAGS ?=
FUZZTIME ?= 5s
VULNDB ?=
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X github.com/ragmesh/ragmesh/libs/telemetry.Version=$(VERSION)

# The module list has one home, go.work. Expanded only by the targets that use it.
MODULES = $(shell go work edit -json | sed -n 's/.*"DiskPath": "\(.*\)".*/\1/p')

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: bin/ragmesh ## Build and start everything in one process; ARGS="--data DIR" and the like are passed on
	@exec bin/ragmesh up $(ARGS)

.PHONY: build
build: bin/ragmesh ## Build the six binaries into bin/: ragmesh and one per service
	@for dir in services/*/cmd/*; do \
		go build -ldflags '$(LDFLAGS)' -o bin/ragmesh-$$(basename $$dir) ./$$dir; \
	done

.PHONY: bin/ragmesh
bin/ragmesh:
	@go build -ldflags '$(LDFLAGS)' -o $@ ./cmd/ragmesh

.PHONY: images
images: ## Make the six container images: archives in build/images, and in Docker where it runs; IMAGE_TAG, IMAGE_REGISTRY, IMAGE_ARCH
	@VERSION=$(VERSION) bash deploy/images/build

.PHONY: test
test: ## Run every module's tests, end to end ones included; PKG=./libs/... TESTFLAGS=-run=X narrow it down
	go test $(TESTFLAGS) $(PKG)

.PHONY: charts
charts: ## Check charts, policies, manifests, alerts and dashboards offline (modules of their own); TESTFLAGS=-run=X narrows it down
	cd deploy/check && GOWORK=off go vet ./... && GOWORK=off go test $(TESTFLAGS) ./...
	cd deploy/monitoring && GOWORK=off go vet ./... && GOWORK=off go test $(TESTFLAGS) ./...

.PHONY: test-cluster
test-cluster: ## Try the charts on a real cluster, under load and with pods killed (deploy/test/main.go); ARGS="-steps evict" and the like are passed on
	@GOWORK=off go -C deploy/test run . $(ARGS)

.PHONY: test-weaviate
test-weaviate: ## Hold the store in Weaviate to the suite, against WEAVIATE_URL, a container, or a server built here from its Go module (some minutes, once)
	@[[ -n "$${WEAVIATE_URL:-}" ]] || $(MAKE) .bin/weaviate.stamp
	REQUIRE_WEAVIATE=1 RAGMESH_CRASHES=$${RAGMESH_CRASHES:-20} RAGMESH_WEAVIATE_QUALITY=$${RAGMESH_WEAVIATE_QUALITY:-sample} go test -count=1 $(TESTFLAGS) ./services/retriever/internal/weaviate/...
	REQUIRE_WEAVIATE=1 go test -count=1 $(TESTFLAGS) -run '^(TestKilledAnywhere|TestTwoRetrievers)$$' ./services/retriever

.PHONY: race
race: export CGO_ENABLED := 1
race: ## The same under the race detector, which needs a C compiler
	go test -race $(TESTFLAGS) $(PKG)

.PHONY: isolated
isolated: ## Vet and test each module on its own, as its go.mod describes it (GOWORK=off)
	@failed=; \
	for module in $(MODULES); do \
		echo "== $$module"; \
		( export GOWORK=off; cd $$module; go vet ./... && go test -short $(TESTFLAGS) ./... ) || failed+=" $$module"; \
	done; \
	[[ -z $$failed ]] || { echo "not on their own:$$failed"; exit 1; }

.PHONY: fuzz
fuzz: ## Run every fuzz target for FUZZTIME (default 5s)
	@.ci/fuzz $(FUZZTIME)

.PHONY: bench
bench: bin/ragmesh ## Measure what a turn costs (see bench/README.md); ARGS="--json" and the like are passed on
	@bin/ragmesh bench turn $(ARGS)

.PHONY: bench-gateway
bench-gateway: build ## Measure what the LLM gateway costs beside the floors under it (see bench/gateway.md); ARGS="--json" and the like are passed on
	@bin/ragmesh bench gateway $(ARGS)

.PHONY: bench-encoder
bench-encoder: .bin/encoder/ready ## Hold the in-process encoder to ONNX Runtime's results, and time both (see bench/encoder.md); needs python3; RAGMESH_MODEL, ARGS="-rounds 9"
	RAGMESH_ONNXRUNTIME=$(CURDIR)/.bin/encoder/bin/python go test -count=1 -v -run ONNXRuntime ./services/llm-gateway/internal/local/bert | grep -v '^===\|^    --- '
	@go run ./services/llm-gateway/internal/local/benchmark -python .bin/encoder/bin/python $(ARGS)

.PHONY: bench-retrieval
bench-retrieval: ## Measure how well and how fast passages are found, on every store; RAGMESH_DATASETS, RAGMESH_EMBEDDINGS_URL, ARGS="-sizes 10000"
	@go run ./services/retriever/internal/benchmark $(ARGS)

.PHONY: lint policy lint-go lint-proto
lint: policy lint-go lint-proto ## Lint Go and the proto files, and check the workspace's own rules

# Uncached: the rules read every module, and go test only watches the files of a test's own.
policy:
	go test -count=1 ./cmd/ragmesh/internal/policy/...

lint-go: .bin/lint.stamp
	golangci-lint run $(addsuffix /...,$(MODULES))
	@for module in $(dir $(wildcard deploy/*/go.mod)); do ( cd $$module; GOWORK=off golangci-lint run ./... ); done

lint-proto: .bin/proto.stamp
	cd proto && buf format --diff --exit-code && buf lint

.PHONY: fmt
fmt: .bin/lint.stamp .bin/proto.stamp ## Format Go and the proto files
	golangci-lint fmt $(MODULES)
	cd proto && buf format --write

.PHONY: vuln
vuln: .bin/vuln.stamp ## Check what we call against the Go vulnerability database; VULNDB=URL for a mirror
	govulncheck -C cmd/ragmesh $(addprefix -db ,$(VULNDB)) work

.PHONY: generate
generate: .bin/proto.stamp ## Regenerate the Go code of the proto files and every go:generate output
	cd proto && buf generate
	go generate work
	GOWORK=off go -C deploy/check generate ./...

.PHONY: tidy
tidy: ## Tidy every module and keep them in step on shared versions
	@for pass in 1 2; do \
		for module in $(MODULES); do GOWORK=off go -C $$module mod tidy; done; \
		[[ $$pass == 2 ]] || go work sync; \
	done

.PHONY: setup
setup: .bin/proto.stamp .bin/lint.stamp .bin/vuln.stamp ## Build the development tools into .bin/

.PHONY: clients
clients: .bin/clients/ready ## Hold conversations through the official clients of other languages, gRPC, gRPC-Web and curl; needs node, npm and python3
	go test -count=1 -run 'TestOfficial' -v ./cmd/ragmesh/internal/e2e

.bin/clients/ready: .tools/clients/package-lock.json .tools/clients/requirements.txt $(wildcard proto/ragmesh/*/v1/*.proto)
	@rm -rf .bin/clients && mkdir -p .bin/clients && cp .tools/clients/package*.json .bin/clients/
	@npm --prefix .bin/clients ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@python3 -m venv .bin/clients/python
	@.bin/clients/python/bin/pip install --quiet --disable-pip-version-check --requirement .tools/clients/requirements.txt
	@.bin/clients/python/bin/python -m grpc_tools.protoc -Iproto -Iproto/third_party --include_imports --descriptor_set_out=$(@D)/contract.binpb proto/ragmesh/*/v1/*.proto
	@touch $@

.bin/encoder/ready: .tools/encoder/requirements.txt
	@rm -rf .bin/encoder && python3 -m venv .bin/encoder
	@.bin/encoder/bin/pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

.bin/%.stamp: .tools/%/go.mod .tools/%/go.sum
	@echo "building the $* tools into .bin/"
	@GOWORK=off GOBIN=$(CURDIR)/.bin go -C .tools/$* install -ldflags '-s -w' tool
	@touch $@

.PHONY: ci
ci: ## Everything that must hold before a change lands, as CI runs it
	@bash .ci/run

.PHONY: clean
clean: ## Remove what was built: bin/ and .bin/
	rm -rf bin .bin
