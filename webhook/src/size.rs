//! What is too large is refused before anything else is done with it.

use kube::core::admission::Operation;
use lapse_engine::size::{Stamps, check};

use crate::answer::NotAdmitted;
use crate::asked::{Kind, Request};

/// Refuses a request or a decision that stores more than one may, or that grows beyond it.
pub(crate) fn check_size(kind: Kind, request: &Request) -> Result<(), NotAdmitted> {
    let Some(object) = &request.object else { return Ok(()) };
    let stamps = match kind {
        Kind::AccessDecision => Stamps::OF_A_DECISION,
        _ => Stamps::OF_A_REQUEST,
    };
    let before = request.old_object.as_ref().filter(|_| request.operation == Operation::Update);
    check(object, before, stamps).map_err(|error| {
        let message = format!("this {} is too large: {error}", kind.name());
        NotAdmitted::invalid(error.field(), message)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{stamp, testing};

    fn large(kind: &str, spec: &Value) -> Request {
        let object = json!({
            "apiVersion": "lapse.dev/v1alpha1", "kind": kind,
            "metadata": {"name": "fix", "namespace": "shop", "annotations": {"note": "x".repeat(1 << 20)}},
            "spec": spec,
        });
        testing::request(&object, &json!({}))
    }

    /// The cluster of these tests does not answer, and no key is needed: nothing was asked or signed.
    #[tokio::test]
    async fn what_is_too_large_costs_nothing() {
        let admission = testing::signing();
        let request = large("AccessRequest", &testing::access_request()["spec"]);
        let refused = stamp::request(&admission, &request).await.unwrap_err().to_string();
        assert!(
            refused.starts_with("this AccessRequest is too large: metadata.annotations"),
            "{refused}"
        );
        let spec = json!({"request": {"name": "fix"}, "verdict": "Approve"});
        let refused = stamp::decision(&admission, &large("AccessDecision", &spec)).await;
        let refused = refused.unwrap_err().to_string();
        assert!(
            refused.starts_with("this AccessDecision is too large: metadata.annotations"),
            "{refused}"
        );
    }
}
