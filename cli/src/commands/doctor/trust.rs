//! By what the API server trusts the webhook, and the controller what the webhook has signed.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use lapse_cluster::{ATTESTATION_KEYS, WebhookConfigurations};
use lapse_engine::attest::KeySet;
use x509_parser::pem::Pem;

use super::finding::{Check, Examined, Finding};
use super::installation::{Installation, Webhooks};
use crate::countdown::moment;
use crate::session::Session;

/// An authority that is valid for less than this ought to have been renewed.
const SOON: TimeDelta = TimeDelta::days(14);
/// How to have it renewed.
const RENEW: &str = "restart the webhook, which renews it, and see its log";

/// The authorities in the webhook configurations.
pub(super) fn bundles(session: &Session, webhooks: &Webhooks) -> Examined {
    let check = Check::Certificates;
    let what = "read webhook configurations";
    let right = "get on mutatingwebhookconfigurations and validatingwebhookconfigurations";
    let webhooks = webhooks.as_ref().map_err(|fault| check.unread(what, right, fault))?;
    Ok(authorities(webhooks, now(session)))
}

fn authorities(webhooks: &WebhookConfigurations, now: DateTime<Utc>) -> Vec<Finding> {
    let check = Check::Certificates;
    let (mut lacking, mut bundles) = (Vec::new(), BTreeSet::new());
    for (name, config) in webhooks.calls() {
        match config.ca_bundle.as_ref().filter(|bundle| !bundle.0.is_empty()) {
            Some(ByteString(bundle)) => drop(bundles.insert(bundle.as_slice())),
            None => lacking.push(name),
        }
    }
    let mut found: Vec<Finding> =
        bundles.iter().map(|bundle| authority(check, "the webhook", bundle, now)).collect();
    if !lacking.is_empty() {
        let message = format!("{} have no authority yet: calls of them fail", lacking.join(", "));
        found.push(
            check.problem(message, "wait until the webhook runs, which writes it, and see its log"),
        );
    }
    if found.is_empty() {
        found.push(check.problem("there is no webhook configuration", "run helm upgrade"));
    }
    found
}

/// The time by the API server's clock, which is the one that checks certificates.
pub(super) fn now(session: &Session) -> DateTime<Utc> {
    lapse_cluster::clock::now() + session.clock.skew()
}

/// What a bundle is worth: as long as one of its certificates is valid. `of`: whom it vouches for.
pub(super) fn authority(check: Check, of: &str, bundle: &[u8], now: DateTime<Utc>) -> Finding {
    let until = match expiry(bundle) {
        Ok(until) => until,
        Err(why) => {
            let message = format!("the authority of {of} cannot be read: {why}");
            return check.problem(message, RENEW);
        }
    };
    let when = moment(until, now);
    if until <= now {
        check.problem(format!("the authority of {of} expired at {when}"), RENEW)
    } else if until - now < SOON {
        check.warning(format!("the authority of {of} expires at {when}"), RENEW)
    } else {
        check.ok(format!("the authority of {of} is valid until {when}"))
    }
}

fn expiry(bundle: &[u8]) -> Result<DateTime<Utc>, String> {
    let mut last = None;
    for pem in Pem::iter_from_buffer(bundle) {
        let pem = pem.map_err(|error| error.to_string())?;
        let certificate = pem.parse_x509().map_err(|error| error.to_string())?;
        let until = DateTime::from_timestamp(certificate.validity().not_after.timestamp(), 0);
        last = last.max(Some(until.ok_or("a date out of range")?));
    }
    last.ok_or_else(|| "it has no certificate".to_owned())
}

/// The published keys of the webhook.
pub(super) async fn keys(session: &Session, installation: &Installation) -> Examined {
    let check = Check::Keys;
    let namespace = &installation.namespace;
    let api: Api<ConfigMap> = Api::namespaced(session.client.clone(), namespace);
    let what = format!("read ConfigMap {ATTESTATION_KEYS} in namespace {namespace}");
    let right = format!("ClusterRole view in namespace {namespace}");
    let call = session.call("reading the published keys", api.get_opt(ATTESTATION_KEYS));
    let map = check.look(&what, &right, call).await?;
    Ok(published(map.as_ref(), now(session)))
}

fn published(map: Option<&ConfigMap>, now: DateTime<Utc>) -> Vec<Finding> {
    let check = Check::Keys;
    let (keys, errors) = KeySet::read(map.and_then(|map| map.data.as_ref()).into_iter().flatten());
    let mut found: Vec<Finding> = errors
        .into_iter()
        .map(|error| {
            let action =
                "find out who wrote it (audit log), and remove the entry from the ConfigMap";
            check.problem(error.to_string(), action)
        })
        .collect();
    found.push(in_force(keys.in_force_at(now)));
    found
}

fn in_force(count: usize) -> Finding {
    let check = Check::Keys;
    match count {
        0 => check.problem(
            "no published key of the webhook is in force: nothing that it signs is trusted, and nothing is granted",
            "restart the webhook, which publishes its key, and see its log",
        ),
        1 => check.ok("the webhook's key is published and in force"),
        count => check.ok(format!("{count} keys of the webhook are published and in force")),
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};
    use serde_json::json;

    use super::super::finding::shown;
    use super::*;

    fn time(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn valid_until(year: i32) -> String {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(year, 1, 1);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
    }

    #[test]
    fn an_authority_is_as_good_as_the_latest_of_its_certificates() {
        let now = time("2026-01-02T00:00:00Z");
        let told = |bundle: &str| {
            let found = authority(Check::Certificates, "the webhook", bundle.as_bytes(), now);
            shown([&found])
        };
        let all = [
            told(&valid_until(2027)),
            told(&(valid_until(2026) + &valid_until(2027))),
            told(&valid_until(2026)),
            told("nothing"),
            told("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        ];
        insta::assert_snapshot!(all.join("\n"));
        let (bundle, at) = (valid_until(2026), time("2025-12-25T00:00:00Z"));
        let soon = authority(Check::Gateway, "the gateway", bundle.as_bytes(), at);
        assert!(soon.message.starts_with("the authority of the gateway expires at 2026-01-01"));
        assert_eq!(soon.outcome, super::super::finding::Outcome::Warning);
    }

    #[test]
    fn webhooks_without_an_authority_are_told() {
        let of = |webhooks: &serde_json::Value| {
            let mutating = json!({"metadata": {"name": "lapse"}, "webhooks": webhooks});
            let mutating = Some(serde_json::from_value(mutating).unwrap());
            let found = WebhookConfigurations { mutating, validating: None };
            shown(&authorities(&found, time("2026-01-02T00:00:00Z")))
        };
        let lacking = json!([{
            "name": "stamp.lapse.dev", "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "clientConfig": {"url": "https://127.0.0.1:1"},
        }]);
        let keys = [1, 2].map(in_force);
        insta::assert_snapshot!([of(&json!([])), of(&lacking), shown(&keys)].join("\n"));
    }

    #[test]
    fn keys_that_cannot_be_used_are_no_keys() {
        let told = |data: serde_json::Value| {
            let map: ConfigMap = serde_json::from_value(json!({"data": data})).unwrap();
            let found = published(Some(&map), time("2026-01-02T00:00:00Z"));
            shown(&found)
        };
        insta::assert_snapshot!(told(json!({"0123456789abcdef": "{}"})));
        assert_eq!(published(None, time("2026-01-02T00:00:00Z")).len(), 1);
    }
}
