#!/bin/sh
# Writes the files of the container image into a directory: tools/image-root.sh BINARY DIR. deploy/Dockerfile runs it. The binary must be static.
set -eu
binary=$1 dir=$2
umask 022
install -D -m 755 "$binary" "$dir/lamplight"
install -D -m 644 /etc/ssl/certs/ca-certificates.crt "$dir/etc/ssl/certs/ca-certificates.crt"
echo 'lamplight:x:10001:10001:Lamplight:/data:/nonexistent' >"$dir/etc/passwd"
echo 'lamplight:x:10001:' >"$dir/etc/group"
install -d -m 1777 "$dir/tmp"
