//! A request as it was shown, and what is kept of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use kube::Resource as _;
use kube::api::ObjectMeta;
use lapse_crds::{ATTESTATION, AccessRequest};
use lapse_engine::attest::{AttestationError, Attested, KeySet};
use lapse_engine::lifetime::is_settled;
use lapse_engine::peers::RequestSummary;
use lapse_engine::retention::over_since;
use tracing::error;

use super::super::{PANICKED, version};
use super::{KnownRequest, PastRequest, waits};
use crate::Stored;
use crate::process::caught;

/// The most bytes of JSON of a waiting request that is kept whole. A larger one is read again when it is looked at.
const MOST_KEPT: usize = 16 * 1024;

/// A request as it was shown.
pub(in super::super) struct Decoded {
    pub(super) known: KnownRequest,
    pub(super) past: Option<PastRequest>,
}

impl Decoded {
    pub(in super::super) fn of(stored: &Stored<AccessRequest>, keys: &KeySet) -> Self {
        caught("AccessRequest", || Self::read(stored, keys)).unwrap_or_else(|| {
            let (namespace, name) = (&stored.meta().namespace, &stored.meta().name);
            error!(namespace, name, "reading an AccessRequest panicked");
            Self { known: known(stored.meta(), false, Err(PANICKED.into())), past: None }
        })
    }

    fn read(stored: &Stored<AccessRequest>, keys: &KeySet) -> Self {
        let object = match stored.object() {
            Ok(object) => object,
            Err(why) => {
                let known = known(stored.meta(), false, Err(why.into()));
                return Self { known, past: None };
            }
        };
        if is_settled(&object) && object.spec.extends.is_none() {
            // Nothing of it is verified any more, as nothing follows from it.
            let attestation = Err(AttestationError::Absent);
            return Self::of_object(Attested { object, attestation }, true);
        }
        let attestation = stored.attestation_of(keys);
        let may_pass = attestation.as_ref().is_err_and(AttestationError::may_pass);
        let is_small = stored.size() <= MOST_KEPT;
        let decoded = Self::of_object(Attested { object, attestation }, is_small);
        let unverified = may_pass.then(|| stored.clone());
        Self { known: KnownRequest { unverified, ..decoded.known }, ..decoded }
    }

    pub(in super::super) fn of_object(attested: Attested<AccessRequest>, is_small: bool) -> Self {
        let request = &attested.object;
        let status = request.status.as_ref();
        let is_settled = is_settled(request);
        let phase = status.map(|status| status.phase).unwrap_or_default();
        let waits = waits(phase);
        let summary = Arc::new(RequestSummary::of(&attested));
        let past = over_since(request).filter(|_| is_settled).map(|since| PastRequest {
            namespace: summary.namespace.clone(),
            name: summary.name.clone(),
            since,
            policy_uid: status.and_then(|s| s.policy.as_ref()).map(|policy| policy.uid.clone()),
        });
        let known = known(&request.metadata, is_settled, Ok(summary));
        let object = (waits && is_small).then(|| Arc::new(without_ornaments(attested.object)));
        Self { known: KnownRequest { object, ..known }, past }
    }
}

fn known(
    metadata: &ObjectMeta,
    is_settled: bool,
    summary: Result<Arc<RequestSummary>, Arc<str>>,
) -> KnownRequest {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    KnownRequest {
        namespace: text(&metadata.namespace),
        name: text(&metadata.name),
        uid: text(&metadata.uid),
        version: version(metadata),
        is_deleted: metadata.deletion_timestamp.is_some(),
        is_settled,
        summary,
        object: None,
        unverified: None,
    }
}

/// A request as far as it never changes.
fn without_ornaments(request: AccessRequest) -> AccessRequest {
    let ObjectMeta { name, namespace, uid, generation, creation_timestamp, .. } = request.metadata;
    let metadata = ObjectMeta {
        name,
        namespace,
        uid,
        generation,
        creation_timestamp,
        annotations: request.metadata.annotations.and_then(|mut all| {
            Some(BTreeMap::from([(ATTESTATION.to_owned(), all.remove(ATTESTATION)?)]))
        }),
        ..ObjectMeta::default()
    };
    AccessRequest { metadata, spec: request.spec, status: None }
}
