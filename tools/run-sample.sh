#!/bin/sh
# Starts a node, loads the sample account $1, and prints requests to try, with a token. It ends when the node ends, whose pid it writes to
# node.pid in the data directory. LAMPLIGHT_DATA,
# LAMPLIGHT_HTTP, LAMPLIGHT_NATS_LISTEN, LAMPLIGHT_GOSSIP, LAMPLIGHT_SIP_UDP and LAMPLIGHT_SIP_TCP choose another data directory and other ports, for a second node.
set -eu
account=$1
data=${LAMPLIGHT_DATA:-./lamplight-data}
export LAMPLIGHT_SIP_UDP=${LAMPLIGHT_SIP_UDP-127.0.0.1:5060} # for phones on this machine
export LAMPLIGHT_SIP_TCP=${LAMPLIGHT_SIP_TCP-127.0.0.1:5060}
said=$(mktemp)
# The node is in a session of its own, so that Ctrl-C reaches this script alone, which then ends the node with one signal. A second
# signal would end the node at once.
setsid bin/lamplight serve --drain-grace 0 >"$said" &
node=$!
trap 'rm -f "$said"' EXIT
trap 'kill -TERM $node 2>/dev/null; wait $node; exit' INT TERM HUP
n=0
# It must be this node that is ready, and not another one that has the same port.
until grep -q 'is ready' "$said"; do
	if ! kill -0 $node 2>/dev/null; then
		code=0
		wait $node || code=$?
		echo "The node did not start; the reason stands above. If Lamplight runs here already (LAMPLIGHT_HTTP ${LAMPLIGHT_HTTP:-127.0.0.1:8000}, LAMPLIGHT_DATA $data), use it, stop it, or choose" >&2
		echo "another data directory and other ports: LAMPLIGHT_DATA, LAMPLIGHT_HTTP, LAMPLIGHT_NATS_LISTEN, LAMPLIGHT_GOSSIP, LAMPLIGHT_SIP_UDP, LAMPLIGHT_SIP_TCP." >&2
		exit $((code > 0 ? code : 1))
	fi
	n=$((n + 1))
	[ $n -lt 600 ] || { echo "The node is not ready after a minute; its log is above." >&2; kill $node; exit 1; }
	sleep 0.1
done
echo $node >"$data/node.pid"
grep 'listening on' "$said"
http=$(sed -n 's/^http listening on //p' "$said")
nats=$(sed -n 's/^nats listening on //p' "$said")
if [ -n "$nats" ]; then
	export LAMPLIGHT_NATS="nats://$nats" # of this node, whatever else runs here
fi
bin/lamplight import docs/examples/acme.json
token=$(bin/lamplight token --account "$account" --ttl 12h)
base=http://127.0.0.1:${http##*:}/v2/accounts/$account
watch="bin/lamplight presence watch --account $account"
[ -z "$nats" ] || [ "$nats" = 127.0.0.1:4222 ] || watch="$watch --nats nats://$nats"
cat <<TEXT

Lamplight is running. The lamps are on a page: http://127.0.0.1:${http##*:}/ui. Log in as ada with the password change-me-ada and the realm acme.example.com, or with the token below. In another terminal:

TOKEN=$token
BASE=$base

curl -H "X-Auth-Token: \$TOKEN" \$BASE/presence
curl -H "X-Auth-Token: \$TOKEN" -X POST -d '{"data": {"action": "reset"}}' "\$BASE/presence/*3101"
curl -H "X-Auth-Token: \$TOKEN" -X POST -d '{"data":{"action":"set","state":"confirmed"}}' \$BASE/devices/d1000000000000000000000000001001/presence
curl -H "X-Auth-Token: \$TOKEN" "\$BASE/presence/1001?explain=true"
curl -H "X-Auth-Token: \$TOKEN" -X POST -d '{"data":{"action":"reset"}}' \$BASE/devices/d1000000000000000000000000001001/presence
curl -H "X-Auth-Token: \$TOKEN" -X POST -d '{"data":{"action":"reset"}}' \$BASE/users/a1000000000000000000000000001002/presence
curl -H "X-Auth-Token: \$TOKEN" -X POST -d '{"data":{"action":"reset","state":"early"}}' \$BASE/users/a1000000000000000000000000001002/presence

$watch

Ctrl-C ends the node. Its data stay in $data.
TEXT
wait $node
