use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use chrono::{DateTime, TimeDelta, Utc};
use k8s_openapi::ByteString;
use lapse_engine::attest::{KeySet, PublicKey, key_id};
use lapse_engine::order::{PublishedTrust, TrustError, TrustStore};
use rstest::rstest;

use super::certificate::Facts;
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

/// Where there is no gateway.
fn without_gateway(webhook: &BTreeSet<String>) -> Names<'_> {
    const NONE: &BTreeSet<String> = &BTreeSet::new();
    Names { webhook, gateway: NONE }
}

fn nothing() -> Renewal {
    Renewal::default()
}

fn everything(for_names: &[&str]) -> Renewal {
    Renewal {
        signing: true,
        path: true,
        authority: true,
        serving: Some(names(for_names)),
        ..nothing()
    }
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
    let renewal = next(&read(&data), standing, without_gateway(&names(&["hook"])), after(days));
    assert_eq!(renewal.unwrap_or_default(), expected);
}

#[test]
fn what_was_made_needs_nothing() {
    let names = normalize(&["Hook.lapse-system.SVC".into(), "127.0.0.1".into(), "::1".into()]);
    let stored = Stored::default();
    let renewal = next(&stored, Standing::Absent, without_gateway(&names), now()).unwrap();
    let mut data = Data::new();
    make(stored, &renewal, now()).unwrap().write(&mut data);
    let (stored, problems) = Stored::read(&data);
    assert!(problems.is_empty(), "{problems:?}");
    assert_eq!(next(&stored, Standing::InForce, without_gateway(&names), now()), None);
}

#[test]
fn replicas_with_different_names_do_not_take_turns() {
    let mine = names(&["hook", "127.0.0.1"]);
    let stored = read(&data());
    let renewal = next(&stored, Standing::InForce, without_gateway(&mine), now()).unwrap();
    assert_eq!(renewal.serving, Some(names(&["hook", "127.0.0.1"])));
    let mut data = Data::new();
    make(stored, &renewal, now()).unwrap().write(&mut data);
    for wanted in [mine, names(&["hook"])] {
        assert_eq!(next(&read(&data), Standing::InForce, without_gateway(&wanted), now()), None);
    }
}

#[test]
fn a_new_authority_does_not_end_trust_in_the_certificate_that_is_served() {
    let mut data = data();
    let round = |data: &mut Data, now| {
        let stored = read(data);
        let renewal = next(&stored, Standing::InForce, without_gateway(&names(&["hook"])), now)?;
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
    let renewal =
        next(&read(&data()), Standing::Due, without_gateway(&names(&["hook"])), now()).unwrap();
    assert_eq!(renewal, Renewal { signing: true, succession: true, ..nothing() });

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

fn with_gateway(data: &mut Data) -> Material {
    let (webhook, gateway) = (names(&["hook"]), names(&["gw.example.com"]));
    let stored = read(data);
    let names = Names { webhook: &webhook, gateway: &gateway };
    let renewal = next(&stored, Standing::InForce, names, now()).unwrap();
    let expected = Renewal { gateway: Some(gateway.clone()), ..nothing() };
    assert_eq!(renewal, expected);
    make(stored, &renewal, now()).unwrap().write(data);
    assert_eq!(next(&read(data), Standing::InForce, names, now()), None);
    read(data).complete().unwrap()
}

#[test]
fn the_gateway_is_given_a_certificate_of_its_own_and_no_more() {
    let mut data = data();
    let material = with_gateway(&mut data);
    let files = GatewayFiles::of(&material).unwrap();
    let names: Vec<&str> = files.data().keys().map(String::as_str).collect();
    assert_eq!(names, ["ca.crt", "tls.crt", "tls.key"]);
    let of_gateway = Facts::read(std::str::from_utf8(&files.data()["tls.crt"].0).unwrap()).unwrap();
    assert_eq!(of_gateway.names, self::names(&["gw.example.com"]));
    assert_ne!(of_gateway.public_key, material.authority.facts.public_key);
    assert_ne!(of_gateway.public_key, material.serving.facts.public_key);
    assert!(GatewayFiles::of(&crate::testing::material(&["hook"], now())).is_none());
}

/// A host that enrolled years ago follows, key by key; what was distrusted leads nowhere.
#[test]
fn hosts_follow_each_key_to_the_next_one() {
    let mut data = data();
    let trust = |data: &Data, day| {
        let material = read(data).complete().unwrap();
        let published = trust_of(&BTreeMap::new(), &material, after(day), after(day)).unwrap();
        let pin = published["pin"].clone();
        (serde_json::from_str::<PublishedTrust>(&published["trust.json"]).unwrap(), pin)
    };
    let rotate = |data: &mut Data, standing, day| {
        let (stored, hook) = (read(data), names(&["hook"]));
        let renewal = next(&stored, standing, without_gateway(&hook), after(day)).unwrap();
        make(stored, &renewal, after(day)).unwrap().write(data);
    };
    let (first, pin) = trust(&data, 0);
    let mut host = TrustStore::pinned(&first, &pin).unwrap();
    for day in [91, 182, 273] {
        rotate(&mut data, Standing::Due, day);
    }
    assert_eq!(host.follow(&trust(&data, 273).0), Ok(true));
    // The public key was taken away: the old one signs for nothing any more.
    rotate(&mut data, Standing::Absent, 280);
    assert!(matches!(host.follow(&trust(&data, 280).0), Err(TrustError::Broken(_))));
}

#[test]
fn what_hosts_trust_is_said_once() {
    let material = read(&data()).complete().unwrap();
    let first = trust_of(&BTreeMap::new(), &material, now(), now()).unwrap();
    assert_eq!(trust_of(&first, &material, now(), after(1)).unwrap(), first);
}

fn asked_with(key: &rcgen::KeyPair) -> Result<Asked, String> {
    let request = rcgen::CertificateParams::default().serialize_request(key).unwrap();
    Asked::read(&request.pem().unwrap())
}

#[test]
fn an_agent_gets_a_certificate_for_its_key_and_its_endpoint() {
    use x509_parser::prelude::{FromDer as _, X509Certificate, parse_x509_pem};
    let keys = Keys::new(read(&data()).complete().unwrap()).unwrap();
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let asked = asked_with(&key).unwrap();
    let signed = keys.sign_agent(&asked, "web-1", "u-1", now()).unwrap();
    assert_eq!(signed.expires, now() + TimeDelta::days(30));
    let (_, pem) = parse_x509_pem(signed.pem.as_bytes()).unwrap();
    let (_, certificate) = X509Certificate::from_der(&pem.contents).unwrap();
    let names = certificate.subject_alternative_name().unwrap().unwrap();
    let names = format!("{:?}", names.value.general_names);
    assert_eq!(names, r#"[URI("lapse://endpoint/web-1/u-1")]"#);
    let usage = certificate.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.client_auth && !usage.server_auth && !certificate.is_ca());
    let authority = Facts::read(&keys.bundle).unwrap();
    assert_eq!(certificate.issuer().to_string(), authority.subject);
}

#[test]
fn a_certificate_is_asked_for_with_a_key_of_the_right_kind_and_signed_with_it() {
    let other = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    assert_eq!(asked_with(&other).unwrap_err(), "its key is not of the kind Ed25519");
    assert!(Asked::read("nonsense").unwrap_err().starts_with("it is no certificate request"));
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let request = rcgen::CertificateParams::default().serialize_request(&key).unwrap();
    let mut der = request.der().to_vec();
    *der.last_mut().unwrap() ^= 1;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let pem =
        format!("-----BEGIN CERTIFICATE REQUEST-----\n{text}\n-----END CERTIFICATE REQUEST-----\n");
    assert!(Asked::read(&pem).unwrap_err().contains("signed"));
}
