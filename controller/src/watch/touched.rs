//! What an event bears on that the object of the event does not name.

use kube::ResourceExt as _;
use kube::core::DeserializeGuard;

use super::Watches;

impl Watches {
    /// What is over cannot be extended any more.
    pub(super) fn extensions_of(&self, namespace: &str, name: &str) {
        for request in self.caches.requests.state() {
            if let DeserializeGuard(Ok(request)) = &*request
                && request.spec.extends.as_deref() == Some(name)
                && request.metadata.namespace.as_deref() == Some(namespace)
            {
                self.queues.request(namespace, &request.name_any());
            }
        }
    }
}
