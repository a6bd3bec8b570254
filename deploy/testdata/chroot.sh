# Runs DIR/deb.sh in a copy of this machine's files: sh chroot.sh DIR. It is called in namespaces of its own for mounts, network and processes,
# which end with it.
set -eu
dir=$1
mkdir "$dir/top"
mount -t tmpfs tmpfs "$dir/top" # an overlay can't be written on another overlay, which / is in a container
mkdir "$dir/top/upper" "$dir/top/work" "$dir/top/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$dir/top/upper,workdir=$dir/top/work" "$dir/top/root"
root=$dir/top/root
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
for empty in tmp run; do
	mount -t tmpfs tmpfs "$root/$empty"
done
chmod 1777 "$root/tmp"
mkdir -p "$root/packages"
mount --bind "$dir" "$root/packages"
ip link set lo up
exec chroot "$root" sh -eu /packages/deb.sh
