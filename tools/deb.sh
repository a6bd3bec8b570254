#!/bin/sh
# Builds the Debian package of Lamplight: tools/deb.sh BINARY VERSION OUT.deb. It needs dpkg-deb, which every Debian has. The same tree and
# binary give the same package. COMPRESS=none makes it larger and sooner.
set -eu
binary=$(realpath "$1") version=$2 out=$(realpath "$3")
cd "$(dirname "$0")/.."
umask 022
: "${SOURCE_DATE_EPOCH:=$(git -c safe.directory='*' log -1 --format=%ct 2>/dev/null || date +%s)}"
export SOURCE_DATE_EPOCH
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
chmod 755 "$root"
put() { install -D -m "$1" "$2" "$root/$3"; }
doc=usr/share/doc/lamplight

put 755 "$binary" usr/bin/lamplight
put 640 deploy/debian/lamplight.yaml etc/lamplight/lamplight.yaml # postinst gives it to the group lamplight
for unit in lamplight.service lamplight-backup.service lamplight-backup.timer; do
	put 644 deploy/$unit usr/lib/systemd/system/$unit
done
for shell in bash zsh fish; do
	"$binary" completion $shell >"$root/$shell"
done
put 644 "$root/bash" usr/share/bash-completion/completions/lamplight
put 644 "$root/zsh" usr/share/zsh/vendor-completions/_lamplight
put 644 "$root/fish" usr/share/fish/vendor_completions.d/lamplight.fish
rm "$root/bash" "$root/zsh" "$root/fish"
mkdir -p "$root/usr/share/man/man1"
"$binary" help --man | gzip -9n >"$root/usr/share/man/man1/lamplight.1.gz"

put 644 deploy/debian/copyright $doc/copyright
put 644 deploy/debian/README.Debian $doc/README.Debian
{
	printf 'lamplight (%s) unstable; urgency=medium\n\n  * CHANGELOG.md in this directory says what has changed.\n\n' "$version"
	printf ' -- %s  %s\n' "$(sed -n 's/^Maintainer: //p' deploy/debian/control)" "$(LC_ALL=C date -u -R -d "@$SOURCE_DATE_EPOCH")"
} | gzip -9n >"$root/$doc/changelog.gz"
put 644 deploy/debian/lintian-overrides usr/share/lintian/overrides/lamplight
for file in README.md CHANGELOG.md SECURITY.md CONTRIBUTING.md docs/*.md docs/contract/*.md docs/contract/asyncapi.yaml docs/pictures/*.png docs/examples/*.json docs/examples/*/* \
	deploy/nats*.conf deploy/prometheus/rules.yaml deploy/grafana/lamplight.json deploy/kamailio/* transport/rest/openapi.yaml transport/ui/client/README.md; do
	put 644 "$file" "$doc/$file" # where the links between them lead
done

mkdir "$root/DEBIAN"
size=$(du -ks --exclude=DEBIAN "$root" | cut -f1)
arch=${ARCH:-$(dpkg --print-architecture)}
sed -e "s/@VERSION@/$version/" -e "s/@ARCH@/$arch/" -e "s/@SIZE@/$size/" deploy/debian/control >"$root/DEBIAN/control"
put 644 deploy/debian/conffiles DEBIAN/conffiles
for script in postinst prerm postrm; do
	put 755 deploy/debian/$script DEBIAN/$script
done
(cd "$root" && find usr -type f -print0 | sort -z | xargs -0 md5sum) >"$root/DEBIAN/md5sums"
dpkg-deb --root-owner-group -Z"${COMPRESS:-xz}" --build "$root" "$out" >/dev/null
