//! What an event bears on that the object of the event does not name.

use kube::ResourceExt as _;
use kube::core::DeserializeGuard;
use lapse_crds::{AccessRequest, Grant};

use super::Watches;

impl Watches {
    /// Queues the requests of which this holds. On one that cannot be decoded nothing else bears.
    pub(super) fn requests_that(&self, are_touched: impl Fn(&AccessRequest) -> bool) {
        for request in self.caches.requests.state() {
            if let DeserializeGuard(Ok(request)) = &*request
                && are_touched(request)
            {
                let namespace = request.namespace().unwrap_or_default();
                self.queues.request(&namespace, &request.name_any());
            }
        }
    }

    /// Queues the grants of which this holds. On one that cannot be decoded nothing else bears.
    pub(super) fn grants_that(&self, are_touched: impl Fn(&Grant) -> bool) {
        for grant in self.caches.grants.state() {
            if let DeserializeGuard(Ok(grant)) = &*grant
                && are_touched(grant)
            {
                self.queues.grant(&grant.name_any());
            }
        }
    }

    /// What is over cannot be extended any more.
    pub(super) fn extensions_of(&self, namespace: &str, name: &str) {
        self.requests_that(|request| {
            request.spec.extends.as_deref() == Some(name)
                && request.metadata.namespace.as_deref() == Some(namespace)
        });
    }
}
