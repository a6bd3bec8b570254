# Runs the files of the image in DIR as a container would: sh image.sh DIR USER HEALTHCHECK -- COMMAND. It is called in namespaces of its own.
set -eu
dir=$1 user=$2 health=$3
shift 4
ip link set lo up
export LAMPLIGHT_DRAIN_GRACE=0 # no load balancer waits here
mkdir "$dir/proc"
mount -t proc proc "$dir/proc"
chroot --userspec="$user" "$dir" "$@" &
node=$!
for _ in $(seq 600); do
	if chroot --userspec="$user" "$dir" $health; then
		kill -TERM $node
		wait $node
		echo "the node was healthy and ended well"
		exit 0
	fi
	kill -0 $node
	sleep 0.1
done 2>"$dir/tmp/health"
cat "$dir/tmp/health"
exit 1
