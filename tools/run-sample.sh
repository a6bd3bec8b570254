#!/bin/sh
# Starts a node, loads the sample account $1, and prints requests to try, with a token. It ends when the node ends.
set -eu
account=$1
http=${LAMPLIGHT_HTTP:-127.0.0.1:8000}
port=${http##*:}
bin/lamplight serve &
node=$!
trap 'kill -TERM $node 2>/dev/null; wait $node; exit' INT TERM
n=0
until curl -sf -o /dev/null "http://127.0.0.1:$port/readyz"; do
	kill -0 $node 2>/dev/null || { wait $node; exit; }
	n=$((n + 1))
	[ $n -lt 600 ] || { echo "The node is not ready after a minute; its log is above." >&2; kill $node; exit 1; }
	sleep 0.1
done
bin/lamplight import docs/examples/acme.json
token=$(bin/lamplight token --account "$account" --ttl 12h)
base=http://127.0.0.1:$port/v2/accounts/$account
cat <<TEXT

Lamplight is running. In another terminal:

TOKEN=$token
BASE=$base

curl -H "X-Auth-Token: \$TOKEN" \$BASE/presence
curl -H "X-Auth-Token: \$TOKEN" -X POST -d '{"data": {"action": "reset"}}' "\$BASE/presence/*3101"
curl -H "X-Auth-Token: \$TOKEN" -X POST -d '{"data":{"action":"set","state":"confirmed"}}' \$BASE/devices/d1000000000000000000000000001001/presence
curl -H "X-Auth-Token: \$TOKEN" "\$BASE/presence/1001?explain=true"
curl -H "X-Auth-Token: \$TOKEN" -X POST -d '{"data":{"action":"reset"}}' \$BASE/devices/d1000000000000000000000000001001/presence
curl -H "X-Auth-Token: \$TOKEN" -X POST -d '{"data":{"action":"reset"}}' \$BASE/users/a1000000000000000000000000001002/presence
curl -H "X-Auth-Token: \$TOKEN" -X POST -d '{"data":{"action":"reset","state":"early"}}' \$BASE/users/a1000000000000000000000000001002/presence

bin/lamplight presence watch --account $account

Ctrl-C ends the node. Its data stay in ./lamplight-data.
TEXT
wait $node
