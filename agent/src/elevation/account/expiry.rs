//! The day on which an account expires: whole days in UTC, counted from 1970, and nothing else. What chage and usermod make
//! of dates depends on the zone of the host, and on the time of day.

use chrono::{DateTime, Utc};
use lapse_crds::AccountAction;

use crate::accounts::{Password, Shadow, shadow};
use crate::elevation::Bench;
use crate::elevation::files::{Aim, change, unreadable};
use crate::record::Record;
use crate::right::{Elevation, Right};

const SECONDS_OF_A_DAY: i64 = 24 * 60 * 60;

/// The day that a moment lies in.
pub(super) fn day_of(moment: DateTime<Utc>) -> i64 {
    moment.timestamp().div_euclid(SECONDS_OF_A_DAY)
}

/// The first day on which an account has expired that lasts until this moment.
pub(super) fn last_until(end: DateTime<Utc>) -> i64 {
    day_of(end) + 1
}

/// Other orders that do the same with the same user, and may have done some of it.
pub(super) fn others<'a>(
    bench: &'a Bench<'_>,
    right: &'a Right,
    action: AccountAction,
) -> impl Iterator<Item = (&'a Record, &'a Right)> {
    let theirs = bench.others.iter().filter(|record| record.is_in_force() && record.undo.is_some());
    let theirs = theirs.filter_map(|record| Some((record, record.right.as_ref()?)));
    theirs.filter(move |(_, other)| {
        let is_same =
            matches!(&other.elevation, Elevation::Account { action: own, .. } if *own == action);
        is_same && other.user == right.user
    })
}

/// The last day of all other such orders, if there are any.
pub(super) fn day_of_others(
    bench: &Bench<'_>,
    right: &Right,
    action: AccountAction,
) -> Option<i64> {
    others(bench, right, action).map(|(_, other)| last_until(other.expires_at)).max()
}

/// Whether an account expires on the day of an order, or on a later one of another order.
pub(super) fn is_as_ordered(
    bench: &Bench<'_>,
    right: &Right,
    action: AccountAction,
    found: Shadow,
) -> bool {
    let own = last_until(right.expires_at);
    let last = day_of_others(bench, right, action).map_or(own, |others| others.max(own));
    found.expires.is_some_and(|day| (own..=last).contains(&day))
}

/// Has an account expire on a day.
pub(super) fn expire_on(bench: &Bench<'_>, aim: Aim, name: &str, day: i64) -> Result<(), String> {
    let read = || {
        let found = shadow(bench.places, name).map_err(unreadable)?;
        found.ok_or_else(|| format!("the local user {name} is not in /etc/shadow"))
    };
    if read()?.expires == Some(day) {
        return Ok(());
    }
    let what = format!("changing the day on which {name} expires");
    change(bench, aim, &what, ("chage", &["--expiredate", &day.to_string(), name]))?;
    let is_done = read()?.expires == Some(day);
    is_done.then_some(()).ok_or_else(|| format!("{name} does not expire on day {day} all the same"))
}

/// Locks the password of an account, or unlocks it, if it has one.
pub(super) fn lock(bench: &Bench<'_>, aim: Aim, name: &str, is_locked: bool) -> Result<(), String> {
    let (from, option, what) = if is_locked {
        (Password::Usable, "--lock", "locking")
    } else {
        (Password::Locked, "--unlock", "unlocking")
    };
    let is_to_do = || {
        let found = shadow(bench.places, name).map_err(unreadable)?;
        Ok::<_, String>(found.is_some_and(|found| found.password == from))
    };
    if !is_to_do()? {
        return Ok(());
    }
    let what = format!("{what} the password of {name}");
    change(bench, aim, &what, ("usermod", &[option, name]))?;
    if is_to_do()? { Err(format!("{what} had no effect")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::in_the_middle("2024-10-04T12:00:00Z", 20_001)]
    #[case::at_its_start("2024-10-04T00:00:00Z", 20_001)]
    #[case::just_before_the_next("2024-10-04T23:59:59.999Z", 20_001)]
    fn an_account_lasts_through_the_day_of_its_end(#[case] end: &str, #[case] expected: i64) {
        let end = DateTime::parse_from_rfc3339(end).unwrap().to_utc();
        assert_eq!(last_until(end), expected);
    }
}
