use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use k8s_openapi::ByteString;
use lapse_engine::attest::{KeySet, PublicKey, key_id};
use rstest::rstest;

use super::*;
use crate::testing::{material, now};

type Data = BTreeMap<String, ByteString>;

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(ToString::to_string).collect()
}

/// What a replica finds after another has made everything for the name `hook`.
fn data() -> Data {
    let mut data = Data::new();
    material(&["hook"], now()).write(&mut data);
    data
}

fn after(days: i64) -> DateTime<Utc> {
    now() + TimeDelta::days(days)
}

fn read(data: &Data) -> Stored {
    Stored::read(data).0
}

fn nothing() -> Renewal {
    Renewal::default()
}

fn everything(for_names: &[&str]) -> Renewal {
    Renewal { signing: true, path: true, authority: true, serving: Some(names(for_names)) }
}

#[rstest]
#[case::complete(|_: &mut Data| {}, Standing::InForce, 0, nothing())]
#[case::empty(|data: &mut Data| data.clear(), Standing::Absent, 0, everything(&["hook"]))]
#[case::never_published(|_: &mut Data| {}, Standing::Absent, 0, Renewal { signing: true, ..nothing() })]
#[case::retired(|_: &mut Data| {}, Standing::Unusable, 0, Renewal { signing: true, ..nothing() })]
#[case::path_lost(|data: &mut Data| drop(data.remove("path")), Standing::InForce, 0, Renewal { path: true, ..nothing() })]
#[case::path_too_short(|data: &mut Data| drop(data.insert("path".into(), ByteString(b"abc".to_vec()))), Standing::InForce, 0, Renewal { path: true, ..nothing() })]
#[case::certificate_lost(|data: &mut Data| drop(data.remove("tls.crt")), Standing::InForce, 0, Renewal { serving: Some(names(&["hook"])), ..nothing() })]
#[case::key_of_another(|data: &mut Data| { let key = data["ca.key"].clone(); data.insert("tls.key".into(), key); }, Standing::InForce, 0, Renewal { serving: Some(names(&["hook"])), ..nothing() })]
#[case::authority_lost(|data: &mut Data| drop(data.remove("ca.key")), Standing::InForce, 0, Renewal { authority: true, serving: Some(names(&["hook"])), ..nothing() })]
#[case::two_thirds_not_yet(|_: &mut Data| {}, Standing::InForce, 59, nothing())]
#[case::two_thirds(|_: &mut Data| {}, Standing::InForce, 60, Renewal { serving: Some(names(&["hook"])), ..nothing() })]
#[case::authority_old(|_: &mut Data| {}, Standing::InForce, 244, Renewal { authority: true, serving: Some(names(&["hook"])), ..nothing() })]
#[case::clock_before(|_: &mut Data| {}, Standing::InForce, -1, Renewal { authority: true, serving: Some(names(&["hook"])), ..nothing() })]
fn makes_anew_what_must_be(
    #[case] change: fn(&mut Data),
    #[case] standing: Standing,
    #[case] days: i64,
    #[case] expected: Renewal,
) {
    let mut data = data();
    change(&mut data);
    let renewal = next(&read(&data), standing, &names(&["hook"]), after(days));
    assert_eq!(renewal.unwrap_or_default(), expected);
}

#[test]
fn what_was_made_needs_nothing() {
    let names = normalize(&["Hook.lapse-system.SVC".into(), "127.0.0.1".into(), "::1".into()]);
    let stored = Stored::default();
    let renewal = next(&stored, Standing::Absent, &names, now()).unwrap();
    let mut data = Data::new();
    make(stored, &renewal, now()).unwrap().write(&mut data);
    let (stored, problems) = Stored::read(&data);
    assert!(problems.is_empty(), "{problems:?}");
    assert_eq!(next(&stored, Standing::InForce, &names, now()), None);
}

#[test]
fn replicas_with_different_names_do_not_take_turns() {
    let mine = names(&["hook", "127.0.0.1"]);
    let stored = read(&data());
    let renewal = next(&stored, Standing::InForce, &mine, now()).unwrap();
    assert_eq!(renewal.serving, Some(names(&["hook", "127.0.0.1"])));
    let mut data = Data::new();
    make(stored, &renewal, now()).unwrap().write(&mut data);
    for wanted in [mine, names(&["hook"])] {
        assert_eq!(next(&read(&data), Standing::InForce, &wanted, now()), None);
    }
}

#[test]
fn a_new_authority_does_not_end_trust_in_the_certificate_that_is_served() {
    let mut data = data();
    let round = |data: &mut Data, now| {
        let stored = read(data);
        let renewal = next(&stored, Standing::InForce, &names(&["hook"]), now)?;
        make(stored, &renewal, now).unwrap().write(data);
        Some(renewal)
    };
    // Years go by, a week at a time.
    for day in (0..800).step_by(7) {
        let old_bundle = read(&data).complete().unwrap().bundle();
        let renewal = round(&mut data, after(day)).unwrap_or_default();
        let material = read(&data).complete().unwrap();
        let serving = &material.serving.facts;
        assert!(serving.not_after > after(day), "day {day}: expired");
        // An API server that has not heard of the new authority yet must be able to call.
        let signers = old_bundle.matches("BEGIN CERTIFICATE").count();
        assert!((1..=2).contains(&signers), "day {day}: {signers} authorities");
        let known = certificate_subjects(&old_bundle);
        assert!(known.contains(&serving.issuer), "day {day}: not known yet, {renewal:?}");
        assert_eq!(round(&mut data, after(day)), None, "day {day}: nothing twice");
    }
}

fn certificate_subjects(bundle: &str) -> BTreeSet<String> {
    const END: &str = "-----END CERTIFICATE-----\n";
    let parts = bundle.split_inclusive(END).filter(|part| part.ends_with(END));
    parts.map(|part| certificate::Facts::read(part).unwrap().subject).collect()
}

#[test]
fn what_it_does_not_know_stays() {
    let mut data = Data::from([("note".to_owned(), ByteString(b"mine".to_vec()))]);
    material(&["hook"], now()).write(&mut data);
    assert_eq!(data["note"].0, b"mine");
}

#[test]
fn problems_and_debug_output_tell_nothing() {
    let mut data = data();
    for bytes in data.values_mut() {
        bytes.0.truncate(20);
    }
    let (stored, problems) = Stored::read(&data);
    assert!(stored.complete().is_none());
    assert_eq!(problems.len(), 4, "{problems:?}");
    let material = material(&["hook"], now());
    let path = material.path.clone();
    let keys = Keys::new(material).unwrap();
    let shown = format!("{keys:?} {problems:?}");
    assert!(!shown.contains(&*path) && !shown.contains("PRIVATE"), "{shown}");
}

#[test]
fn only_the_whole_path_is_the_path() {
    let material = material(&["hook"], now());
    let path = material.path.clone();
    let keys = Keys::new(material).unwrap();
    assert!(keys.is_path(&path));
    for guess in ["", "unset", &path[1..], &path.to_uppercase().replace(char::is_numeric, "A")] {
        assert!(!keys.is_path(guess));
    }
    assert_eq!(*keys.path_to("mutate"), format!("/{}/mutate", *path));
}

#[test]
fn a_published_key_is_in_force_until_another_takes_its_place() {
    let [old, new] = [(); 2].map(|()| material(&["hook"], now()).signing.verifying_key());
    let mut published = BTreeMap::new();
    assert_eq!(standing(&published, &old, now()), Standing::Absent);
    publish(&mut published, &old, now()).unwrap();
    assert_eq!(standing(&published, &old, now()), Standing::InForce);
    assert!(valid_from(&published, &old).unwrap() < now(), "for clocks that are behind");
    assert!(!retire_others(&mut published, &old, now()).unwrap());

    publish(&mut published, &new, after(1)).unwrap();
    assert!(retire_others(&mut published, &new, after(1)).unwrap());
    assert_eq!(standing(&published, &old, now()), Standing::Unusable);
    assert_eq!(standing(&published, &new, now()), Standing::InForce);
    // Retired once; a second round, or a third key, moves nothing.
    let once = published.clone();
    assert!(!retire_others(&mut published, &new, after(2)).unwrap());
    assert_eq!(published, once);
    let (_, errors) = KeySet::read(&published);
    assert!(errors.is_empty(), "{errors:?}");
}

/// A key that has signed for long enough makes way without a gap; in an emergency it goes at once.
#[test]
fn a_key_that_is_due_goes_on_for_a_moment() {
    let [old, new] = [(); 2].map(|()| material(&["hook"], now()).signing.verifying_key());
    let mut published = BTreeMap::new();
    publish(&mut published, &old, now()).unwrap();
    assert_eq!(standing(&published, &old, after(89)), Standing::InForce);
    assert_eq!(standing(&published, &old, after(91)), Standing::Due);
    let renewal = next(&read(&data()), Standing::Due, &names(&["hook"]), now()).unwrap();
    assert_eq!(renewal, Renewal { signing: true, ..nothing() });

    retire_soon(&mut published, &old, after(91)).unwrap();
    publish(&mut published, &new, after(91)).unwrap();
    assert!(!retire_others(&mut published, &new, after(91)).unwrap(), "it is retired already");
    let retired_at = |published: &BTreeMap<String, String>| {
        let entry: PublicKey = serde_json::from_str(&published[&key_id(&old)]).unwrap();
        entry.retired_at.unwrap().time()
    };
    assert_eq!(retired_at(&published), after(91) + TimeDelta::minutes(1));
    assert_eq!(
        standing(&published, &old, after(91)),
        Standing::Unusable,
        "nobody takes it up again"
    );
    end_handover(&mut published, after(91)).unwrap();
    assert_eq!(retired_at(&published), after(91));
    assert_eq!(standing(&published, &new, after(91)), Standing::InForce);
}

#[test]
fn an_entry_of_somebody_else_is_neither_used_nor_touched() {
    let [mine, other] = [(); 2].map(|()| material(&["hook"], now()).signing.verifying_key());
    let foreign = serde_json::to_string(&PublicKey::new(&other, now())).unwrap();
    let mut published =
        BTreeMap::from([(key_id(&mine), foreign), ("note".to_owned(), "not a key".to_owned())]);
    assert_eq!(standing(&published, &mine, now()), Standing::Unusable);
    retire_others(&mut published, &mine, now()).unwrap();
    assert_eq!(published["note"], "not a key");
}
