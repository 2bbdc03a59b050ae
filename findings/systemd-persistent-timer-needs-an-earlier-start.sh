#!/usr/bin/env bash
# systemd 252 (Debian 12) and 257 (Debian 13): a timer with `Persistent=true` whose one date is over when it is started for
# the first time never fires: not then, and not when it is started again, as at each boot. `systemctl enable --now` exits
# with 0, and the timer is `active`. If a timer of the same name fired before that date, long ago and from files that are
# gone, the very same unit fires at once.
#
# Expected: both fire at once, or neither does. "The service unit is triggered immediately if it would have been triggered
# at least once during the time when the timer was inactive" (systemd.timer(5)).
#
# Why: the first start makes the stamp (/var/lib/systemd/timers/stamp-NAME.timer), with the time of that start as the last
# that the timer fired, so the date lies before it for good. A stamp is not removed with its timer, but only by
# `systemctl clean --what=state`.
#
# So what writes a timer for a date that may pass before PID 1 reads it (a crash, a power cut, a host that is slow) has a
# timer that never fires.
#
# What to do: make the stamp before the timer is started, with a time long past (not 0, which counts as none); use no name
# twice, or clean.
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

expected='first.timer: enable --now exits with 0, it is active elapsed, first.service ran 0 times
first.timer, started again: first.service ran 0 times
again.timer, whose namesake fired before: again.service ran 1 times
first.timer, with an old stamp: first.service ran 1 times'
for release in bookworm=252 trixie=257; do
  root="$folder/${release%=*}"
  unpack "${release%=*}" "systemd=${release#*=}.*" base-files base-passwd bash coreutils dash dbus grep util-linux
  cat > "$root/steps" <<'STEPS'
make() {
  printf '[Service]\nType=oneshot\nExecStart=/bin/sh -c "echo %%p >> /ran"\n' > "/etc/systemd/system/$1.service"
  printf '[Timer]\nOnCalendar=%s\nPersistent=true\nAccuracySec=1ms\n[Install]\nWantedBy=timers.target\n' \
    "$(date --utc --date "$2" '+%F %T UTC')" > "/etc/systemd/system/$1.timer"
  systemctl daemon-reload
}
ran() { echo "$1.service ran $(grep --count "^$1$" /ran || true) times"; }

# Waits until it ran, for ten seconds at most.
wait_for() { for _ in {1..100}; do if grep --quiet "^$1$" /ran; then break; fi; sleep 0.1; done; }
: > /ran

# One that fires, and is taken away with its files.
make again '2 seconds'
systemctl --quiet enable --now again.timer
wait_for again
systemctl --quiet disable --now again.timer
rm /etc/systemd/system/again.{timer,service}
systemctl daemon-reload
sleep 3
: > /ran

make first '-1 second'
status=0
systemctl --quiet enable --now first.timer || status="$?"
sleep 2
state="$(systemctl show --value --property ActiveState --property SubState first.timer | paste --serial --delimiters ' ')"
echo "first.timer: enable --now exits with $status, it is $state, $(ran first)"
systemctl stop first.timer
systemctl start first.timer
sleep 2
echo "first.timer, started again: $(ran first)"
make again '-3 seconds'
systemctl --quiet enable --now again.timer
wait_for again
echo "again.timer, whose namesake fired before: $(ran again)"
systemctl stop first.timer
touch --date 2000-01-01 /var/lib/systemd/timers/stamp-first.timer
systemctl start first.timer
wait_for first
echo "first.timer, with an old stamp: $(ran first)"
STEPS
  boot "$root"
  said="$(cat "$root/said")"
  if [ "$said" != "$expected" ]; then
    printf 'it has changed:\n%s\n' "$said"
    exit 1
  fi
  printf '%s\n' "$said"
done
