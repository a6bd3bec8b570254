# The life of the package. Each step says what it wants; the first that fails ends the script.
export DEBIAN_FRONTEND=noninteractive PATH=/usr/sbin:/usr/bin:/sbin:/bin
conf=/etc/lamplight/lamplight.yaml
unit=/usr/lib/systemd/system/lamplight.service
fail() { echo "FAILED: $*" >&2; exit 1; }
want() { "$@" || fail "$*"; }
installed() { dpkg-query -W -f '${db:Status-Status} ${Version}' lamplight 2>/dev/null || true; }

# as_user UNIT KEY runs a line of a unit as systemd would, as far as it goes without systemd.
as_user() {
	line=$(sed -n "s/^$2=//p" "/usr/lib/systemd/system/$1")
	user=$(sed -n 's/^User=//p' "/usr/lib/systemd/system/$1")
	want test -n "$line" -a "$user" = lamplight
	want grep -q '^EnvironmentFile=-/etc/default/lamplight$' "/usr/lib/systemd/system/$1"
	set -a
	. /etc/default/lamplight
	exec runuser -u "$user" -- $line
}
start() {
	(cd / && as_user lamplight.service ExecStart) >/tmp/log 2>&1 &
	node=$!
	for _ in $(seq 600); do
		if lamplight ready >/dev/null 2>&1; then return; fi
		kill -0 $node 2>/dev/null || { cat /tmp/log; fail "the node ended"; }
		sleep 0.1
	done
	cat /tmp/log
	fail "the node is not ready"
}
stop() {
	pid=$(pidof lamplight)
	kill -TERM $pid
	wait $node || fail "the node ended with $?: $(cat /tmp/log)"
}

echo LAMPLIGHT_DRAIN_GRACE=0 >/etc/default/lamplight # no load balancer waits here
rm -f /var/lib/man-db/auto-update # else each dpkg reads the manual pages of the whole machine again, which is most of the time
test -z "$(installed)" || fail "there is a package lamplight on this machine"

echo "$(date +%T) install 0.0.9"
want dpkg --force-unsafe-io -i /packages/0.0.9.deb
want test "$(installed)" = "installed 0.0.9"
want id lamplight
want test "$(getent passwd lamplight | cut -d: -f7)" = /usr/sbin/nologin
want test "$(stat -c '%U:%G %a' /var/lib/lamplight)" = "lamplight:lamplight 700"
want test "$(stat -c '%U:%G %a' /var/backups/lamplight)" = "lamplight:lamplight 700"
want test "$(stat -c '%U:%G %a' $conf)" = "root:lamplight 640"
want test -e /etc/systemd/system/multi-user.target.wants/lamplight.service
want test ! -e /etc/systemd/system/timers.target.wants/lamplight-backup.timer
want test -s /usr/share/bash-completion/completions/lamplight -a -s /usr/share/zsh/vendor-completions/_lamplight -a -s /usr/share/fish/vendor_completions.d/lamplight.fish
want test "$(zcat /usr/share/man/man1/lamplight.1.gz | head -c 3)" = .TH
want test -s /usr/share/doc/lamplight/docs/upgrading.md -a -s /usr/share/doc/lamplight/copyright
want dpkg --verify lamplight
want lamplight check-config --config $conf
want runuser -u lamplight -- lamplight doctor --config $conf

echo "$(date +%T) start"
start
want lamplight import /packages/acme.json
want runuser -u lamplight -- lamplight token --config $conf --account 4f3c1c0ad1cd4bd2a1bd0d3c6f2a9e10 >/tmp/token
want lamplight doctor --config $conf
(as_user lamplight-backup.service ExecStart) || fail "the backup"
want lamplight backup verify /var/backups/lamplight/lamplight-*.backup
echo 'rate-limit: 1000' >>$conf
want kill -HUP "$(pidof lamplight)" # ExecReload
for _ in $(seq 100); do
	if grep -q 'configuration is read again' /tmp/log; then break; fi
	sleep 0.1
done
grep -q 'rate-limit' /tmp/log || { cat /tmp/log; fail "the reload is not in the log"; }
stop

echo "$(date +%T) upgrade to 0.1.0; both sides have changed the configuration"
want dpkg --force-unsafe-io --force-confdef --force-confold -i /packages/0.1.0.deb
want test "$(installed)" = "installed 0.1.0"
want grep -q '^rate-limit: 1000' $conf
want test "$(stat -c '%U:%G %a' $conf)" = "root:lamplight 640"
want test -e $conf.dpkg-dist
want test -e /etc/systemd/system/multi-user.target.wants/lamplight.service
start
TOKEN=$(cat /tmp/token)
want curl -sf -o /dev/null -H "X-Auth-Token: $TOKEN" http://127.0.0.1:8000/v2/accounts/4f3c1c0ad1cd4bd2a1bd0d3c6f2a9e10/presence
stop

echo "$(date +%T) remove"
want dpkg -r lamplight
want test ! -e /usr/bin/lamplight
want test -e $conf -a -e /var/lib/lamplight/token.pem

echo "$(date +%T) install again: what was removed is found"
want dpkg --force-unsafe-io --force-confdef --force-confold -i /packages/0.1.0.deb
want grep -q '^rate-limit: 1000' $conf
start
want curl -sf -o /dev/null -H "X-Auth-Token: $TOKEN" http://127.0.0.1:8000/v2/accounts/4f3c1c0ad1cd4bd2a1bd0d3c6f2a9e10/presence
stop

echo "$(date +%T) with systemd: an upgrade restarts a node that runs; what was removed is started, but not against an administrator's mask"
mkdir -p /run/systemd/system /usr/local/sbin
rm -f /usr/sbin/policy-rc.d
printf '#!/bin/sh\necho "$*" >>/tmp/systemctl\n' >/usr/local/sbin/systemctl
chmod 755 /usr/local/sbin/systemctl
PATH=/usr/local/sbin:$PATH
did() { grep -o ' --no-block .*' /tmp/systemctl || true; rm -f /tmp/systemctl; }
again() { want dpkg --force-unsafe-io --force-confdef --force-confold -i /packages/0.1.0.deb; }
chgrp root $conf
dpkg-statoverride --add root root 640 $conf
again
want test "$(did)" = " --no-block try-restart lamplight.service"
want test "$(stat -c '%U:%G %a' $conf)" = "root:root 640"
dpkg-statoverride --remove $conf
want dpkg -r lamplight
did >/dev/null
again
want test "$(did)" = " --no-block start lamplight.service"
want test "$(stat -c '%U:%G %a' $conf)" = "root:lamplight 640"
chmod 600 $conf
ln -s /dev/null /etc/systemd/system/lamplight.service
want dpkg -r lamplight
did >/dev/null
again
want test "$(did)" = " --no-block try-restart lamplight.service"
want test "$(stat -c '%U:%G %a' $conf)" = "root:lamplight 600"
rm /etc/systemd/system/lamplight.service
printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
again
want test -z "$(did)"
rm -r /run/systemd

echo "$(date +%T) purge; the data are on a file system of their own"
mkdir /tmp/data
mount -t tmpfs tmpfs /tmp/data
cp -a /var/lib/lamplight/. /tmp/data
mount --bind /tmp/data /var/lib/lamplight
want dpkg --purge lamplight
want test -z "$(ls -A /var/lib/lamplight)"
umount /var/lib/lamplight
want test -e /var/lib/lamplight/token.pem
umount /tmp/data

echo "$(date +%T) purge; the data are behind a link"
want dpkg --force-unsafe-io -i /packages/0.1.0.deb
mv /var/lib/lamplight /srv/lamplight
ln -s /srv/lamplight /var/lib/lamplight
want dpkg --purge lamplight
want test -z "$(ls -A /srv/lamplight)" -a ! -L /var/lib/lamplight

echo "$(date +%T) purge"
want dpkg --force-unsafe-io -i /packages/0.1.0.deb
want test -d /var/lib/lamplight
want dpkg --purge lamplight
want test -z "$(installed)"
want test ! -e /etc/lamplight/lamplight.yaml -a ! -e /var/lib/lamplight -a ! -e $unit
want test ! -e /etc/systemd/system/multi-user.target.wants/lamplight.service
want test -n "$(ls /var/backups/lamplight)"
want id lamplight
echo "all steps are done"
