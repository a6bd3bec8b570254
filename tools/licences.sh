#!/usr/bin/env bash
# Writes the licences of all modules that are linked into the binary to the file that is its argument. Fails if a module has no
# licence, or one that is not in the list `known`.
set -euo pipefail
cd "$(dirname "$0")/.."
export CGO_ENABLED=0 # as the binary is built
known="Apache-2.0 BSD-2-Clause BSD-3-Clause ISC MIT MPL-2.0"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
go list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}}{{end}}{{end}}' ./cmd/lamplight | sort -u >"$scratch/modules"
echo '{{range .}}{{.Name}} {{.LicenseName}} {{.LicensePath}}
{{end}}' >"$scratch/template"
# go-licenses looks up an address for each licence in the network. The template leaves the address out, so that the report is the
# same without a network.
if ! GOROOT=$(go env GOROOT) go tool -modfile=tools/licences/go.mod go-licenses report ./cmd/lamplight --ignore lamplight \
  --template "$scratch/template" >"$scratch/found" 2>"$scratch/talk"; then
  cat "$scratch/talk" >&2
  exit 1
fi
{
  cat <<'END'
# Licences of what is linked

`make licences` writes this list of the Go modules that are linked into the binary `lamplight`, and `make licences-check` fails when it is out of
date, or when a module has no licence that `tools/licences.sh` knows. The binary also holds Go's own runtime and standard library
([BSD-3-Clause](https://go.dev/LICENSE)). Lamplight itself has no licence yet: see the README.

A module has several rows where some of its packages have a licence of their own, and several licences where one file holds several texts.
The link leads to the texts; in the module cache a file is at `$(go env GOMODCACHE)/MODULE@VERSION/FILE`.

| module | version | licence | text |
|---|---|---|---|
END
  awk -v known="$known" '
    BEGIN { split(known, k, " "); for (i in k) good[k[i]] = 1 }
    FNR == NR { version[$1] = $2; next }
    NF {
      for (m = $1; m != "" && !(m in version);) if (!sub("/[^/]*$", "", m)) m = ""
      if (m == "") { print $1 ": go-licenses found it, and it is in no linked module" >"/dev/stderr"; bad = 1; next }
      if (!($2 in good)) {
        print m " " version[m] ": its licence is " $2 ", which is none of " known ": read it and add it to tools/licences.sh, or do without the module" >"/dev/stderr"
        bad = 1
      }
      file = $3; sub(".*@[^/]*/", "", file)
      row = m SUBSEP file
      if (row in licences) licences[row] = licences[row] ", " $2
      else licences[row] = $2
      seen[m] = 1
    }
    END {
      for (m in version) if (!(m in seen)) { print m " " version[m] ": no licence was found" >"/dev/stderr"; bad = 1 }
      for (row in licences) {
        split(row, part, SUBSEP)
        print "| " part[1] " | " version[part[1]] " | " licences[row] " | [" part[2] "](https://pkg.go.dev/" part[1] "@" version[part[1]] "?tab=licenses) |"
      }
      exit bad
    }' "$scratch/modules" "$scratch/found" | LC_ALL=C sort
} >"$scratch/list"
cp "$scratch/list" "$1"
