#!/usr/bin/env bash
# kubernetes 37.0.2 (the Python client) and Kubernetes 1.36.3: a `datetime` in a field of type MicroTime (the times of a Lease, the
# time of an Event) is sent without a fraction if its microseconds are 0, and the API server refuses the object for it, with
# a 400. Six digits it must be: without them, with three, as JavaScript writes times, or with nine it is no MicroTime.
#
# Expected: that a time by RFC 3339 is taken, as the schema says `format: date-time`, and as metav1.Time takes all of them; and
# that a client sends what its server reads.
#
# So what cuts its times to the second (`replace(microsecond=0)`) cannot write a Lease at all, and what does not fails once in a
# million times, in a renewal, by chance.
#
# Why: `isoformat` leaves out a fraction that is zero; the server reads with a layout of Go that has six digits, which stands
# for neither fewer nor more.
#
# What to do: `isoformat(timespec="microseconds")`, and give the field as a string; or add a microsecond to a time that has none.
#
# Takes Python 3 with venv, and Go. Seen on 2026-12-01: what is below as `expected`.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" --quiet --disable-pip-version-check install kubernetes==37.0.2
cat > "$folder/finding.py" <<'PYTHON'
import json
from datetime import datetime, timezone

from kubernetes import client

for microsecond in [250000, 0]:
    time = datetime(2026, 12, 31, 18, 0, 0, microsecond, tzinfo=timezone.utc)
    lease = client.V1Lease(spec=client.V1LeaseSpec(renew_time=time))
    print(json.dumps(client.ApiClient().sanitize_for_serialization(lease)))
for time in ["18:00:00.250Z", "18:00:00.250000Z", "18:00:00.250000000Z"]:
    print(json.dumps({"spec": {"renewTime": f"2026-12-31T{time}"}}))
PYTHON
cat > "$folder/go.mod" <<'MOD'
module finding

go 1.26

require (
	k8s.io/api v0.36.3
	k8s.io/apimachinery v0.36.3
)
MOD
cat > "$folder/main.go" <<'GO'
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func said(err error) string {
	if err != nil {
		return "refuses"
	}
	return "takes"
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var lease coordinationv1.Lease
		asLease := json.Unmarshal(lines.Bytes(), &lease)
		var times struct{ Spec map[string]metav1.Time }
		asTime := json.Unmarshal(lines.Bytes(), &times)
		fmt.Printf("%s: MicroTime %s, Time %s\n", lines.Text(), said(asLease), said(asTime))
	}
}
GO
leases="$("$folder/venv/bin/python" "$folder/finding.py")"
said="$(cd "$folder" && go mod tidy 2> /dev/null && go run . <<< "$leases")"
expected='{"spec": {"renewTime": "2026-12-31T18:00:00.250000+00:00"}}: MicroTime takes, Time takes
{"spec": {"renewTime": "2026-12-31T18:00:00+00:00"}}: MicroTime refuses, Time takes
{"spec": {"renewTime": "2026-12-31T18:00:00.250Z"}}: MicroTime refuses, Time takes
{"spec": {"renewTime": "2026-12-31T18:00:00.250000Z"}}: MicroTime takes, Time takes
{"spec": {"renewTime": "2026-12-31T18:00:00.250000000Z"}}: MicroTime refuses, Time takes'
if [ "$said" != "$expected" ]; then
  printf 'it has changed:\n%s\n' "$said"
  exit 1
fi
printf '%s\n' "$said"
