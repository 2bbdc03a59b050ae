use chrono::{DateTime, TimeDelta};
use rstest::rstest;

use super::*;
use crate::clock::Reading;
use crate::record::Undo;
use crate::right::Right;
use crate::unfollowed::Owner;

const RULE: &str = "#1000 ALL=(root) NOPASSWD: ALL\n";

fn now() -> Reading {
    Reading { wall: DateTime::UNIX_EPOCH, boottime_ms: 0, boot_id: "a".into() }
}

fn records(stage: Stage) -> Records {
    let right = Right {
        user: "al".into(),
        uid: 1000,
        starts_at: now().wall,
        expires_at: now().wall + TimeDelta::hours(1),
        elevation: Elevation::Admin,
        log_off: false,
        containment: None,
        records_children: false,
    };
    let mut record = Record::received("g".into(), "u".into(), right, &now());
    record.undo = Some(Undo { rule: Some(RULE.into()), ..Undo::default() });
    record.go(stage, &now());
    let mut records = Records::default();
    records.read.insert(Id::of("g"), record);
    records
}

fn entry(content: Content) -> Entry {
    let owner = Owner { mode: 0o644, uid: 0, gid: 0 };
    Entry { kind: DriftKind::Agent, is_guarded: true, owner, content, access_list: None }
}

/// All that there is of a right.
fn there() -> Entries {
    let id = Id::of("g");
    let [calendar, wanted, counting] = timer_paths(&id);
    let text = timers::calendar_text(&id, "g", now().wall + TimeDelta::hours(1));
    [
        (format!("{RULES}/lapse-{id}"), Content::Text(RULE.into())),
        (calendar, Content::Text(text)),
        (wanted, Content::Link("../x".into())),
        (counting, Content::Text("x".into())),
    ]
    .into_iter()
    .map(|(path, content)| (path, entry(content)))
    .collect()
}

fn told(records: &Records, now: &Entries) -> Vec<String> {
    let found = Own::of(records).compare(now);
    let told = found.iter().map(|it| {
        let repair = if it.repair == Repair::Take { "taken" } else { "armed" };
        format!(
            "{} {}, {repair}",
            last(&it.path).split('-').take(2).collect::<Vec<_>>().join("-"),
            it.change
        )
    });
    told.collect()
}

#[test]
fn what_is_as_lapse_has_put_it_is_no_change() {
    assert_eq!(told(&records(Stage::Active), &there()), [""; 0]);
    let mut given = there();
    let id = Id::of("g");
    given.insert(format!("{RULES}/.lapse-{id}~"), entry(Content::Text(String::new())));
    assert_eq!(told(&records(Stage::Giving), &given), [""; 0], "while it is being written");
    given.clear();
    assert_eq!(told(&records(Stage::Giving), &given), [""; 0], "before it is");
    assert_eq!(told(&records(Stage::Ending), &given), [""; 0], "while it goes");
}

type Change = fn(&mut Entries);

fn change(now: &mut Entries, number: usize, content: Option<Content>) {
    let id = Id::of("g");
    let [calendar, wanted, counting] = timer_paths(&id);
    let path = [format!("{RULES}/lapse-{id}"), calendar, wanted, counting][number].clone();
    match content {
        Some(content) => now.get_mut(&path).unwrap().content = content,
        None => _ = now.remove(&path),
    }
}

#[rstest]
#[case::rule(|now: &mut Entries| change(now, 0, Some(Content::Text("ALL ALL=(ALL) ALL\n".into()))), &["lapse-32 was changed, taken"])]
// Whoever removes it wants it gone.
#[case::rule_removed(|now: &mut Entries| change(now, 0, None), &[])]
#[case::end(|now: &mut Entries| change(now, 1, Some(Content::Text("later".into()))), &["lapse-end was changed, armed"])]
#[case::end_removed(|now: &mut Entries| change(now, 1, None), &["lapse-end was removed, armed"])]
#[case::end_not_enabled(|now: &mut Entries| change(now, 2, None), &["lapse-end was removed, armed"])]
#[case::masked(|now: &mut Entries| change(now, 3, Some(Content::Folder)), &["lapse-after was changed, armed"])]
fn what_is_not_as_lapse_has_put_it_is_found(#[case] change: Change, #[case] expected: &[&str]) {
    let mut now = there();
    change(&mut now);
    let told: Vec<String> = told(&records(Stage::Active), &now)
        .into_iter()
        .map(|line| match line.split_once(' ') {
            // The name of a rule is a hash.
            Some((name, rest))
                if !name.starts_with("lapse-end") && !name.starts_with("lapse-after") =>
            {
                format!("lapse-{} {rest}", name.trim_start_matches("lapse-").len())
            }
            _ => line,
        })
        .collect();
    assert_eq!(told, expected);
}

#[test]
fn what_bears_the_name_of_what_is_over_is_somebody_elses() {
    let found = told(&records(Stage::Over), &there());
    assert_eq!(found.len(), 4);
    assert!(found.iter().all(|line| line.ends_with("was added, taken")), "{found:?}");
    assert_eq!(told(&Records::default(), &there()).len(), 4);
    // Of an order that cannot be read nobody knows what it has put there.
    let mut records = Records::default();
    let error = crate::journal::JournalError::Malformed { path: "x".into(), why: "y".into() };
    records.broken.insert(Id::of("g"), error);
    assert_eq!(told(&records, &there()), [""; 0]);
}
