#!/usr/bin/env bash
# shadow 4.13 (Debian 12) and 4.17 (Debian 13): a lock that a crash left in /etc (group.lock, passwd.lock, …) belongs to
# whatever process has its PID by now. If there is none, the lock is taken over in silence. If there is one, whatever it
# is, `gpasswd`, `usermod` and their like give up at once and say "try again later", each time, as long as it runs. After a
# power cut PIDs begin anew, so the lock of PID 600 is that of some service, until the next boot.
#
# Expected: the lock is waited for, as the tools wait for one another; and one from before the boot, or of a process that
# started later than the lock, counts as left.
#
# Besides: `gpasswd` prints "Removing user … from group …" before it tries; a PID with a newline (`echo $$ > group.lock`) is
# "an invalid PID", which is never taken over, also if there is no such process.
#
# Why: they wait for /etc/.pwd.lock alone, which the kernel frees with its process, and then try for the file once.
#
# What to do: look at the exit status and then at the group. If it fails while nobody holds /etc/.pwd.lock (lckpwdf(3)),
# the lock in the file is nobody's.
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

expected='while vigr runs: it waits, exits with 0, the group is shop:x:1500:
vigr was killed: exits with 0, the group is shop:x:1500:
vigr was killed, and its number given away: exits with 1, the group is shop:x:1500:alice
  Removing user alice from group shop
  gpasswd: lock /etc/group.lock already used by PID 700
  gpasswd: cannot lock /etc/group; try again later.
a number that nobody has, and a newline: exits with 1, the group is shop:x:1500:alice'
for release in bookworm=1:4.13 trixie=1:4.17; do
  root="$folder/${release%=*}"
  unpack "${release%=*}" "passwd=${release#*=}*" base-files base-passwd bash coreutils dash grep login mawk sed
  cat > "$root/steps" <<'STEPS'
groupadd --gid 1500 shop
useradd --no-create-home alice
printf '#!/bin/sh\nsleep 3\n' > /editor
chmod +x /editor
remove() {
  local status=0 began="$SECONDS"
  gpasswd --delete alice shop &> /words || status="$?"
  [ $((SECONDS - began)) -lt 2 ] || echo -n 'it waits, '
  echo "exits with $status, the group is $(grep ^shop: /etc/group)"
}
# One that edits the group, and has the lock for three seconds. It has the number that it is given.
edit() {
  gpasswd --add alice shop > /dev/null
  echo $(($1 - 1)) > /proc/sys/kernel/ns_last_pid
  EDITOR=/editor vigr &> /dev/null &
  while [ ! -s /etc/group.lock ]; do sleep 0.1; done
}
crash() {
  disown "$1"
  kill -KILL "$1"
  while kill -0 "$1" 2> /dev/null; do sleep 0.1; done
}

edit 500
echo "while vigr runs: $(remove)"
wait
edit 600
crash "$!"
echo "vigr was killed: $(remove)"
edit 700
crash "$!"
echo 699 > /proc/sys/kernel/ns_last_pid
sleep 300 &
echo "vigr was killed, and its number given away: $(remove)"
sed 's/^/  /' /words
echo 999999 > /etc/group.lock
echo "a number that nobody has, and a newline: $(remove)"
kill "$!"
STEPS
  said="$(run "$root")"
  if [ "$said" != "$expected" ]; then
    printf 'it has changed:\n%s\n' "$said"
    exit 1
  fi
  printf '%s\n' "$said"
done
