#!/usr/bin/env bash
# cron 0.17.0 (the crate), in the hour that a time zone has twice when its clocks go back: `schedule.after(&now).next()` can
# lie before `now`, by as much as 59 minutes. For "every half hour" at 01:10 UTC of that night in Berlin it is 00:30 UTC. In
# the first of the two hours it skips the second one: after 00:30 UTC comes 02:00 UTC. And the iterator of `after` gives
# times that are out of order: 00:00, 01:00, 00:30, 01:30.
#
# Expected: later times, in order, as `after` is `upcoming` with "a start time other than the present".
#
# So what sleeps until the next time has a sleep of a negative length once a year, or runs at once, and again, until the hour is
# over; and for the hour before, a job that runs every five minutes has not run for 65.
#
# Why: the search goes over local times, and takes the time that it starts from as local time, too, without its offset. A local
# time that is found twice is given as two times one after the other.
#
# What to do: use schedules in UTC, or another crate (croner 4.0.3 has all four times in order), or look whether the time
# that comes out is later than what went in.
#
# Seen on 2026-12-01: what is below as `expected`.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
mkdir -p "$folder/src"
cat > "$folder/Cargo.toml" <<'TOML'
[package]
name = "finding"
version = "0.0.0"
edition = "2024"

[dependencies]
chrono = { version = "=0.4.45", default-features = false, features = ["std"] }
chrono-tz = "=0.10.4"
cron = "=0.17.0"
croner = "=4.0.3"
TOML
cat > "$folder/src/main.rs" <<'RUST'
use chrono::{DateTime, Utc};
use chrono_tz::{Europe::Berlin, Tz};

fn utc(time: &DateTime<Tz>) -> String {
    time.with_timezone(&Utc).format("%H:%M").to_string()
}

fn main() {
    // The clocks of Berlin go back at 01:00 UTC, from 03:00 to 02:00.
    let at = |time: &str| {
        let time = DateTime::parse_from_rfc3339(&format!("2026-10-{time}:00Z"));
        time.unwrap().with_timezone(&Berlin)
    };
    let cron: cron::Schedule = "0 */30 * * * *".parse().unwrap();
    let croner: croner::Cron = "*/30 * * * *".parse().unwrap();
    for now in ["25T00:10", "25T00:40", "25T01:10", "25T01:40", "25T02:10"] {
        let now = at(now);
        let next = cron.after(&now).next().unwrap();
        let of_croner = croner.find_next_occurrence(&now, false).unwrap();
        let (now, of_cron, of_croner) = (utc(&now), utc(&next), utc(&of_croner));
        println!("after {now} UTC: cron {of_cron}, croner {of_croner}");
    }
    let from = at("24T23:50");
    let all: Vec<String> = cron.after(&from).take(6).map(|time| utc(&time)).collect();
    println!("all after 23:50 UTC: cron {}", all.join(" "));
    let all: Vec<String> = croner.iter_after(from).take(6).map(|time| utc(&time)).collect();
    println!("all after 23:50 UTC: croner {}", all.join(" "));
}
RUST
said="$(cd "$folder" && cargo run --quiet)"
expected='after 00:10 UTC: cron 00:30, croner 00:30
after 00:40 UTC: cron 02:00, croner 01:00
after 01:10 UTC: cron 00:30, croner 01:30
after 01:40 UTC: cron 02:00, croner 02:00
after 02:10 UTC: cron 02:30, croner 02:30
all after 23:50 UTC: cron 00:00 01:00 00:30 01:30 02:00 02:30
all after 23:50 UTC: croner 00:00 00:30 01:00 01:30 02:00 02:30'
if [ "$said" != "$expected" ]; then
  printf 'it has changed:\n%s\n' "$said"
  exit 1
fi
printf '%s\n' "$said"
