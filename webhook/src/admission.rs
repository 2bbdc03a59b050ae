//! What every answer is found with: the reader, the keys, what was said a moment ago.

use std::sync::Arc;

use k8s_openapi::api::authentication::v1::UserInfo;
use lapse_cluster::{Occasion, Reader, read_keys};
use lapse_crds::Identity;
use lapse_engine::Read;
use lapse_engine::attest::KeySet;
use lapse_engine::policy::Policies;
use lapse_engine::summary::GrantSummary;
use lapse_engine::{do_all_fit, keep_groups};
use tokio::sync::watch;

use crate::answer::NotAdmitted;
use crate::entry::Webhook;
use crate::keeper::State;
use crate::keys::Keys;
use crate::metrics::Metrics;
use crate::news::Patience;
use crate::said::Said;

/// Where the API server reports the credential of a caller
/// (<https://kubernetes.io/docs/reference/access-authn-authz/authentication/>).
const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";

/// Admission, with what it needs to look things up.
pub(crate) struct Admission {
    reader: Reader,
    key_set: watch::Sender<KeySet>,
    state: watch::Receiver<Option<State>>,
    metrics: Metrics,
    said: Said,
}

impl Admission {
    /// Admission that reads through `reader`, which verifies with what is in `key_set`.
    pub(crate) fn new(
        reader: Reader,
        key_set: watch::Sender<KeySet>,
        state: watch::Receiver<Option<State>>,
        metrics: Metrics,
    ) -> Self {
        Self { reader, key_set, state, metrics, said: Said::default() }
    }

    pub(crate) fn reader(&self) -> &Reader {
        &self.reader
    }

    /// What was said a moment ago.
    pub(crate) fn said(&self) -> &Said {
        &self.said
    }

    /// The Grants of a caller that are not over, with a moment for what is not seen yet if they are not enough.
    pub(crate) async fn held(
        &self,
        caller: &Identity,
        is_enough: impl Fn(&[Arc<GrantSummary>]) -> bool,
    ) -> Read<Vec<Arc<GrantSummary>>> {
        let index = self.reader.index();
        let mut patience = Patience::of(index, Occasion::Judge);
        loop {
            let held = index.held(caller);
            let is_settled = held.found().is_some_and(|held| is_enough(held));
            if is_settled || !patience.outlasts().await {
                return held;
            }
        }
    }

    /// Who calls, as it is stamped: with the groups that can be stored; and what to tell who is in more.
    pub(crate) fn stamp_of(
        &self,
        user: &UserInfo,
    ) -> Result<(Identity, Option<String>), NotAdmitted> {
        let mut identity = caller(user)?;
        let policies = self.reader.index().policies();
        // What a policy names must not be among what is left out.
        if !do_all_fit(&identity.groups) && policies.found().is_none() {
            let message =
                "Not all policies are known yet, and you are in very many groups".to_owned();
            return Err(NotAdmitted::Failed(message));
        }
        keep_groups(&mut identity, policies.found().unwrap_or(&Policies::default()));
        let warning = identity.groups_omitted.map(|omitted| {
            format!(
                "{omitted} of your groups do not fit and are left out, those first that no policy names: have the \
                 identity provider send fewer"
            )
        });
        Ok((identity, warning))
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The keys in force.
    pub(crate) fn keys(&self) -> Result<Arc<Keys>, NotAdmitted> {
        let state = self.state.borrow();
        let keys = state.as_ref().map(|state| state.keys.clone());
        keys.ok_or_else(|| NotAdmitted::Failed("The webhook has no signing key yet".to_owned()))
    }

    /// The keys to verify with.
    pub(crate) fn key_set(&self) -> watch::Ref<'_, KeySet> {
        self.key_set.borrow()
    }

    /// Reads the published keys, for a signature by a key that another replica made a moment ago.
    pub(crate) async fn refresh_keys(&self) -> Result<(), NotAdmitted> {
        let namespace = &self.reader.settings().namespace;
        let keys = read_keys(self.reader.client(), namespace).await;
        let keys = keys.map_err(|error| NotAdmitted::Failed(error.to_string()))?;
        self.key_set.send_replace(keys);
        Ok(())
    }

    /// Which half of admission is at this path, if it is ours.
    pub(crate) fn webhook_at(&self, path: &str) -> Option<Webhook> {
        let (token, verb) = path.strip_prefix('/')?.split_once('/')?;
        let keys = self.keys().ok()?;
        keys.is_path(token).then(|| Webhook::of_verb(verb)).flatten()
    }
}

/// Who calls, as the API server authenticated them.
pub(crate) fn caller(user: &UserInfo) -> Result<Identity, NotAdmitted> {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let Some(username) = given(&user.username) else {
        return Err(NotAdmitted::Failed("The API server did not say who the caller is".to_owned()));
    };
    let extra = user.extra.iter().flatten();
    let credentials = extra.filter(|(key, _)| *key == CREDENTIAL_ID);
    Ok(Identity {
        username,
        uid: given(&user.uid),
        groups: user.groups.clone().unwrap_or_default(),
        groups_omitted: None,
        not_in_groups: Vec::new(),
        credential_id: credentials.flat_map(|(_, ids)| ids).next().cloned(),
        endpoint_user: None,
    })
}

#[cfg(test)]
mod tests;
