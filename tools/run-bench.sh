#!/bin/sh
# Runs the standard set of `lamplight bench` on nodes of its own, one run after the other. The results go to the directory $1
# (bench-results). It fails if a run finds something wrong, and never because something is slow.
set -eu
out=${1:-bench-results}
mkdir -p "$out"
run() {
	name=$1
	shift
	echo "== $name: lamplight bench $*"
	bin/lamplight bench "$@" --json "$out/$name.json" --html "$out/$name.html"
	echo
}
run subscribe subscribe --extensions 100000 --duration 20s
run blf blf --extensions 5000 --storm 5000 --duration 20s
run blf-3-nodes blf --nodes 3 --extensions 2000 --duration 20s
run fanout fanout --duration 15s
run rest rest --duration 15s
run failover failover --extensions 1000 --duration 45s
run search-refresh subscribe --extensions 20000 --rate 1000 --search 'refresh:p99<100ms' --duration 5s
run search-calls blf --extensions 10000 --rate 500 --ring 1s --talk 1s --search 'told:p99<250ms' --duration 5s
echo "The reports with plots are $out/*.html. To compare two results: bin/lamplight bench compare A.json B.json"
