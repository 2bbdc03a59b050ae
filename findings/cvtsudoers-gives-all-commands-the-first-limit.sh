#!/usr/bin/env bash
# sudo 1.9.13p3 (Debian 12) and 1.9.16p2 (Debian 13), `cvtsudoers`: of a rule whose commands have different time limits, what is
# made in JSON, CSV and LDIF has the limit of the first command for all of them. `A, NOTAFTER=2027… B` is A and B without an end,
# and `NOTAFTER=2026… A, NOTAFTER=2027… B` is A and B until 2026. TIMEOUT is lost likewise. The format `sudoers` keeps them.
#
# Expected: a rule for each, as there is for commands that differ in a tag: `NOPASSWD: A, PASSWD: B` becomes two.
#
# So who moves their sudoers into LDAP by it, or reads them for an inventory, has other ends than those in force, without a word.
#
# What to do: one rule for each limit, in lines of their own, or compare with the format `sudoers`.
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

expected='alice ALL = (root) NOTAFTER=20261231180000Z /bin/A, NOTAFTER=20271231180000Z /bin/B
  json: {"notafter":"20261231180000Z"} /bin/A /bin/B
  csv: "notafter=20261231180000Z","/bin/A,/bin/B"
  ldif: sudoNotAfter: 20261231180000Z, sudoCommand: /bin/A, sudoCommand: /bin/B
alice ALL = (root) /bin/A, NOTAFTER=20271231180000Z /bin/B
  json: /bin/A /bin/B
  csv: "","/bin/A,/bin/B"
  ldif: sudoCommand: /bin/A, sudoCommand: /bin/B
alice ALL = (root) TIMEOUT=300 /bin/A, TIMEOUT=3600 /bin/B
  json: {"command_timeout":300} /bin/A /bin/B
  csv: "command_timeout=300","/bin/A,/bin/B"
  ldif: sudoOption: command_timeout=300, sudoCommand: /bin/A, sudoCommand: /bin/B
alice ALL = (root) NOPASSWD: /bin/A, PASSWD: /bin/B
  json: {"authenticate":false} /bin/A; {"authenticate":true} /bin/B
  csv: "!authenticate",/bin/A; "authenticate",/bin/B
  ldif: sudoOption: !authenticate, sudoCommand: /bin/A; sudoOption: authenticate, sudoCommand: /bin/B'
for release in bookworm=1.9.13p3 trixie=1.9.16p2; do
  root="$folder/${release%=*}"
  unpack "${release%=*}" "sudo=${release#*=}-*" base-files base-passwd bash coreutils dash jq login mawk mount sed
  cat > "$root/steps" <<'STEPS'
for rule in 'NOTAFTER=20261231180000Z /bin/A, NOTAFTER=20271231180000Z /bin/B' \
  '/bin/A, NOTAFTER=20271231180000Z /bin/B' \
  'TIMEOUT=5m /bin/A, TIMEOUT=1h /bin/B' \
  'NOPASSWD: /bin/A, PASSWD: /bin/B'; do
  echo "alice ALL = (root) $rule" > /in
  # Long rules are wrapped.
  cvtsudoers --output-format sudoers /in | sed -e ':more; /\\$/{N; s/\\\n */ /; b more}' -e '/^$/d'
  json="$(cvtsudoers --output-format json /in |
    jq --compact-output --raw-output '.User_Specs[].Cmnd_Specs[] | [(.Options // [] | .[] | tojson), .Commands[].command] | join(" ")')"
  echo "  json: ${json//$'\n'/; }"
  csv="$(cvtsudoers --output-format csv /in | sed -n 's/^rule,alice,ALL,root,,//p')"
  echo "  csv: ${csv//$'\n'/; }"
  # Entries have an empty line between them.
  ldif="$(SUDOERS_BASE=ou=sudoers,dc=shop cvtsudoers --output-format ldif /in |
    mawk '/^sudo(NotAfter|Command|Option):/ { all = all ", " $0 } /^$/ && all { print substr(all, 3); all = "" }
      END { if (all) print substr(all, 3) }')"
  echo "  ldif: ${ldif//$'\n'/; }"
done
STEPS
  said="$(run "$root")"
  if [ "$said" != "$expected" ]; then
    printf 'it has changed:\n%s\n' "$said"
    exit 1
  fi
  printf '%s\n' "$said"
done
