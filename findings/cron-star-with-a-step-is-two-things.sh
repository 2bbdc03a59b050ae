#!/usr/bin/env bash
# cron 3.0pl1 (Debian 12 and 13) and robfig/cron 3.0.1 (the CronJobs of Kubernetes 1.36): `0 0 */2 * 1` in a crontab is midnight
# of those Mondays whose day of the month is odd, about two a month. In a CronJob it is midnight of every Monday and of every
# odd day, about eighteen a month. `0 0 1-31/2 * 1`, which says the same days, is the latter in both.
#
# Expected: one meaning, since a CronJob's schedule is described as one of cron, and no difference between `*/2` and `1-31/2`.
#
# Why: day of the month and day of the week are joined by "or", unless one of them is a star, and then by "and". For cron a
# field is one that begins with a star, for robfig/cron one that has no step (a step of 1 is none).
#
# So a schedule that is moved from a host into a cluster runs on nine times as many days, or the other way round on hardly any,
# and nobody refuses it.
#
# What to do: give no two of day of the month and day of the week, and let the job ask for the other one.
#
# Takes root, Go, and a Debian whose package sources have both releases. Seen on 2026-12-01, with 3.0pl1-162 and
# 3.0pl1-197: what is below as `expected`.
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

schedules='0 0 */2 * 1
0 0 1-31/2 * 1
0 0 * * 1'
mkdir "$folder/go"
cat > "$folder/go/go.mod" <<'MOD'
module finding

go 1.26

require github.com/robfig/cron/v3 v3.0.1
MOD
cat > "$folder/go/main.go" <<'GO'
package main

import (
	"bufio"
	"fmt"
	"os"
	"time"

	"github.com/robfig/cron/v3"
)

func main() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		schedule, err := cron.ParseStandard(lines.Text())
		if err != nil {
			panic(err)
		}
		fmt.Print(", CronJob")
		for _, day := range []int{12, 13, 19} {
			midnight := time.Date(2026, 1, day, 0, 0, 0, 0, time.UTC)
			if schedule.Next(midnight.Add(-time.Second)).Equal(midnight) {
				fmt.Print(" ", midnight.Format(time.DateOnly))
			}
		}
		fmt.Println()
	}
}
GO
jobs="$(cd "$folder/go" && go mod tidy 2> /dev/null && go run . <<< "$schedules")"

expected='0 0 */2 * 1: crontab 2026-01-19, CronJob 2026-01-12 2026-01-13 2026-01-19
0 0 1-31/2 * 1: crontab 2026-01-12 2026-01-13 2026-01-19, CronJob 2026-01-12 2026-01-13 2026-01-19
0 0 * * 1: crontab 2026-01-12 2026-01-19, CronJob 2026-01-12 2026-01-19'
for release in bookworm=3.0pl1-162 trixie=3.0pl1-197; do
  root="$folder/${release%=*}"
  unpack "${release%=*}" "cron=${release#*=}" faketime \
    base-files base-passwd bash coreutils dash grep login mount sed
  echo "$schedules" > "$root/schedules"
  echo "$jobs" > "$root/jobs"
  cat > "$root/steps" <<'STEPS'
# libfaketime leaves files there, which others of the same number may not open.
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
printf 'auth required pam_permit.so\naccount required pam_permit.so\nsession required pam_permit.so\n' |
  tee /etc/pam.d/other > /etc/pam.d/cron
touch /etc/shadow
mkdir -p /run /var/spool/cron/crontabs
echo SHELL=/bin/sh > /etc/crontab
number=0
while read -r schedule; do
  number=$((number + 1))
  echo "$schedule root echo $number >> /ran" >> /etc/crontab
done < /schedules
echo '* * * * * root echo end >> /ran' >> /etc/crontab
library="$(echo /usr/lib/*/faketime/libfaketime.so.1)"
# A Monday on an even day of the month, a Tuesday on an odd one, and a Monday on an odd one.
for day in 2026-01-12 2026-01-13 2026-01-19; do
  : > /ran
  LD_PRELOAD="$library" FAKETIME="@$(date --date "$day yesterday" +%F) 23:59:50" timeout 120 cron -f 2> /complaints &
  while kill -0 "$!" && ! grep --quiet end /ran; do sleep 0.1; done
  sleep 1
  kill "$!"
  wait "$!" || true
  for number in $(grep --invert-match end /ran); do echo " $day" >> "/on.$number"; done
done
number=0
while read -r schedule; do
  number=$((number + 1))
  echo "$schedule: crontab$(tr --delete '\n' < "/on.$number")$(sed --quiet "${number}p" /jobs)"
done < /schedules
STEPS
  said="$(run "$root")"
  if [ "$said" != "$expected" ]; then
    printf 'it has changed:\n%s\n' "$said"
    exit 1
  fi
  printf '%s\n' "$said"
done
