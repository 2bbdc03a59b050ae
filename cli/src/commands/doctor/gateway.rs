//! The gateway: how hosts reach it, and what they are to trust. Its own certificate is in a Secret, which is not read; who
//! signs it is published.

use chrono::{DateTime, Utc};
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use kube::Api;
use lapse_cluster::ENDPOINT_TRUST;
use lapse_cluster::rights::Component;
use lapse_engine::order::{PublishedTrust, TrustStore};

use super::finding::{Check, Examined, Finding};
use super::installation::Installation;
use super::trust::{authority, now};
use crate::installation::entry;
use crate::session::Session;

pub(super) async fn examine(session: &Session, installation: &Installation) -> Examined {
    let check = Check::Gateway;
    let namespace = &installation.namespace;
    let right = format!("ClusterRole view in namespace {namespace}");
    let Some(settings) = &installation.settings else {
        return Err(check.not_checked(
            "whether there is a gateway for hosts is not known without the settings",
            format!("ask for {right}"),
        ));
    };
    if !settings.has_gateway {
        return Ok(vec![check.ok("the gateway for hosts is not enabled")]);
    }
    let name = Component::Gateway.account();
    let services: Api<Service> = Api::namespaced(session.client.clone(), namespace);
    let maps: Api<ConfigMap> = Api::namespaced(session.client.clone(), namespace);
    let read_service = format!("read Service {name} in namespace {namespace}");
    let read_trust = format!("read ConfigMap {ENDPOINT_TRUST} in namespace {namespace}");
    let service = session.call("reading the Service of the gateway", services.get_opt(name));
    let trust = session.call("reading what hosts are to trust", maps.get_opt(ENDPOINT_TRUST));
    let (service, trust) = futures::join!(
        check.look(&read_service, &right, service),
        check.look(&read_trust, &right, trust),
    );
    Ok(vec![
        service.map_or_else(|found| found, |service| reached(service.as_ref(), namespace)),
        trust.map_or_else(|found| found, |trust| trusted(trust.as_ref(), now(session))),
    ])
}

/// Whether hosts outside the cluster find it.
fn reached(service: Option<&Service>, namespace: &str) -> Finding {
    let (check, name) = (Check::Gateway, Component::Gateway.account());
    let Some(service) = service else {
        let message = format!("there is no Service {name}: no host reaches the gateway");
        return check.problem(message, "run helm upgrade");
    };
    let kind = service.spec.as_ref().and_then(|spec| spec.type_.as_deref()).unwrap_or("ClusterIP");
    let status = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let mut addresses = status.and_then(|status| status.ingress.as_deref()).into_iter().flatten();
    if kind == "LoadBalancer" && addresses.next().is_none() {
        return check.warning(
            format!("Service {name} has no address outside the cluster yet: hosts there do not reach the gateway"),
            format!("see its events: kubectl -n {namespace} describe service {name}"),
        );
    }
    check.ok(format!("hosts reach the gateway by Service {name} ({kind})"))
}

/// Whether a host that enrols now believes what is published for it.
fn trusted(published: Option<&ConfigMap>, now: DateTime<Utc>) -> Finding {
    let check = Check::Gateway;
    let restart = "restart the webhook, which publishes it, and see its log";
    let of = |key: &str| published.map(|map| entry(map, key)).unwrap_or_default();
    if of("trust.json").is_empty() {
        let message = format!(
            "what hosts are to trust is not published in ConfigMap {ENDPOINT_TRUST}: no host can enrol"
        );
        return check.problem(message, restart);
    }
    let trust: Result<PublishedTrust, _> = serde_json::from_str(of("trust.json"));
    let believed = trust.map_err(|error| error.to_string()).and_then(|trust| {
        TrustStore::pinned(&trust, of("pin")).map_err(|error| error.to_string())?;
        Ok(trust.authorities.certificates)
    });
    match believed {
        Ok(certificates) => authority(check, "the gateway", certificates.as_bytes(), now),
        Err(why) => check.problem(
            format!("hosts do not believe what is published in ConfigMap {ENDPOINT_TRUST}: {why}"),
            "find out who wrote it (audit log), and restart the webhook, which writes it anew",
        ),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::finding::shown;
    use super::*;

    fn told(found: &Finding) -> String {
        shown([found])
    }

    #[test]
    fn hosts_reach_it_by_its_service() {
        let of = |spec: Value, status: Value| {
            let service =
                json!({"metadata": {"name": "lapse-gateway"}, "spec": spec, "status": status});
            told(&reached(Some(&serde_json::from_value(service).unwrap()), "lapse-system"))
        };
        let balanced = json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}});
        let all = [
            of(json!({}), json!({})),
            of(json!({"type": "LoadBalancer"}), json!({})),
            of(json!({"type": "LoadBalancer"}), balanced),
            told(&reached(None, "lapse-system")),
        ];
        insta::assert_snapshot!(all.join("\n"));
    }

    #[test]
    fn what_hosts_are_to_trust_is_tried_as_they_do() {
        let now: DateTime<Utc> = "2026-01-02T00:00:00Z".parse().unwrap();
        let of = |data: Value| {
            let map: ConfigMap = serde_json::from_value(json!({"data": data})).unwrap();
            told(&trusted(Some(&map), now))
        };
        let all = [told(&trusted(None, now)), of(json!({"trust.json": "{", "pin": "sha256:0"}))];
        insta::assert_snapshot!(all.join("\n"));
    }
}
