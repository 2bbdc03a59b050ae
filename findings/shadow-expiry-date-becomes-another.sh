#!/usr/bin/env bash
# shadow 4.13 (Debian 12) and 4.17 (Debian 13): a date that an account is to expire on (`--expiredate` of `usermod` and of
# `chage`) may become quite another one, without a word. 31/12/2026 is the twelfth of July 2028: the thirty-first month from
# January 2026, and its twelfth day. 20261231 is a day in the year 57443. 2026-02-30 is the second of March.
#
# Expected: the date that is meant, or an error. chage(1) invites to write "the format more commonly used in your area". For
# 31.12.2026 there is an error.
#
# So an account that is to end with a contract stays open for years, and `chage --list` says so, which nobody asks.
#
# Why: a date in digits alone is taken for days since 1970 (usermod(8) says so of "integers", and no number is too big), one
# with slashes for American, and a month or day that does not exist for that many after the last one that does.
#
# What to do: write YYYY-MM-DD, made by what knows dates (`date --date … +%F`), and read the line in /etc/shadow back.
#
# Takes root and a Debian whose package sources have both releases. Seen on 2026-12-01, with
# 4.13+dfsg1-1+deb12u2 and 4.17.4-2+deb13u1: what is below as `expected`.
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

expected='usermod 2026-12-31: exits with 0, Dec 31, 2026
chage   2026-12-31: exits with 0, Dec 31, 2026
usermod 12/31/2026: exits with 0, Dec 31, 2026
chage   12/31/2026: exits with 0, Dec 31, 2026
usermod 31/12/2026: exits with 0, Jul 12, 2028
chage   31/12/2026: exits with 0, Jul 12, 2028
usermod 20261231: exits with 0, May 15, 57443
chage   20261231: exits with 0, May 15, 57443
usermod 2026-02-30: exits with 0, Mar 02, 2026
chage   2026-02-30: exits with 0, Mar 02, 2026
usermod 31.12.2026: exits with 3, never
chage   31.12.2026: exits with 2, never'
for release in bookworm=1:4.13 trixie=1:4.17; do
  root="$folder/${release%=*}"
  unpack "${release%=*}" "passwd=${release#*=}*" base-files base-passwd bash coreutils dash grep login sed
  cat > "$root/steps" <<'STEPS'
touch /etc/shadow
useradd --no-create-home alice
try() {
  local status=0
  usermod --expiredate '' alice > /dev/null 2>&1
  "$1" --expiredate "$2" alice > /dev/null 2>&1 || status="$?"
  printf '%-7s %s: exits with %s, %s\n' "$1" "$2" "$status" "$(chage --list alice | sed -n 's/^Account expires[^:]*: //p')"
}
for date in 2026-12-31 12/31/2026 31/12/2026 20261231 2026-02-30 31.12.2026; do
  try usermod "$date"
  try chage "$date"
done
STEPS
  said="$(run "$root")"
  if [ "$said" != "$expected" ]; then
    printf 'it has changed:\n%s\n' "$said"
    exit 1
  fi
  printf '%s\n' "$said"
done
