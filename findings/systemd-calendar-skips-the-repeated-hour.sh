#!/usr/bin/env bash
# systemd 252 (Debian 12) and 257 (Debian 13): a calendar timer does not fire in the second of two hours that a time zone has
# when its clocks go back, however often it fires otherwise. With `OnCalendar=*:0/5` in Berlin the time after 00:55 UTC of
# that night is 02:00 UTC. Once a year, what runs every five minutes has not run for 65.
#
# Expected: the times that match, of which there are twelve in each of the two hours. systemd.time(7) says nothing of clocks
# that go back.
#
# And a date in the hour that a zone leaves out when its clocks go forward is never: `systemd-analyze calendar` says so and
# exits with 0. `systemd-analyze timestamp` makes an hour later of the same words.
#
# Why: the search goes over local times, from one to the next later one, and a local time that comes twice is found once.
#
# What to do: end the expression with `UTC` where what counts is how often it fires; or use OnUnitActiveSec. Write an end of
# something as a date in UTC.
#
# Takes root and a Debian whose package sources have both releases. Seen on 2026-12-01, with
# 252.39 and 257.13: what is below as `expected`.
set -euo pipefail

if [ "${1-}" != inside ]; then
  folder="$(mktemp -d)"
  trap 'kill -KILL "$inside" 2> /dev/null || true; rmdir "$folder"' EXIT
  # What is mounted and started inside goes with the namespaces.
  unshare --mount --propagation private --uts --pid --mount-proc --fork --kill-child bash "$0" inside "$folder" &
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
  cp "$root/usr/share/base-passwd/passwd.master" "$root/etc/passwd"
  cp "$root/usr/share/base-passwd/group.master" "$root/etc/group"
}

# Runs its /steps in a root file system.
run() {
  hostname finding
  mount -t proc proc "$1/proc"
  mount --rbind /dev "$1/dev"
  chroot "$1" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C TZ=UTC bash -eu /steps
}

expected='OnCalendar=*:0/5 in Europe/Berlin: 00:45 00:50 00:55 02:00 02:05 02:10 02:15 02:20
OnCalendar=*:0/30 in Europe/Berlin: 02:00 02:30 03:00 03:30 04:00 04:30 05:00 05:30
OnCalendar=*:0/30 UTC in Europe/Berlin: 01:00 01:30 02:00 02:30 03:00 03:30 04:00 04:30
OnCalendar=2026-03-29 01:59:00: exits with 0, Sun 2026-03-29 01:59:00 CET
OnCalendar=2026-03-29 02:30:00: exits with 0, never
OnCalendar=2026-03-29 03:00:00: exits with 0, Sun 2026-03-29 03:00:00 CEST
timestamp 2026-03-29 02:30:00: Sun 2026-03-29 03:30:00 CEST'
for release in bookworm=252 trixie=257; do
  root="$folder/${release%=*}"
  unpack "${release%=*}" "systemd=${release#*=}.*" \
    base-files base-passwd bash coreutils dash grep sed tzdata
  cat > "$root/steps" <<'STEPS'
export TZ=Europe/Berlin
# The times in UTC that a timer fires at, from 00:41 UTC on.
times() {
  echo "OnCalendar=$1 in $TZ: $(systemd-analyze calendar --base-time '2026-10-25 00:41:00 UTC' --iterations 8 "$1" |
    sed -n 's/.*2026-10-25 \(..:..\):00 UTC$/\1/p' | paste --serial --delimiters ' ')"
}
times '*:0/5'
times '*:0/30'
times '*:0/30 UTC'
for words in '2026-03-29 01:59:00' '2026-03-29 02:30:00' '2026-03-29 03:00:00'; do
  status=0
  next="$(systemd-analyze calendar --base-time '2026-03-01 00:00:00 UTC' "$words")" || status="$?"
  next="$(sed -n 's/^ *Next elapse: *//p' <<< "$next")"
  echo "OnCalendar=$words: exits with $status, $next"
done
echo "timestamp 2026-03-29 02:30:00: $(systemd-analyze timestamp '2026-03-29 02:30:00' | sed -n 's/^Normalized form: *//p')"
STEPS
  said="$(run "$root")"
  if [ "$said" != "$expected" ]; then
    printf 'it has changed:\n%s\n' "$said"
    exit 1
  fi
  printf '%s\n' "$said"
done
