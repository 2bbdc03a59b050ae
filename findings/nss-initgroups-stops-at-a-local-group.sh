#!/usr/bin/env bash
# glibc 2.36 (Debian 12) and 2.41 (Debian 13), nsswitch.conf(5): a line `initgroups: files X` that says the same as the line
# `group: files X` above it changes who is in which group. A user who is in any group of /etc/group has only those of
# /etc/group from then on, and one who is in none has those of X. So to put a user into one local group takes all their groups
# of the directory away, at their next login, and to take them out of it gives them back.
#
# Expected: no difference, as without the line "group" stands in for "initgroups", and both have the same defaults.
#
# `getent group GROUP` shows the user as a member all along, since it asks the line `group`.
#
# Why: for `group` alone, a success does not end the search for a user's groups, whatever the line says; for `initgroups` it
# does, as for every other line, and to be in one group is a success. nsswitch.conf(5) says of it only that [NOTFOUND=return]
# has no effect in a file without the line.
#
# What to do: have no such line, or write `initgroups: files [SUCCESS=continue] X`. Ask `id USER` after a change of a local
# group, for the other groups too.
#
# Here X is extrausers, which reads /var/lib/extrausers. Takes root and a Debian whose package sources have both releases. Seen
# on 2026-12-01, with 2.36-9+deb12u14 and 2.41-12+deb13u5: what is below as `expected`.
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

expected='group: files extrausers
  in no local group: alice remote
  in the group local: alice local remote
group: files extrausers, initgroups: files extrausers
  in no local group: alice remote
  in the group local: alice local
  getent group remote: remote:x:3000:alice
group: files extrausers, initgroups: files [SUCCESS=continue] extrausers
  in no local group: alice remote
  in the group local: alice local remote'
for release in bookworm=2.36 trixie=2.41; do
  root="$folder/${release%=*}"
  unpack "${release%=*}" "libc-bin=${release#*=}-*" libnss-extrausers passwd \
    base-files base-passwd bash coreutils dash login mount sed
  cat > "$root/steps" <<'STEPS'
touch /etc/shadow /etc/gshadow
groupadd --gid 2000 local
useradd --no-create-home alice
mkdir -p /var/lib/extrausers
touch /var/lib/extrausers/passwd
echo 'remote:x:3000:alice' > /var/lib/extrausers/group
for lines in 'group: files extrausers' \
  'group: files extrausers, initgroups: files extrausers' \
  'group: files extrausers, initgroups: files [SUCCESS=continue] extrausers'; do
  echo "$lines"
  sed 's/, /\n/' <<< "$lines" > /etc/nsswitch.conf
  echo "  in no local group: $(id --groups --name alice)"
  gpasswd --add alice local > /dev/null
  echo "  in the group local: $(id --groups --name alice)"
  case "$lines" in *'initgroups: files extrausers') echo "  getent group remote: $(getent group remote)" ;; esac
  gpasswd --delete alice local > /dev/null
done
STEPS
  said="$(run "$root")"
  if [ "$said" != "$expected" ]; then
    printf 'it has changed:\n%s\n' "$said"
    exit 1
  fi
  printf '%s\n' "$said"
done
