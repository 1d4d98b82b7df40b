# Casement: `make help` lists the targets.
SHELL   := /bin/bash
BIN     := bin/casement
GO      := CGO_ENABLED=0 go
ARGS    ?=
FUZZ    ?= 120
SEEDS   ?= 1000
FROM    ?= 1

.DEFAULT_GOAL := help
BENCH   ?=

.PHONY: help screenshots controls bench build demo test test-full race fuzz mutants kill sim sim-mutants generate deps lint setup targets

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

build: ## build bin/casement
	$(GO) build -trimpath -o $(BIN) ./cmd/casement

demo: build ## build, then see the loop work in a minute (ARGS=--once: nobody has to press a key)
	@$(BIN) demo $(ARGS)

setup: ## install what the tests need (Chromium, small real servers)
	@scripts/setup.sh

targets: setup ## get the dear real servers once (MinIO, Kubernetes API server, Gitea: about 1100 CPU-seconds; Ceph: 450 MB)
	@for t in minio kube-apiserver gitea ceph-rgw; do scripts/targets/$$t.sh >/dev/null || exit 1; done

test: setup ## install what the tests need, run all of them
	@scripts/test.sh -timeout 15m -p 3 ./... # three packages at a time: the long ones mostly wait for servers

test-full: targets ## everything, nothing may be skipped, plus mutants, the long simulation and the long kill run
	@CASEMENT_FULL=1 scripts/test.sh -timeout 60m -p 3 ./...
	@$(MAKE) --no-print-directory -j2 --output-sync=target kill mutants sim sim-mutants
	@echo "make test-full: all tests, mutants, seeds and kills passed; nothing was skipped"

race: ## the race detector, over all but the readers and the SQL driver
	@scripts/race.sh

fuzz: ## fuzz every reader of outside bytes, FUZZ seconds in all
	@scripts/fuzz.sh $(FUZZ)

mutants: ## break the core in fixed ways; every break must be found
	$(GO) test -tags mutants -count=1 -timeout 30m ./internal/remedy/mutants

sim: ## live SEEDS seeded lives from FROM on (SEEDS=10000 is the long run), then some on the real stores
	$(GO) test -c -o bin/simulation.test ./internal/simulation
	cd internal/simulation && ../../bin/simulation.test -test.v -test.timeout 6h -test.run 'TestSeeds$$' -from $(FROM) -seeds $(SEEDS)
	cd internal/simulation && ../../bin/simulation.test -test.v -test.timeout 1h -test.run 'TestOn' -from $(FROM) -stores 20

sim-mutants: ## put twelve bugs into the product; the seeds must find each
	$(GO) test -tags mutants -count=1 -timeout 2h -v ./internal/simulation/mutants

kill: ## kill -9 the server under load, 200 times
	CASEMENT_KILLS=200 $(GO) test -count=1 -timeout 60m -run 'TestKill$$' -v ./internal/app

controls: targets ## time every action against its real server and write the column of docs/controls.md
	$(GO) test -count=1 -timeout 30m ./internal/app -run '^$$' -bench ApprovalToProof -benchtime 9x -args -update

bench: build ## measure beside the floors, on this disk (BENCH: flags, e.g. BENCH="-run p1,p5 -d 2s -repeat 1")
	$(GO) build -trimpath -o bin/casement-bench ./cmd/casement-bench
	bin/casement-bench -casement $(BIN) -dir bin $(BENCH)

generate: ## make generated files anew (pages, picture of states, dependency list)
	go run -modfile=tools/go.mod github.com/a-h/templ/cmd/templ generate -path internal/web
	$(GO) test ./internal/remedy -run TestPicture -update
	@$(MAKE) --no-print-directory deps

deps: ## write the list of modules that are linked into the binary
	@$(GO) list -deps -f '{{with .Module}}{{.Path}} {{.Version}}{{end}}' ./cmd/casement | LC_ALL=C sort -u | sed '/^$$/d;/^github.com\/casement\/casement /d' > docs/dependencies.txt

screenshots: setup ## take docs/screenshots anew, of a real server in Chromium (CASEMENT_SHOTS=DIR: every page in every look)
	$(GO) test -count=1 -timeout 20m -run 'TestPages$$' ./cmd/casement -update

lint: ## gofmt, vet, staticcheck, tidy, generated files
	@scripts/lint.sh
