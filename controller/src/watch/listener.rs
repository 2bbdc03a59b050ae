//! What changed in the index, and what that touches.

use std::sync::Arc;

use lapse_cluster::index::{About, Change, KnownGrant, KnownPolicy, KnownRequest};
use lapse_cluster::watch::Listener;
use lapse_crds::{SubjectKind, Verdict};
use lapse_engine::policy::may_decide;

use super::Watches;
use crate::echoes::Object;

impl Listener for Watches {
    /// A change of one touches what it may bear on: with hundreds of policies under GitOps, looking at everything
    /// for each would keep whoever waits for a right waiting.
    fn policy(&self, change: Change<Arc<KnownPolicy>>, is_listed: bool) {
        let is_news = change.is_news();
        let Change { before, after } = change;
        if let Some(after) = &after {
            self.touched.policy(&after.state.name);
        }
        // What is listed is followed by everything.
        if !is_news || is_listed {
            return;
        }
        let of_either = [&before, &after];
        let mut states = of_either.into_iter().flatten();
        let Some(name) = states.clone().next().map(|known| known.state.name.clone()) else {
            return;
        };
        // What it did until now may be what held something back.
        let all = states.any(|known| known.state.bears_on_others());
        self.touched.waiting_that(|request| {
            let spec = request.object.as_ref().map(|object| &object.spec);
            all || spec.is_none_or(|spec| may_decide(&name, spec.policy.as_deref()))
        });
        // Who is locked out does not wait until the rights of all others have been looked at.
        if let Some(after) = after.as_ref().filter(|known| known.state.denies()) {
            self.touched.ending_that(|grant| after.state.bans_by_name(&grant.subject));
        }
        self.touched.grants_that(|grant| all || *grant.policy == *name);
    }

    fn request(&self, change: Change<KnownRequest>) {
        let Some(known) = change.after.as_ref().or(change.before.as_ref()) else { return };
        let object = Object::Request(known.uid.clone());
        if change.after.is_none() {
            self.touched.echoes.is_gone(&object);
        } else if self.touched.echoes.is_one(&object, known.version) {
            return;
        }
        let is_gone = change.after.is_none();
        self.touched.grant_of(known, is_gone);
        if let Some(known) = &change.after {
            self.touched.request(known);
        }
    }

    fn grant(&self, change: Change<KnownGrant>) {
        if holds_as_account(change.before.as_ref()) || holds_as_account(change.after.as_ref()) {
            self.reader.forget_accounts();
        }
        self.touched.deadlines.follow(&change);
        self.touched.by_grant(&change);
        let Some(known) = &change.after else { return };
        if !self.touched.echoes.is_one(&Object::Grant(known.name.to_string()), known.version) {
            self.touched.grant(&known.name);
        }
    }

    fn decision(&self, about: About) {
        let About { namespace, name, uid, verdict } = about;
        let grant = uid.map(|uid| lapse_engine::grant::grant_name(&namespace, &name, &uid));
        let known = grant.and_then(|grant| self.touched.index.grant(&grant));
        match known {
            // Its request follows it. What let it be given is listed with each new list, for every right that is held:
            // what ends one does not wait behind all of that.
            Some(known) if known.live().is_some() && says_no(verdict) => {
                self.touched.ending(&known.name);
            }
            Some(known) => self.touched.grant(&known.name),
            None => self.touched.request_named(&namespace, &name),
        }
    }

    fn restarted(&self) {
        self.touched.everything();
    }
}

/// Whether it ends a right.
fn says_no(verdict: Verdict) -> bool {
    match verdict {
        Verdict::Deny | Verdict::End => true,
        Verdict::Approve | Verdict::Review => false,
    }
}

/// Whether a service account holds the right; of what cannot be decoded that is not known.
fn holds_as_account(known: Option<&KnownGrant>) -> bool {
    known.is_some_and(|known| match &known.summary {
        Ok(grant) => grant.live.is_some() && grant.subject.kind == SubjectKind::ServiceAccount,
        Err(_) => true,
    })
}

#[cfg(test)]
mod tests {
    use lapse_cluster::watch::{FirstLists, Revision};
    use lapse_cluster::{Reader, Stored};
    use lapse_crds::JitPolicy;
    use lapse_engine::attest::KeySet;
    use lapse_engine::grant::grant_name;
    use serde_json::json;
    use tokio::sync::watch;

    use super::*;
    use crate::fake::{api_server, held, refusal, touched};
    use crate::queue::{Item, Lane};
    use crate::revoke::Orphans;
    use crate::touched::Touched;

    fn watches(touched: &Touched) -> Watches {
        let client = api_server(async |_| refusal(500, "InternalError"));
        let (_, keys) = watch::channel(KeySet::default());
        Watches {
            client: client.clone(),
            reader: Reader::new(client, touched.index.clone(), keys),
            touched: touched.clone(),
            orphans: Orphans::new().0,
            restarts: Revision::new(|| ()).1,
            first_lists: FirstLists::new(0),
        }
    }

    /// A Deny policy bears on every right there is, and names one person.
    #[tokio::test]
    async fn who_is_locked_out_by_name_waits_behind_nobody() {
        let touched = touched();
        let mut other = held("other", "2999-01-01T00:00:00Z");
        other.spec.subject.name = "bob".to_owned();
        for grant in [held("fix", "2999-01-01T00:00:00Z"), other] {
            drop(touched.index.wrote_grant(&grant));
        }
        let lockout = json!({
            "apiVersion": "lapse.dev/v1alpha1", "kind": "JitPolicy",
            "metadata": {"name": "lockout", "uid": "l", "resourceVersion": "2", "generation": 1},
            "spec": {
                "effect": "Deny", "mode": "Enforce", "targets": [{"all": true}],
                "requesters": [{"kind": "User", "name": "alice"}],
            },
        });
        let stored: Stored<JitPolicy> = serde_json::from_str(&lockout.to_string()).unwrap();
        let change = touched.index.catch_up_policy("lockout", None, Some(&stored)).unwrap();
        watches(&touched).policy(change, false);
        let waiting = touched.queue.waiting();
        for (name, lane) in [("fix", Lane::End), ("other", Lane::Held)] {
            assert!(waiting.contains(&(Item::Grant(name.to_owned()), lane)), "{waiting:?}");
        }
    }

    /// A list of all decisions shows each that let a right be given.
    #[tokio::test]
    async fn what_ends_a_right_does_not_wait_behind_what_gave_it() {
        let uid = "request-of-fix".to_owned();
        let name = grant_name("shop", "fix", &uid);
        for (verdict, lane) in [
            (Verdict::Approve, Lane::Follow),
            (Verdict::Review, Lane::Follow),
            (Verdict::Deny, Lane::End),
            (Verdict::End, Lane::End),
        ] {
            let touched = touched();
            let mut grant = held("fix", "2999-01-01T00:00:00Z");
            grant.metadata.name = Some(name.clone());
            drop(touched.index.wrote_grant(&grant));
            let (namespace, about) = ("shop".to_owned(), "fix".to_owned());
            watches(&touched).decision(About {
                namespace,
                name: about,
                uid: Some(uid.clone()),
                verdict,
            });
            assert_eq!(touched.queue.waiting(), [(Item::Grant(name.clone()), lane)], "{verdict}");
        }
    }
}
