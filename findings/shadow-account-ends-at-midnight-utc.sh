#!/usr/bin/env bash
# shadow 4.13 and PAM 1.5.2 (Debian 12), shadow 4.17 and PAM 1.7.0 (Debian 13): an account with the expiry date 2026-12-31 ends
# where that day begins in UTC, whatever the time zone of the host is. In Los Angeles that is at four in the afternoon of the
# 30th. In Auckland the account is open until one in the afternoon of the 31st.
#
# Expected: "the date on which the user account will be disabled" (usermod(8)), by the clock of the host.
#
# Besides: in Debian 12 the date is taken for local midnight, and rounded to a day of UTC. East of UTC+12, as in Auckland in
# summer, that is the day before: what was to end on the 31st ends on the 30th. Debian 13 keeps the date.
#
# Why: /etc/shadow has whole days since 1970 in UTC, and PAM compares them with the seconds of now, divided by those of a day.
#
# What to do: for an end by the hour, do not rely on the date. Use something that runs at that time, and let the date be the
# day after, as what is left if it did not.
#
# Takes root and a Debian whose package sources have both releases. Seen on 2026-12-01, with
# 4.13+dfsg1-1+deb12u2 and 1.5.2-6+deb12u3, and with 4.17.4-2+deb13u1 and 1.7.0-5: what is below as `expected`.
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

expected='UTC 2026-12-30 23:59:00: open
UTC 2026-12-31 00:01:00: has expired
America/Los_Angeles 2026-12-30 15:59:00: open
America/Los_Angeles 2026-12-30 16:01:00: has expired
Pacific/Auckland 2026-12-31 12:59:00: open
Pacific/Auckland 2026-12-31 13:01:00: has expired
said in Auckland: Dec DAY, 2026'
declare -A days=([bookworm]=30 [trixie]=31) pam=([bookworm]=1.5.2 [trixie]=1.7.0)
for release in bookworm=1:4.13 trixie=1:4.17; do
  root="$folder/${release%=*}"
  unpack "${release%=*}" "passwd=${release#*=}*" "libpam-modules=${pam[${release%=*}]}-*" faketime \
    base-files base-passwd bash coreutils dash grep login mount sed tzdata util-linux
  cat > "$root/steps" <<'STEPS'
touch /etc/shadow
printf 'auth sufficient pam_rootok.so\naccount required pam_unix.so\nsession required pam_permit.so\n' > /etc/pam.d/su
printf 'auth required pam_permit.so\naccount required pam_permit.so\nsession required pam_permit.so\n' > /etc/pam.d/other
useradd --no-create-home --shell /bin/sh alice
# libfaketime leaves files there, which others of the same number may not open.
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
# Whether alice may log in, on a host of that place, at that time by its clock.
unset TZ
at() {
  local words
  ln -sf "/usr/share/zoneinfo/$1" /etc/localtime
  echo "$2" > /etc/faketimerc
  echo /usr/lib/*/faketime/libfaketime.so.1 > /etc/ld.so.preload
  words="$(su alice --command 'echo open' 2>&1)" || true
  : > /etc/ld.so.preload
  case "$words" in open) ;; *expired*) words='has expired' ;; esac
  echo "$1 $2: $words"
}
usermod --expiredate 2026-12-31 alice
at UTC '2026-12-30 23:59:00'
at UTC '2026-12-31 00:01:00'
at America/Los_Angeles '2026-12-30 15:59:00'
at America/Los_Angeles '2026-12-30 16:01:00'
at Pacific/Auckland '2026-12-31 12:59:00'
at Pacific/Auckland '2026-12-31 13:01:00'
usermod --expiredate '' alice
usermod --expiredate 2026-12-31 alice
echo "said in Auckland: $(chage --list alice | sed -n 's/^Account expires[^:]*: //p')"
STEPS
  said="$(run "$root")"
  if [ "$said" != "${expected/DAY/"${days[${release%=*}]}"}" ]; then
    printf 'it has changed:\n%s\n' "$said"
    exit 1
  fi
  printf '%s\n' "$said"
done
