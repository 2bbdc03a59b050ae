#!/usr/bin/env bash
# util-linux 2.38.1 (Debian 12) and 2.41 (Debian 13): what `lslogins` shows as "Password expiration" (the column PWD-EXPIR) is the
# date on which the account expires. When the password expires, it never shows: for a password that has to be changed until
# 2027-01-30 the column is empty, and for one that never expires, in an account that ends on 2027-03-31, it has that date.
#
# Expected: what `chage --list` calls "Password expires", as lslogins(1) has for that column "password expiration date".
#
# And in a time zone west of UTC it is a day early, as is "Password changed": in Los Angeles 2027-03-30, where `chage` says the
# 31st.
#
# So an inventory of passwords that are due finds none of them, and takes a guest's account, which ends, for one with
# an old password.
#
# Why: the field of shadow(5) that is read is the eighth, the account's end, and it is formatted as local midnight, although it
# counts days of UTC.
#
# What to do: take the dates from `chage --list`, or from /etc/shadow: a password expires at the third field plus the fifth.
#
# Takes root and a Debian whose package sources have both releases. Seen on 2026-12-01, with
# 2.38.1-5+deb12u3 and 2.41.5-0+deb13u1: what is below as `expected`.
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

expected='alice, TZ=UTC
  chage: Password expires never, Account expires Mar 31, 2027
  lslogins: Password expiration 2027-03-31, Password changed 2026-11-01
bob, TZ=UTC
  chage: Password expires Jan 30, 2027, Account expires never
  lslogins: Password changed 2026-11-01
alice, TZ=America/Los_Angeles
  chage: Password expires never, Account expires Mar 31, 2027
  lslogins: Password expiration 2027-03-30, Password changed 2026-10-31
bob, TZ=America/Los_Angeles
  chage: Password expires Jan 30, 2027, Account expires never
  lslogins: Password changed 2026-10-31
alice 2027-03-31 2026-11-01
bob  2026-11-01'
for release in bookworm=2.38.1 trixie=2.41; do
  root="$folder/${release%=*}"
  unpack "${release%=*}" "util-linux=${release#*=}*" passwd \
    base-files base-passwd bash coreutils dash login mount sed tzdata
  cat > "$root/steps" <<'STEPS'
touch /etc/shadow /etc/gshadow /var/log/{wtmp,btmp,lastlog}
for user in alice bob; do
  # The hash is of no password.
  useradd --no-create-home --password '$5$finding$finding' "$user"
  chage --lastday 2026-11-01 "$user"
done
chage --expiredate 2027-03-31 alice
chage --maxdays 90 bob
# The lines that say when something ends, or when a password was changed, as one.
pick() {
  local words
  words="$(sed -n 's/^\(Password expires\|Account expires\|Password changed\|Password expiration\)[[:space:]]*:[[:space:]]*/\1 /p' |
    sed 's/ *$//' | sort --reverse | paste --serial --delimiters ';')"
  echo "${words//;/, }"
}
for TZ in UTC America/Los_Angeles; do
  export TZ
  for user in alice bob; do
    echo "$user, TZ=$TZ"
    echo "  chage: $(chage --list "$user" | pick)"
    echo "  lslogins: $(lslogins --time-format iso "$user" | pick)"
  done
done
TZ=UTC lslogins --raw --noheadings --time-format iso --output USER,PWD-EXPIR,PWD-CHANGE --logins alice,bob
STEPS
  said="$(run "$root")"
  if [ "$said" != "$expected" ]; then
    printf 'it has changed:\n%s\n' "$said"
    exit 1
  fi
  printf '%s\n' "$said"
done
