#!/usr/bin/env bash
# sudo 1.9.13p3 (Debian 12) and 1.9.16p2 (Debian 13), `Defaults log_format=json, logfile=…`: all events of the file are in
# one JSON object, under the same few keys. Three commands make three keys "accept", so what parses JSON has the last one and
# nothing of the others, and no error. And the UUID, by which the events of one command belong together, has its hyphens
# after 10, 4, 4 and 4 digits. With those put right it is still none: the 4 of a random UUID is its 15th digit, not the 13th.
#
# Expected: a record for each event (an array, or a line each); UUIDs in the form of RFC 4122. sudoers(5) of 1.9.13 says
# nothing of it; that of 1.9.16 says that the file is "a single JSON object consisting of multiple events", but not that
# they have the same key.
#
# And the file is not only appended to: each event overwrites the end of the object, so what follows the file gets braces
# that never were a pair.
#
# What to do: from 1.9.16 on `log_format=json_compact`, which is a line for each event; before that, send it to syslog, or read
# it as a stream (`jq --stream`). Take a UUID as mere text.
#
# Takes root and a Debian whose package sources have both releases. Seen on 2026-11-29, with
# 1.9.13p3-1+deb12u4 and 1.9.16p2-3+deb13u5: what is below as `expected`.
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

expected='commands that sudo ran: 3
keys "accept" in the file: 3
what jq finds: [["accept"],["/usr/bin/test","3"]]
UUID: xxxxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxx
15th digits: 4 4 4
the file begins with what it was before: no'
for release in bookworm=1.9.13p3 trixie=1.9.16p2; do
  root="$folder/${release%=*}"
  unpack "${release%=*}" "sudo=${release#*=}-*" \
    base-files base-passwd bash coreutils dash diffutils grep jq login sed util-linux
  cat > "$root/steps" <<'STEPS'
echo '127.0.0.1 localhost finding' > /etc/hosts
echo 'alice:x:1000:1000::/:/bin/sh' >> /etc/passwd
printf 'auth required pam_permit.so\naccount required pam_permit.so\nsession required pam_permit.so\n' |
  tee /etc/pam.d/other > /etc/pam.d/sudo
echo 'alice ALL=(root) NOPASSWD: /usr/bin/test' > /etc/sudoers.d/alice
echo 'Defaults log_format=json, logfile=/var/log/sudo.json' > /etc/sudoers.d/log
chmod 0440 /etc/sudoers.d/*
ran=0
for number in 1 2 3; do
  [ ! -e /var/log/sudo.json ] || cp /var/log/sudo.json /before
  setpriv --reuid 1000 --regid 1000 --clear-groups sudo -n /usr/bin/test "$number"
  ran=$((ran + 1))
done
echo "commands that sudo ran: $ran"
echo "keys \"accept\" in the file: $(grep --count '"accept": {' /var/log/sudo.json)"
echo "what jq finds: $(jq --compact-output '[keys, .accept.runargv]' /var/log/sudo.json)"
echo "UUID: $(jq --raw-output .accept.uuid /var/log/sudo.json | sed 's/[0-9a-f]/x/g')"
digits="$(sed -n 's/^ *"uuid": "\(.*\)",$/\1/p' /var/log/sudo.json | tr --delete - | cut --characters 15)"
echo 15th digits: $digits
size="$(stat --format %s /before)"
if cmp --quiet --bytes "$size" /before /var/log/sudo.json; then begins=yes; else begins=no; fi
echo "the file begins with what it was before: $begins"
STEPS
  said="$(run "$root")"
  if [ "$said" != "$expected" ]; then
    printf 'it has changed:\n%s\n' "$said"
    exit 1
  fi
  printf '%s\n' "$said"
done
