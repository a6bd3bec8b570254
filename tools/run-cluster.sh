#!/bin/sh
# Starts three nodes on loopback, whose embedded NATS servers replicate. Loads the sample account $1, and prints commands that use
# the cluster, kill a node and start it again. It ends when all three nodes have ended, and Ctrl-C ends them, also those that were started
# again with the pid in their file. CLUSTER_HTTP="8001 8002 8003", CLUSTER_NATS, CLUSTER_GOSSIP and CLUSTER_ROUTES choose other ports.
set -eu
account=$1
dir=lamplight-cluster
http=${CLUSTER_HTTP:-8001 8002 8003}
nats=${CLUSTER_NATS:-4222 4223 4224}
gossip=${CLUSTER_GOSSIP:-7946 7947 7948}
routes=${CLUSTER_ROUTES:-6222 6223 6224}

nth() { shift "$1"; echo "$1"; } # nth 2 a b c prints b
umask 077
mkdir -p $dir
[ -s $dir/gossip.key ] || (umask 077; od -An -N32 -tx1 /dev/urandom | tr -d ' \n' >$dir/gossip.key)
join=
for p in $gossip; do join=$join${join:+, }127.0.0.1:$p; done

# Nodes of an earlier call would answer for those that this one starts.
for p in $http; do
	if curl -s -o /dev/null --max-time 2 "http://127.0.0.1:$p/healthz"; then
		echo "Something answers on http://127.0.0.1:$p already, perhaps the nodes of another make cluster. Use them, stop them, or choose other ports: CLUSTER_HTTP, CLUSTER_NATS, CLUSTER_GOSSIP, CLUSTER_ROUTES." >&2
		exit 1
	fi
done

rm -f $dir/*.pid # of an earlier call
signal() { cat $dir/*.pid 2>/dev/null | xargs -r kill -TERM 2>/dev/null || true; }
# A node that was started again is no child of this script, which can't wait for it. The command line of a child that has ended is empty.
ended() {
	for node in a b c; do
		while grep -qs "$dir/$node.yaml" "/proc/$(cat $dir/$node.pid 2>/dev/null)/cmdline"; do sleep 0.2; done
	done
}
# A second Ctrl-C ends the nodes at once.
stop() {
	trap signal INT TERM HUP
	signal
	for p in $pids; do wait "$p" || true; done
	ended
	exit "${1:-0}"
}
pids=
trap stop INT TERM HUP
i=0
for node in a b c; do
	i=$((i + 1))
	cat >$dir/$node.yaml <<YAML
node: $node
data: $dir/$node
http: 127.0.0.1:$(nth $i $http)
nats-listen: 127.0.0.1:$(nth $i $nats)
nats-cluster: 127.0.0.1:$(nth $i $routes)
gossip: 127.0.0.1:$(nth $i $gossip)
gossip-key: $dir/gossip.key
join: [$join]
drain-grace: 0s
YAML
	# In a session of its own, so that Ctrl-C reaches this script alone, which ends the nodes with one signal.
	setsid bin/lamplight serve --config $dir/$node.yaml >>$dir/$node.log 2>&1 &
	pids="$pids $!"
	echo $! >$dir/$node.pid
done
echo "Three nodes are starting. Their logs are $dir/a.log, $dir/b.log and $dir/c.log."
i=0
for node in a b c; do
	i=$((i + 1))
	n=0
	until curl -sf -o /dev/null "http://127.0.0.1:$(nth $i $http)/readyz"; do
		n=$((n + 1))
		if ! kill -0 "$(cat $dir/$node.pid)" 2>/dev/null || [ $n -ge 900 ]; then
			echo "Node $node is not ready. These are the last lines of its log, $dir/$node.log:" >&2
			tail -n 5 $dir/$node.log >&2
			stop 1
		fi
		sleep 0.1
	done
done
url=nats://127.0.0.1:$(nth 1 $nats)
bin/lamplight import docs/examples/acme.json --nats "$url"
bin/lamplight cluster --nats "$url"
token=$(bin/lamplight token --account "$account" --ttl 12h --data $dir/a)
base() { echo "http://127.0.0.1:$(nth "$1" $http)/v2/accounts/$account"; }
cat <<TEXT

Three nodes are running, and each answers for all. In another terminal:

TOKEN=$token
curl -H "X-Auth-Token: \$TOKEN" -X POST -d '{"data":{"action":"set","state":"confirmed"}}' "$(base 1)/presence/*3101"
curl -H "X-Auth-Token: \$TOKEN" "$(base 2)/presence/*3101?explain=true&pretty_print=true"

Kill node c, which owns this extension. Another node takes over, and the lamp stays lit:

kill -9 \$(cat $dir/c.pid)
curl -H "X-Auth-Token: \$TOKEN" "$(base 2)/presence/*3101?explain=true&pretty_print=true"
bin/lamplight cluster --nats $url

Start node c again, and it takes its share of the extensions back:

bin/lamplight serve --config $dir/c.yaml >>$dir/c.log 2>&1 & echo \$! >$dir/c.pid

Ctrl-C in this terminal ends all three nodes. Their data stay in ./$dir.
TEXT
for p in $pids; do wait "$p" || true; done
ended
