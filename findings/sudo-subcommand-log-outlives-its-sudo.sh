#!/usr/bin/env bash
# sudo 1.9.13p3 (Debian 12) and 1.9.16p2 (Debian 13), `Defaults log_subcmds`: what a command left in the background can start
# no program any more once its sudo has ended. Each execve(2) fails with ENOSYS ("Function not implemented"), for the process
# and all its children, until they end. The same without `log_subcmds` works.
#
# Expected: they go on, unlogged, or are ended with their sudo. sudoers(5) says nothing of what outlives it.
#
# So a daemon that an administrator restarts by sudo without a service manager (its own script, `nohup`, a tmux session) runs,
# answers, and then fails at its first hook, log rotation or worker, hours after somebody turned the log on.
#
# Why: the log is made with a seccomp filter that hands each execve to a tracer, which is sudo. A filter is inherited and cannot
# be taken off; the kernel answers ENOSYS where no tracer is left.
#
# What to do: start what is to stay by the service manager (`systemctl`, `systemd-run`), which is no child of sudo.
# `intercept_type=dso`, which needs no tracer, is no way out: there it fails with EACCES.
#
# Takes root and a Debian whose package sources have both releases. Seen on 2026-12-01, with
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

expected='Defaults logfile=/var/log/sudo: a program runs
Defaults logfile=/var/log/sudo, log_subcmds: Function not implemented
Defaults logfile=/var/log/sudo, log_subcmds, intercept_type=dso: Permission denied'
for release in bookworm=1.9.13p3 trixie=1.9.16p2; do
  root="$folder/${release%=*}"
  unpack "${release%=*}" "sudo=${release#*=}-*" \
    base-files base-passwd bash coreutils dash grep login sed util-linux
  cat > "$root/steps" <<'STEPS'
echo '127.0.0.1 localhost finding' > /etc/hosts
echo 'alice:x:1000:1000::/:/bin/sh' >> /etc/passwd
printf 'auth required pam_permit.so\naccount required pam_permit.so\nsession required pam_permit.so\n' |
  tee /etc/pam.d/other > /etc/pam.d/sudo
chmod 0440 /etc/sudoers
# It runs programs only when its sudo has ended, and is running itself before.
printf '#!/bin/bash\n: > /runs\nread -r < /go\n/bin/echo a program runs\necho done\n' > /daemon
chmod +x /daemon
mkfifo /go
try() {
  printf 'alice ALL=(root) NOPASSWD: ALL\nDefaults logfile=/var/log/sudo%s\n' "$1" > /etc/sudoers.d/alice
  chmod 0440 /etc/sudoers.d/alice
  setpriv --reuid 1000 --regid 1000 --clear-groups \
    sudo -n /bin/bash -c '/daemon > /said 2>&1 < /dev/null & until [ -e /runs ]; do :; done'
  rm /runs
  timeout 10 bash -c 'echo > /go'
  for _ in {1..100}; do if grep --quiet '^done$' /said; then break; fi; sleep 0.1; done
  echo "Defaults logfile=/var/log/sudo$1: $(tail --lines 2 /said | sed '/^done$/d; s/.*: //')"
}
try ''
try ', log_subcmds'
try ', log_subcmds, intercept_type=dso'
STEPS
  said="$(run "$root")"
  if [ "$said" != "$expected" ]; then
    printf 'it has changed:\n%s\n' "$said"
    exit 1
  fi
  printf '%s\n' "$said"
done
