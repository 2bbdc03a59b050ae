//! Names that are chosen here and not by the API server: of requests that are to be found again whatever becomes of the answer.

use chrono::{DateTime, Utc};
use lapse_crds::{AccessRequest, Timestamp};
use lapse_engine::origin::digest_of;

use crate::fault::Fault;

/// How many characters make a name of ours different from others.
pub(crate) const SUFFIX: usize = 8;

/// Gives a request a name, if the API server was to make up one. No other request has it: it is of what is asked for, of this moment
/// and of this process.
pub(crate) fn settle(request: &mut AccessRequest, now: DateTime<Utc>) -> Result<(), Fault> {
    let Some(stem) = request.metadata.generate_name.take() else { return Ok(()) };
    let namespace = request.metadata.namespace.clone().unwrap_or_default();
    let moment = format!("{} {}", Timestamp::new(now), std::process::id());
    let unique = digest_of(&namespace, &moment, &request.spec)
        .map_err(|error| Fault::Other(format!("naming the request: {error}")))?;
    let suffix = unique.trim_start_matches("sha256:").get(..SUFFIX).unwrap_or_default();
    request.metadata.name = Some(format!("{stem}{suffix}"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use serde_json::{Value, json};

    use super::*;

    fn settled(metadata: Value, now: DateTime<Utc>) -> String {
        let target = json!({"kubernetes": {"role": {"kind": "ClusterRole", "name": "edit"}}});
        let mut request = crate::testing::request("fix", &target);
        request["metadata"] = metadata;
        let mut request: AccessRequest = serde_json::from_value(request).unwrap();
        settle(&mut request, now).unwrap();
        assert_eq!(request.metadata.generate_name, None);
        request.metadata.name.unwrap()
    }

    #[test]
    fn a_name_that_is_made_up_is_of_one_moment() {
        let now = DateTime::UNIX_EPOCH;
        let made_up = || json!({"generateName": "edit-", "namespace": "shop"});
        let name = settled(made_up(), now);
        assert!(name.starts_with("edit-") && name.len() == 5 + SUFFIX, "{name}");
        assert_ne!(settled(made_up(), now + TimeDelta::microseconds(1)), name);
        let other = json!({"generateName": "edit-", "namespace": "bank"});
        assert_ne!(settled(other, now), name);
        assert_eq!(settled(json!({"name": "fix", "namespace": "shop"}), now), "fix");
    }
}
