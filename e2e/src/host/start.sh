# The first process of a host, in namespaces of its own: mounts what a host sees, joins its network, and becomes systemd.
# start.sh FOLDER ROOT NAME ADDRESS NETWORK LINK STATE BOUNDING_SET
set -eu
umask 022
folder=$1 root=$2 name=$3 address=$4 network=$5 link=$6 state=$7 bounding_set=$8

# Its number as the machine counts. The shell itself reads it: in a program that it starts, self would be that program.
while read -r key value _; do
  [ "$key" != NSpid: ] || echo "$value" >"$folder/leader.new"
done </proc/self/status
echo "$name" >/proc/sys/kernel/hostname

# The network of an earlier boot goes a moment after its processes.
nsenter --net="$network" ip link delete "$link" 2>/dev/null || :
nsenter --net="$network" ip link add "$link" type veth peer name eth0 netns $$
nsenter --net="$network" ip link set "$link" master br0 "$state"
ip link set lo up
ip address add "$address/24" dev eth0
ip link set eth0 up

# Volatile: nothing waits for the machine's disk, which would be flushed at each end. What is written outlives a host
# all the same, but not the machine; so the mark that says so is no reason to refuse the next boot.
rm -rf "$folder/work/work/incompat"
mount -t overlay overlay -o "volatile,lowerdir=$root,upperdir=$folder/upper,workdir=$folder/work" "$folder/root"
cd "$folder/root"
mount -t proc proc proc
# What is set here, and what is asked by a key press, would happen to the machine.
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
[ ! -e proc/sysrq-trigger ] || mount --bind /dev/null proc/sysrq-trigger
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs dev
for device in null zero full random urandom tty; do
  : >"dev/$device"
  mount --bind "/dev/$device" "dev/$device"
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts dev/pts
mount -t tmpfs -o mode=1777 tmpfs dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
for number in 0=stdin 1=stdout 2=stderr; do ln -s "/proc/self/fd/${number%=*}" "dev/${number#*=}"; done
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
mount --bind "$folder/share" mnt

mkdir run/machine
mv "$folder/leader.new" "$folder/leader"
pivot_root . run/machine
umount -l /run/machine
rmdir /run/machine
exec setpriv --bounding-set="$bounding_set" \
  env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin container=lapse TERM=dumb /sbin/init
