#!/usr/bin/env bash
# systemd 252 (Debian 12) and 257 (Debian 13), a user in a file of /etc/userdb: `notAfterUSec`, the microsecond after which the
# account is not valid, ends it at midnight UTC before, up to a day early. One that is to end on 2026-12-31 at 18:00 UTC is
# refused by PAM ("has expired") from 00:00 UTC of that day on, while `userdbctl` says "Login OK: yes" until 18:00.
#
# Expected: 18:00, as the format says a time in microseconds, or at least no earlier.
#
# So an account for one shift, or for the next four hours, is mostly one that nobody can ever log into: it expires before it
# is made.
#
# Why: nss-systemd makes an entry of shadow(5) of it, whose field for the end has whole days, and drops what is over. An account
# is expired from the first moment of that day on.
#
# What to do: write a time of the day (UTC) after the one that is meant, and end the account at its hour by something that runs
# then. Try a login, do not ask `userdbctl`.
#
# Takes root and a Debian whose package sources have both releases. Seen on 2026-12-01, with
# 252.39 and 1.5.2-6+deb12u3, and with 257.13 and 1.7.0-5: what is below as `expected`.
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

expected='2026-12-30 23:59:00: PAM says open, userdbctl says yes
2026-12-31 00:01:00: PAM says has expired, userdbctl says yes
2026-12-31 17:59:00: PAM says has expired, userdbctl says yes
2026-12-31 18:01:00: PAM says has expired, userdbctl says no
getent shadow: alice:*::::::20818:
day 20818 begins at 2026-12-31 00:00:00'
declare -A pam=([bookworm]=1.5.2 [trixie]=1.7.0)
for release in bookworm=252 trixie=257; do
  root="$folder/${release%=*}"
  unpack "${release%=*}" "libnss-systemd=${release#*=}.*" "systemd-userdbd=${release#*=}.*" \
    "libpam-modules=${pam[${release%=*}]}-*" faketime \
    base-files base-passwd bash coreutils dash libc-bin login mount sed util-linux
  cat > "$root/steps" <<'STEPS'
touch /etc/shadow
printf 'passwd: files systemd\ngroup: files systemd\nshadow: files systemd\n' > /etc/nsswitch.conf
printf 'auth sufficient pam_rootok.so\naccount required pam_unix.so\nsession required pam_permit.so\n' > /etc/pam.d/su
printf 'auth required pam_permit.so\naccount required pam_permit.so\nsession required pam_permit.so\n' > /etc/pam.d/other
mkdir -p /etc/userdb
end="$(date --date '2026-12-31 18:00:00 UTC' +%s)"
cat > /etc/userdb/alice.user <<JSON
{"userName": "alice", "uid": 61001, "gid": 100, "homeDirectory": "/", "shell": "/bin/sh", "notAfterUSec": ${end}000000}
JSON
echo '{"privileged": {"hashedPassword": ["*"]}}' > /etc/userdb/alice.user-privileged
chmod 600 /etc/userdb/alice.user-privileged
ln -s alice.user /etc/userdb/61001.user
ln -s alice.user-privileged /etc/userdb/61001.user-privileged
# libfaketime leaves files there, which others of the same number may not open.
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
for now in '2026-12-30 23:59:00' '2026-12-31 00:01:00' '2026-12-31 17:59:00' '2026-12-31 18:01:00'; do
  echo "$now" > /etc/faketimerc
  echo /usr/lib/*/faketime/libfaketime.so.1 > /etc/ld.so.preload
  words="$(su alice --command 'echo open' 2>&1)" || true
  login="$(userdbctl user alice | sed -n 's/^ *Login OK: \([a-z]*\).*/\1/p')"
  : > /etc/ld.so.preload
  case "$words" in open) ;; *expired*) words='has expired' ;; esac
  echo "$now: PAM says $words, userdbctl says $login"
done
shadow="$(getent shadow alice)"
echo "getent shadow: $shadow"
day="${shadow%:}"
day="${day##*:}"
echo "day $day begins at $(date --date "@$((day * 86400))" '+%F %T')"
STEPS
  said="$(run "$root")"
  if [ "$said" != "$expected" ]; then
    printf 'it has changed:\n%s\n' "$said"
    exit 1
  fi
  printf '%s\n' "$said"
done
