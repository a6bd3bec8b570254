#!/bin/sh
# Writes cmd/lamplight/default.pgo, the profile that `go build` optimizes for. It comes from the benchmarks of the hot paths.
set -eu
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
go test -c -o "$out/bench.test" ./bench
i=0
for path in Refresh/lamplight Change/watchers=20/lamplight RESTRead/owner=near/lamplight RESTRead/owner=far/lamplight RESTSet/lamplight ListAll/lamplight; do
	i=$((i + 1))
	(cd bench && "$out/bench.test" -test.run '^$' -test.bench "$path" -test.benchtime 4s -test.cpuprofile "$out/$i.cpu")
done
go tool pprof -proto "$out"/*.cpu >cmd/lamplight/default.pgo
