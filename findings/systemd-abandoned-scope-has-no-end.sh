#!/usr/bin/env bash
# systemd 252 (Debian 12) and 257 (Debian 13): a scope that is abandoned has no `RuntimeMaxSec` any more. It stays `active`,
# its properties go on naming the limit, and nothing ends it, neither when the time is up nor after a `daemon-reload`.
#
# Expected: to abandon a scope says that "the manager that created the scope lost interest in the scope" (its D-Bus API),
# so the limit, which PID 1 keeps, is what is left to end it; and a scope that "has been active for longer than the
# specified time […] is terminated" (systemd.scope(5)).
#
# Why: the timer of the limit belongs to the state `running`, and goes when the scope becomes `abandoned`.
#
# What to do: do not abandon a scope whose end counts, or end it by a timer unit of its own.
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

expected='kept.scope is failed (timeout), with a limit of 2s
left.scope is active (success), with a limit of 2s
and after daemon-reload: left.scope is active (success), with a limit of 2s
its process runs'
for release in bookworm=252 trixie=257; do
  root="$folder/${release%=*}"
  unpack "${release%=*}" "systemd=${release#*=}.*" base-files base-passwd bash coreutils dash dbus util-linux
  cat > "$root/steps" <<'STEPS'
say() {
  local key value
  declare -A of
  while IFS== read -r key value; do of[$key]="$value"; done < <(systemctl show "$1")
  echo "$1 is ${of[ActiveState]} (${of[Result]}), with a limit of ${of[RuntimeMaxUSec]}"
}
for scope in kept left; do
  systemd-run --quiet --scope --unit="$scope" --property=RuntimeMaxSec=2 sleep 300 &
  process="$!"
  until systemctl --quiet is-active "$scope.scope"; do sleep 0.1; done
done
busctl call org.freedesktop.systemd1 /org/freedesktop/systemd1/unit/left_2escope org.freedesktop.systemd1.Scope Abandon
sleep 4
say kept.scope
say left.scope
systemctl daemon-reload
sleep 2
echo "and after daemon-reload: $(say left.scope)"
kill -0 "$process"
echo 'its process runs'
systemctl stop left.scope
STEPS
  boot "$root"
  said="$(cat "$root/said")"
  if [ "$said" != "$expected" ]; then
    printf 'it has changed:\n%s\n' "$said"
    exit 1
  fi
  printf '%s\n' "$said"
done
