//! On which hosts requests under a policy are to be made.

use std::collections::BTreeMap;

use lapse_crds::LabelSelector;

use super::Policy;
use super::offer::labels::{describe, selects};
use crate::Read;
use crate::endpoint::EndpointFacts;
use crate::origin::{Provenance, Workplace};
use crate::words::few;

/// The hosts from which a policy accepts requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Workstations {
    names: Vec<String>,
    selector: Option<LabelSelector>,
}

/// Why a policy does not take a request from where it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotFromThere {
    /// It was not made there, or that is not proven.
    Refused(String),
    /// It is not known where it was made.
    Unknown(String),
}

impl Workstations {
    pub(super) fn of(workstations: &lapse_crds::Workstations) -> Self {
        // Destructured without `..`: a field that is added to the API must be compiled here.
        let lapse_crds::Workstations { names, selector } = workstations.clone();
        Self { names, selector }
    }

    /// Whether no host could ever be among them.
    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty() && self.selector.is_none()
    }

    fn have(&self, place: &Workplace) -> bool {
        let Workplace { endpoint, labels } = place;
        let is_selected =
            |selector: &LabelSelector| selects(selector, |key| labels.get(key).map(String::as_str));
        self.names.contains(endpoint) || self.selector.as_ref().is_some_and(is_selected)
    }

    fn describe(&self) -> String {
        let selected = self.selector.iter().map(|s| format!("endpoints with {}", describe(s)));
        self.names.iter().cloned().chain(selected).collect::<Vec<_>>().join(", ")
    }
}

/// How a request is made from a workstation.
const HOW: &str = "with `kubectl jit request --from-host`";

impl Policy {
    /// Whether requests may be made from there.
    ///
    /// # Errors
    /// Why not, in words; or that it is not known.
    pub fn accepts_from(&self, provenance: &Provenance) -> Result<(), NotFromThere> {
        let Some(workstations) = &self.workstations else { return Ok(()) };
        let accepts = format!(
            "JitPolicy {} accepts requests only from the workstations {}",
            self.name(),
            workstations.describe()
        );
        Err(match provenance {
            Provenance::Proven(place) if workstations.have(place) => return Ok(()),
            Provenance::Proven(Workplace { endpoint, .. }) => NotFromThere::Refused(format!(
                "{accepts}, and this one was made on Endpoint {endpoint}; request from one of them {HOW}."
            )),
            Provenance::Unsaid => {
                NotFromThere::Refused(format!("{accepts}; request from one of them {HOW}."))
            }
            Provenance::Void(why) => NotFromThere::Refused(format!(
                "{accepts}, and it is not proven that this one was made there: {why}. Request again from one of them \
                 {HOW}."
            )),
            Provenance::Unknown(why) => NotFromThere::Unknown(format!(
                "{accepts}, and where this one was made cannot be told: {why}."
            )),
        })
    }

    /// The hosts from which requests are accepted, in words; `None` if that is anywhere.
    #[must_use]
    pub fn describe_workstations(&self) -> Option<String> {
        self.workstations.as_ref().map(Workstations::describe)
    }
}

/// Warnings about the workstations that a policy names: those that do not exist, and those without an agent.
#[must_use]
pub fn lint_workstations(known: &BTreeMap<String, Read<EndpointFacts>>) -> Vec<String> {
    let of_which = |is_it: fn(&Read<EndpointFacts>) -> bool| {
        let those = known.iter().filter(|(_, endpoint)| is_it(endpoint));
        those.map(|(name, _)| name.as_str()).collect::<Vec<_>>()
    };
    let has_no_agent = |endpoint: &Read<EndpointFacts>| {
        endpoint.found().is_some_and(|facts| facts.agent_key.is_none())
    };
    let about = |names: Vec<&str>, what: &str| {
        let names = few(names.into_iter(), 5);
        format!("spec.workstations.names: {what} {names}: no request comes from there until then")
    };
    let missing = of_which(Read::is_missing);
    let silent = of_which(has_no_agent);
    let missing = (!missing.is_empty()).then(|| about(missing, "there is no Endpoint"));
    let silent = (!silent.is_empty()).then(|| about(silent, "no agent has enrolled for Endpoint"));
    missing.into_iter().chain(silent).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workstation_that_proves_nothing_is_told() {
        let enrolled = EndpointFacts { agent_key: Some("key".into()), ..EndpointFacts::default() };
        let known = [
            ("ws-1", Read::Found(enrolled)),
            ("ws-2", Read::Found(EndpointFacts::default())),
            ("ws-3", Read::Missing),
            ("ws-4", Read::Missing),
            ("ws-5", Read::Failed("timeout".into())),
        ];
        let known = known.map(|(name, read)| (name.to_owned(), read)).into();
        insta::assert_snapshot!(lint_workstations(&known).join("\n"), @r"
        spec.workstations.names: there is no Endpoint ws-3, ws-4: no request comes from there until then
        spec.workstations.names: no agent has enrolled for Endpoint ws-2: no request comes from there until then
        ");
    }
}
