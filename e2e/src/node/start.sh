# The first process of a node, in namespaces of its own: mounts what a node sees, sets up its network, and stays.
# start.sh FOLDER NAME ADDRESS OPTION..., where each OPTION mounts a hierarchy of cgroups of version 1; none: version 2.
set -eu
folder=$1 name=$2 address=$3
shift 3
echo "$name" >/proc/sys/kernel/hostname

# Of the network that this node has, and not of the machine's.
umount -R /sys/fs/cgroup
umount -l /sys
mount -t sysfs sysfs /sys
if [ $# -eq 0 ]; then
  mount -t cgroup2 cgroup2 /sys/fs/cgroup
  # The kubelet says which of those it misses that cannot be had.
  for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do
    echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control || :
  done
else
  mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
  for option in "$@"; do
    case $option in
      name=*) place=${option#name=} option=none,$option ;;
      *) place=$option ;;
    esac
    mkdir "/sys/fs/cgroup/$place"
    mount -t cgroup -o "$option" cgroup "/sys/fs/cgroup/$place"
    # Those that are mounted together are looked for one by one.
    case $place in
      *,*) for one in $(echo "$place" | tr , ' '); do ln -s "$place" "/sys/fs/cgroup/$one"; done ;;
    esac
  done
fi

# What kubelet and runtime write outside of the folders that they are told must not reach the machine.
for place in /run /var/lib /var/log /opt; do mount -t tmpfs -o mode=755 tmpfs "$place"; done
mount --make-rshared /

ip link set lo up
if [ "$address" != none ]; then
  ip link add node0 type bridge
  ip address add "$address/24" dev node0
  ip link set node0 up
  # To nobody: without a default route the kernel refuses addresses of Services before they are translated.
  ip route add default via "${address%.*}.254" dev node0
fi
echo 1 >/proc/sys/net/ipv4/ip_forward
# Where bridges are a module of the kernel, it shows these only once that is loaded.
for setting in bridge/bridge-nf-call-iptables ipv4/conf/all/route_localnet; do
  [ ! -e "/proc/sys/net/$setting" ] || echo 1 >"/proc/sys/net/$setting"
done
: >"$folder/started"

# It reaps what is left to it.
while :; do
  sleep 3600 &
  wait $! || :
done
