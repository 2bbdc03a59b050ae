#!/usr/bin/env bash
# PAM 1.5.2 (Debian 12) and 1.7.0 (Debian 13), pam_time: two lines in /etc/security/time.conf that let a user in from 8 to 18 and
# from 20 to 22 let that user in never. Each line that is for the user denies outside of its hours, whatever the other one says.
#
# Expected: in at the hours of either, as rules that "apply" to somebody mostly are, and as the lines of group.conf are, which
# pam_group(8) reads in the same form: there each line gives its group in its own hours. time.conf(5) does not say how lines
# add up.
#
# And a range that ends after midnight has a minute more than one that does not: 0800-1800 ends with the last second before
# 18:00, 1800-0800 with the last one before 08:01. A day shift and a night shift that follow each other overlap by a minute,
# in the morning only.
#
# What to do: write one line, with the hours joined by `|`; and say what is not a range over midnight as `!Wk0800-1800`, which
# ends with the second before 08:00.
#
# Takes root and a Debian whose package sources have both releases. Seen on 2026-12-01, with
# 1.5.2-6+deb12u3 and 1.7.0-5: what is below as `expected`.
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

expected='time.conf: su;*;alice;Wk0800-1800
  09:00:00 open, 19:00:00 closed, 21:00:00 closed
time.conf: su;*;alice;Wk2000-2200
  09:00:00 closed, 19:00:00 closed, 21:00:00 open
time.conf: su;*;alice;Wk0800-1800 and su;*;alice;Wk2000-2200
  09:00:00 closed, 19:00:00 closed, 21:00:00 closed
time.conf: su;*;alice;Wk0800-1800|Wk2000-2200
  09:00:00 open, 19:00:00 closed, 21:00:00 open
group.conf: su;*;alice;Wk0800-1800;day and su;*;alice;Wk2000-2200;night
  09:00:00 alice day, 19:00:00 alice, 21:00:00 alice night
time.conf: su;*;alice;Wk0800-1800
  17:59:59 open, 18:00:00 closed
time.conf: su;*;alice;Wk1800-0800
  08:00:59 open, 08:01:00 closed
time.conf: su;*;alice;!Wk0800-1800
  07:59:59 open, 08:00:00 closed'
for release in bookworm=1.5.2 trixie=1.7.0; do
  root="$folder/${release%=*}"
  unpack "${release%=*}" "libpam-modules=${release#*=}-*" faketime passwd \
    base-files base-passwd bash coreutils dash login mount sed util-linux
  cat > "$root/steps" <<'STEPS'
touch /etc/shadow /etc/gshadow
groupadd day
groupadd night
useradd --no-create-home --shell /bin/sh alice
printf 'auth optional pam_group.so\nauth sufficient pam_rootok.so\naccount required pam_time.so\nsession required pam_permit.so\n' \
  > /etc/pam.d/su
printf 'auth required pam_permit.so\naccount required pam_permit.so\nsession required pam_permit.so\n' > /etc/pam.d/other
# libfaketime leaves files there, which others of the same number may not open.
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
# What alice has at these times of a Tuesday: a login (time.conf), or its groups (group.conf).
try() {
  local file="$1" lines="$2" has all=
  shift 2
  : > /etc/security/time.conf
  : > /etc/security/group.conf
  sed 's/ and /\n/' <<< "$lines" > "/etc/security/$file"
  echo "$file: $lines"
  for time in "$@"; do
    echo "2026-12-01 $time" > /etc/faketimerc
    echo /usr/lib/*/faketime/libfaketime.so.1 > /etc/ld.so.preload
    if [ "$file" = group.conf ]; then
      has="$(su alice --command 'id --groups --name')"
    elif su alice --command true > /dev/null 2>&1; then
      has=open
    else
      has=closed
    fi
    : > /etc/ld.so.preload
    all+=", $time $has"
  done
  echo "  ${all#, }"
}
try time.conf 'su;*;alice;Wk0800-1800' 09:00:00 19:00:00 21:00:00
try time.conf 'su;*;alice;Wk2000-2200' 09:00:00 19:00:00 21:00:00
try time.conf 'su;*;alice;Wk0800-1800 and su;*;alice;Wk2000-2200' 09:00:00 19:00:00 21:00:00
try time.conf 'su;*;alice;Wk0800-1800|Wk2000-2200' 09:00:00 19:00:00 21:00:00
try group.conf 'su;*;alice;Wk0800-1800;day and su;*;alice;Wk2000-2200;night' 09:00:00 19:00:00 21:00:00
try time.conf 'su;*;alice;Wk0800-1800' 17:59:59 18:00:00
try time.conf 'su;*;alice;Wk1800-0800' 08:00:59 08:01:00
try time.conf 'su;*;alice;!Wk0800-1800' 07:59:59 08:00:00
STEPS
  said="$(run "$root")"
  if [ "$said" != "$expected" ]; then
    printf 'it has changed:\n%s\n' "$said"
    exit 1
  fi
  printf '%s\n' "$said"
done
