#!/usr/bin/env bash
# ldap3 2.9.1 (Python), `accountExpires` of Active Directory: an account that never ends is one that ended in 1601, or will end in
# 9999. "Never" has two values there, 0 and 9223372036854775807. The first is read as the first of January 1601. The second is
# read as the last microsecond of 9999, and if it is written back as it was read, it is another number: from then on the
# account has an end.
#
# And a `datetime` without a zone is taken for local time, with the offset that the zone has now, not then. What is written in
# winter for six in the afternoon of a day in July is seven, and what is written in July for January is five.
#
# Expected: None for "never", or the number; what is written back unchanged does not change; and the offset of the date.
#
# So a report of accounts that are over has those first that never are (0 is what an account has whose end was taken back), and
# a clean-up that goes by it disables them.
#
# What to do: look at `raw_values`, and compare with both numbers before anything else. Write a number, or a `datetime`
# with a zone.
#
# Takes Python 3 with venv. Seen on 2026-12-01: what is below as `expected`.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" --quiet --disable-pip-version-check install ldap3==2.9.1 pyasn1==0.6.1
cat > "$folder/finding.py" <<'PYTHON'
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

from ldap3 import MOCK_SYNC, MODIFY_REPLACE, OFFLINE_AD_2012_R2, Connection, Server

server = Server("finding", get_info=OFFLINE_AD_2012_R2)
connection = Connection(server, user="cn=admin,dc=shop", password="finding", client_strategy=MOCK_SYNC)
connection.strategy.add_entry("cn=admin,dc=shop", {"userPassword": "finding"})
alice = "cn=alice,dc=shop"
connection.strategy.add_entry(alice, {"objectClass": "user", "accountExpires": "0"})
connection.bind()


def read():
    connection.search(alice, "(objectClass=user)", attributes=["accountExpires"])
    return connection.entries[0].accountExpires


def write(value):
    assert connection.modify(alice, {"accountExpires": [(MODIFY_REPLACE, [value])]})
    return int(read().raw_values[0])


for never in ["0", "9223372036854775807"]:
    write(never)
    value = read().value
    print(f"{never} is read as {value:%Y-%m-%d %H:%M:%S}, and written back as {write(value)}")

# Local time is that of Berlin. Whenever this runs, one of the two dates has another offset than today.
off = []
for date in [datetime(2027, 1, 15, 18), datetime(2027, 7, 15, 18)]:
    meant = date.replace(tzinfo=ZoneInfo("Europe/Berlin"))
    written = datetime(1601, 1, 1, tzinfo=timezone.utc) + timedelta(microseconds=write(date) / 10)
    off.append(abs(written - meant))
    assert write(meant) == (meant - datetime(1601, 1, 1, tzinfo=timezone.utc)) // timedelta(microseconds=1) * 10
print("without a zone, a date in winter and one in summer are off by", *sorted(str(by) for by in off))
PYTHON
said="$(TZ=Europe/Berlin "$folder/venv/bin/python" "$folder/finding.py")"
expected='0 is read as 1601-01-01 00:00:00, and written back as 0
9223372036854775807 is read as 9999-12-31 23:59:59, and written back as 2650467743990000000
without a zone, a date in winter and one in summer are off by 0:00:00 1:00:00'
if [ "$said" != "$expected" ]; then
  printf 'it has changed:\n%s\n' "$said"
  exit 1
fi
printf '%s\n' "$said"
