//! That nothing is told twice, whoever restarts.

use chrono::{DateTime, TimeDelta};

use super::*;
use crate::record::{Record, Stage};
use crate::right::{Elevation, Right};

fn reading(seconds: i64) -> Reading {
    let wall = DateTime::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::seconds(seconds);
    let boottime_ms = u64::try_from((seconds + 1_000_000) * 1000).unwrap();
    Reading { wall, boottime_ms, boot_id: "a".into() }
}

fn record(grant: &str) -> Record {
    let right = Right {
        user: "al".into(),
        uid: 1000,
        starts_at: reading(0).wall,
        expires_at: reading(600).wall,
        elevation: Elevation::Admin,
        log_off: false,
        containment: None,
        records_children: false,
    };
    let record = Record::received(grant.into(), "u".into(), right, &reading(0));
    Record { stage: Stage::Active, ..record }
}

fn titles(records: &[Record], memory: &mut Memory, second: i64) -> (Vec<&'static str>, Duration) {
    let mut said = Vec::new();
    let pause = tell_all(records, memory, &reading(second), |letter| {
        assert_eq!(letter.uid, 1000);
        said.push(letter.text.title);
    });
    (said, pause)
}

#[test]
fn a_restart_repeats_nothing_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let places = Places::under(folder.path());
    std::fs::create_dir_all(places.private()).unwrap();
    let records = [record("a")];
    let mut first = Memory::read(places.clone());
    assert_eq!(titles(&records, &mut first, 1), (vec!["Access begins"], WATCHFUL));
    assert_eq!(titles(&records, &mut first, 479).0, [""; 0]);
    drop(first);
    let mut second = Memory::read(places.clone());
    let (said, pause) = titles(&records, &mut second, 479);
    assert_eq!((said.len(), pause), (0, Duration::from_secs(1)));
    assert_eq!(titles(&records, &mut second, 480).0, ["Access ends soon"]);
    let mut third = Memory::read(places.clone());
    assert_eq!(titles(&records, &mut third, 481).0, [""; 0]);
    assert_eq!(titles(&records, &mut third, 540).0, ["Access ends soon"]);
    // Of what nobody knows any more nothing is kept.
    assert_eq!(titles(&[], &mut third, 541), (vec![], CALM));
    assert_eq!(std::fs::read_to_string(places.told()).unwrap(), "{}");
}

#[test]
fn a_full_disk_has_nothing_told_again() {
    let folder = tempfile::tempdir().unwrap();
    // There is no folder to write into.
    let mut memory = Memory::read(Places::under(folder.path()));
    assert_eq!(titles(&[record("a")], &mut memory, 1).0, ["Access begins"]);
    assert_eq!(titles(&[record("a")], &mut memory, 2).0, [""; 0]);
}

/// An agent that starts anew has not looked yet.
#[tokio::test(start_paused = true)]
async fn what_is_not_known_yet_is_not_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let places = Places::under(folder.path());
    std::fs::create_dir_all(places.private()).unwrap();
    let mut first = Memory::read(places.clone());
    titles(&[record("a")], &mut first, 1);
    let noted = std::fs::read_to_string(places.told()).unwrap();
    let (_worker, known) = watch::channel(Known::default());
    let telling = tell(places.clone(), known);
    assert!(tokio::time::timeout(2 * CALM, telling).await.is_err());
    assert_eq!(std::fs::read_to_string(places.told()).unwrap(), noted);
}
