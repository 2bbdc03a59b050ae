#!/usr/bin/env bash
# OpenSSH 9.2 (Debian 12) and 10.0 (Debian 13): a revocation list that `ssh-keygen -k` makes of one certificate revokes all
# certificates of that CA with the same identity (`-I`), for whatever key, those to be issued later too. It does so if the
# certificate's serial number is 0, as it is unless `-z` gave one. The others may have a number, and are revoked all the same.
#
# Expected: what was given is revoked. ssh-keygen(1) says of -k that the list "revokes every key or certificate presented on the
# command line".
#
# So who takes back one certificate of alice's, for a key that was lost, locks her out for good: each new one is revoked when
# it is made, and as sshd says only that it is revoked, the cause is searched for at the new one. If the identity is that of a
# role or of a host group, it is many people.
#
# Why: the list has no entry for a certificate as such. It has numbers and identities, and 0 counts as no number; the manual
# mentions it in parentheses ("or key ID (if the serial is zero or not available)").
#
# What to do: give each certificate a number of its own (`-z`), or an identity that is never used again. To revoke what has
# none, put its key into the list (`key: …` in a specification). Look at a list with `ssh-keygen -Q -l`.
#
# Takes root and a Debian whose package sources have both releases. Seen on 2026-12-01, with
# 1:9.2p1-2+deb12u10 and 1:10.0p1-7+deb13u4: what is below as `expected`.
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

expected='the list, of the first certificate: id: alice
first.pub, identity alice, serial 0: REVOKED
later.pub, identity alice, serial 0: REVOKED
number.pub, identity alice, serial 7: REVOKED
bob.pub, identity bob, serial 0: ok
the list, of the one with a number: serial: 7
first.pub, identity alice, serial 0: ok
later.pub, identity alice, serial 0: ok
number.pub, identity alice, serial 7: REVOKED
bob.pub, identity bob, serial 0: ok'
for release in bookworm=1:9.2p1 trixie=1:10.0p1; do
  root="$folder/${release%=*}"
  unpack "${release%=*}" "openssh-client=${release#*=}-*" base-files base-passwd bash coreutils dash login mount sed
  cat > "$root/steps" <<'STEPS'
mkdir /keys
cd /keys
for key in ca first later number bob; do ssh-keygen -q -t ed25519 -N '' -C '' -f "$key"; done
ssh-keygen -q -s ca -I alice -n alice first.pub
ssh-keygen -q -s ca -I alice -n alice -z 7 number.pub
ssh-keygen -q -s ca -I bob -n bob bob.pub
ssh-keygen -q -k -f list first-cert.pub
# Made when the list is there already.
ssh-keygen -q -s ca -I alice -n alice later.pub
ssh-keygen -q -k -f list-of-number number-cert.pub
show() {
  echo "$1: $(ssh-keygen -Q -l -f "$2" | sed '/^#/d; /^$/d')"
  local key about
  for key in first later number bob; do
    about="$(ssh-keygen -L -f "$key-cert.pub" | sed -n 's/^ *Key ID: "\(.*\)"/identity \1/p; s/^ *Serial: /serial /p' |
      paste --serial --delimiters ',')"
    echo "$key.pub, ${about/,/, }: $(ssh-keygen -Q -f "$2" "$key-cert.pub" | sed 's/.*: //')"
  done
}
show 'the list, of the first certificate' list
show 'the list, of the one with a number' list-of-number
STEPS
  said="$(run "$root")"
  if [ "$said" != "$expected" ]; then
    printf 'it has changed:\n%s\n' "$said"
    exit 1
  fi
  printf '%s\n' "$said"
done
