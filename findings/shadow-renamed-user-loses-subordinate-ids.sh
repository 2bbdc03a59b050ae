#!/usr/bin/env bash
# shadow 4.13 (Debian 12) and 4.17 (Debian 13): `usermod --login` takes the groups of a user along to the new name, and not
# the subordinate IDs that `useradd` gave: /etc/subuid and /etc/subgid go on naming the old one. The user has none from then
# on, so their rootless containers do not start any more, and `userdel` of the new name does not free the range.
#
# Expected: either "nothing else is changed", as usermod(8) says, or all that is kept under the name is, like the groups.
#
# What to do: change the lines in /etc/subuid and /etc/subgid in the same step. Or name users there by number, which
# subuid(5) allows and a new name does not touch; then `userdel` never removes the line.
#
# Takes root and a Debian whose package sources have both releases. Seen on 2026-11-29, with
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

expected='before: shop:x:1500:alice, subordinate IDs of alice: 100000 65536
usermod --login exits with 0
after: shop:x:1500:alicia, subordinate IDs of alicia: none
/etc/subuid has alice:100000:65536
after userdel alicia: shop:x:1500:, /etc/subuid has alice:100000:65536
by number: subordinate IDs of robert: 165536 65536'
for release in bookworm=1:4.13 trixie=1:4.17; do
  root="$folder/${release%=*}"
  unpack "${release%=*}" "passwd=${release#*=}*" "uidmap=${release#*=}*" \
    base-files base-passwd bash coreutils dash grep login mawk sed
  cat > "$root/steps" <<'STEPS'
touch /etc/subuid /etc/subgid
groupadd --gid 1500 shop
useradd --no-create-home alice
useradd --no-create-home bob
gpasswd --add alice shop > /dev/null
ids() {
  local found
  found="$(getsubids "$1" 2> /dev/null | sed 's/^[0-9]*: [^ ]* //')" || true
  echo "subordinate IDs of $1: ${found:-none}"
}
echo "before: $(grep ^shop: /etc/group), $(ids alice)"
status=0
usermod --login alicia alice || status="$?"
echo "usermod --login exits with $status"
echo "after: $(grep ^shop: /etc/group), $(ids alicia)"
echo "/etc/subuid has $(grep ^ali /etc/subuid)"
userdel alicia
echo "after userdel alicia: $(grep ^shop: /etc/group), /etc/subuid has $(grep ^ali /etc/subuid)"
sed -i "s/^bob:/$(id -u bob):/" /etc/subuid
usermod --login robert bob
echo "by number: $(ids robert)"
STEPS
  said="$(run "$root")"
  if [ "$said" != "$expected" ]; then
    printf 'it has changed:\n%s\n' "$said"
    exit 1
  fi
  printf '%s\n' "$said"
done
