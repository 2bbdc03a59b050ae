#!/usr/bin/env bash
# systemd 252 (Debian 12) and 257 (Debian 13), a group in a file of /etc/userdb or /run/userdb: its `members` are shown by
# `getent group`, and are members of nothing: their logins are without the group. The file USER:GROUP.membership that it
# takes besides is ignored if it is empty, which is how nss-systemd(8) wants it: "The contents of these files are
# currently not read, and the files should be created empty" (257; 252 does not mention these files). With any content the
# user is in the group.
#
# Expected: what `getent group` shows as a member is one, all the more as the format says that a membership "can
# either be denoted in the JSON user record or in the JSON group record, or in both"; and an empty file counts, as the
# manual says.
#
# Why: only .membership files are looked through for the groups of a user, and they are looked up as configuration, of which
# an empty file is a masked one.
#
# What to do: write `{}` into the .membership file; ask `id USER`, not `getent group`, whether somebody is a member.
#
# Takes root, cgroups of version 2, and a Debian whose package sources have both releases. Seen on 2026-11-29, with
# 252.39 and 257.13: what is below as `expected`.
set -euo pipefail

if [ "${1-}" != inside ]; then
  folder="$(mktemp -d)"
  # shellcheck disable=SC2016 # They are for the inner shell.
  trap '
    kill -KILL "$inside" 2> /dev/null || true
    unshare --mount bash -c '\''
      mount -t cgroup2 cgroup2 "$0"
      for try in {1..50}; do
        find "$0" -depth -path "*/${0##*/}-*" -type d -exec rmdir {} + 2> /dev/null && break
        sleep 0.1
      done'\'' "$folder"
    rmdir "$folder"' EXIT
  # What is mounted and started inside goes with the namespaces.
  unshare --mount --propagation private --pid --mount-proc --fork --kill-child bash "$0" inside "$folder" &
  inside="$!"
  wait "$inside"
  exit
fi
folder="$2"
mount -t tmpfs -o mode=755 finding "$folder"
export TMPDIR="$folder"

# Unpacks packages of a release of Debian, from where this machine has its own. Nothing is configured.
unpack() {
  local release="$1" own root="$folder/$1" apt="$folder/$1.apt" archive
  shift
  own="$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)"
  mkdir -p "$root" "$apt"/{lists,archives}/partial
  sed "s/\b$own\b/$release/g" /etc/apt/sources.list.d/debian.sources > "$apt/debian.sources"
  : > "$apt/status"
  local get=(apt-get --quiet=2 --option APT::Sandbox::User=root --option "Dir::Cache=$apt" --option "Dir::State=$apt"
    --option "Dir::State::status=$apt/status" --option "Dir::Etc::SourceList=$apt/debian.sources"
    --option Dir::Etc::SourceParts=-)
  "${get[@]}" update
  "${get[@]}" --yes --no-install-recommends --download-only install "$@" > /dev/null
  for archive in "$apt"/archives/*.deb; do
    # The versions that were asked for are said in full.
    [[ " $*" != *" $(dpkg --field "$archive" Package)="* ]] || dpkg-deb --show "$archive"
    dpkg --extract "$archive" "$root"
    rm "$archive"
  done
}

# Starts a root file system with systemd as PID 1, runs its /steps, and stops it. It has no say over the machine's clock.
boot() {
  local root="$1" group="$folder/cgroup/${folder##*/}-${1##*/}"
  printf '[Unit]\nWants=basic.target dbus.socket finding.service\n' > "$root/etc/systemd/system/default.target"
  cat > "$root/etc/systemd/system/finding.service" <<'UNIT'
[Unit]
After=dbus.socket
SuccessAction=exit-force
FailureAction=exit-force
[Service]
Type=oneshot
TimeoutStartSec=60
Environment=LC_ALL=C
ExecStart=/bin/bash -eu /steps
StandardOutput=file:/said
StandardError=file:/complained
UNIT
  mkdir -p "$folder/cgroup" "$root"/{dev,proc,sys,run}
  mountpoint --quiet "$folder/cgroup" || mount -t cgroup2 cgroup2 "$folder/cgroup"
  mkdir "$group"
  # shellcheck disable=SC2016 # They are for the inner shells.
  timeout --signal KILL 90 bash -euc '
    echo "$$" > "$1/cgroup.procs"
    exec unshare --mount --uts --ipc --net --pid --cgroup --fork --kill-child bash -euc "$2" "$0"' "$root" "$group" '
    mount --bind "$0" "$0"
    cd "$0"
    hostname finding
    tr --delete - < /proc/sys/kernel/random/uuid > etc/machine-id
    mount -t proc proc proc
    mount --bind proc/sys proc/sys
    mount -o remount,bind,ro proc/sys
    mount -t sysfs -o ro sysfs sys
    mount -t cgroup2 cgroup2 sys/fs/cgroup
    mount -t tmpfs -o mode=755 tmpfs dev
    for device in null zero full random urandom tty; do touch "dev/$device"; mount --bind "/dev/$device" "dev/$device"; done
    ln -s pts/ptmx dev/ptmx
    mount -t tmpfs -o mode=755 tmpfs run
    mkdir run/old
    pivot_root . run/old
    umount --lazy /run/old
    exec setpriv --bounding-set=-sys_time,-sys_module,-sys_boot,-sys_rawio,-syslog,-wake_alarm,-audit_control \
      env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin container=finding /lib/systemd/systemd < /dev/null &> /dev/null' || true
  find "$group" -depth -type d -exec rmdir {} +
  cat "$root/complained" >&2
}

expected='with members: getent group has shop:x:61000:alice, a login alice
and an empty alice:shop.membership: getent group has shop:x:61000:alice, a login alice
and with {} in it: getent group has shop:x:61000:alice, a login alice shop'
for release in bookworm=252 trixie=257; do
  root="$folder/${release%=*}"
  unpack "${release%=*}" "systemd-userdbd=${release#*=}.*" "libnss-systemd=${release#*=}.*" \
    base-files base-passwd bash coreutils dash dbus libc-bin util-linux
  cat > "$root/steps" <<'STEPS'
cp /usr/share/base-passwd/passwd.master /etc/passwd
cp /usr/share/base-passwd/group.master /etc/group
echo 'alice:x:1000:1000::/:/bin/sh' >> /etc/passwd
echo 'alice:x:1000:' >> /etc/group
printf 'passwd: files systemd\ngroup: files systemd\n' > /etc/nsswitch.conf
systemctl start systemd-userdbd.socket systemd-userdbd.service
mkdir -p /etc/userdb
echo '{"groupName": "shop", "gid": 61000, "members": ["alice"]}' > /etc/userdb/shop.group
ln -s shop.group /etc/userdb/61000.group
login() { setpriv --reuid 1000 --regid 1000 --init-groups "$@"; }
say() { echo "$1: getent group has $(getent group shop), a login $(login id --groups --name)"; }
say 'with members'
touch /etc/userdb/alice:shop.membership
say 'and an empty alice:shop.membership'
echo '{}' > /etc/userdb/alice:shop.membership
say 'and with {} in it'
STEPS
  boot "$root"
  said="$(cat "$root/said")"
  if [ "$said" != "$expected" ]; then
    printf 'it has changed:\n%s\n' "$said"
    exit 1
  fi
  printf '%s\n' "$said"
done
