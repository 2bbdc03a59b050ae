//! Policies. A change of one touches what it may bear on: with hundreds of policies under GitOps, looking at
//! everything for each would keep whoever waits for a right waiting.

use kube::core::DeserializeGuard;
use kube::runtime::reflector::{self, Lookup as _};
use kube::runtime::watcher::Event;
use kube::{Resource as _, ResourceExt as _};
use lapse_crds::JitPolicy;
use lapse_engine::policy::{bears_on_others, may_decide};

use super::{Guarded, Queues, Watches, guarded, shown};
use crate::queue::reference;

impl Watches {
    pub(super) async fn policies(&self, mut writer: reflector::store::Writer<Guarded<JitPolicy>>) {
        self.follow("JitPolicies", || guarded::<JitPolicy>(&self.client))
            .run(|event| {
                // What it did until now may be what held something back.
                let before =
                    shown(&event).and_then(|p| self.caches.policies.get(&p.to_object_ref(())));
                writer.apply_watcher_event(&event);
                if let Some(policy) = shown(&event) {
                    self.reader.saw_policy(policy.meta());
                }
                self.policy_event(event, before.as_deref());
            })
            .await;
    }

    fn policy_event(&self, event: Event<Guarded<JitPolicy>>, before: Option<&Guarded<JitPolicy>>) {
        match event {
            Event::Init => {}
            Event::InitApply(policy) => Queues::send(&self.queues.policies, reference(&policy)),
            Event::Apply(policy) => {
                Queues::send(&self.queues.policies, reference(&policy));
                // Its own status changes too, which bears on nothing else.
                if spec_changed(&policy) {
                    self.policy_touches(&policy, before);
                }
            }
            Event::Delete(policy) => self.policy_touches(&policy, before),
            // It cannot tell what it missed.
            Event::InitDone => self.queues.everything(&self.caches),
        }
    }

    fn policy_touches(&self, policy: &Guarded<JitPolicy>, before: Option<&Guarded<JitPolicy>>) {
        let bears_on_others = |policy: &Guarded<JitPolicy>| match policy {
            DeserializeGuard(Ok(policy)) => bears_on_others(&policy.spec),
            // What it says is not known.
            DeserializeGuard(Err(_)) => true,
        };
        let name = policy.name_any();
        let all = bears_on_others(policy) || before.is_some_and(bears_on_others);
        self.requests_that(|request| all || may_decide(&name, request.spec.policy.as_deref()));
        self.grants_that(|grant| all || grant.spec.policy.name == name);
    }
}

/// Whether the controller has yet to report on this generation of the policy.
fn spec_changed(policy: &Guarded<JitPolicy>) -> bool {
    match policy {
        DeserializeGuard(Ok(policy)) => {
            let observed = policy.status.as_ref().and_then(|status| status.observed_generation);
            policy.metadata.deletion_timestamp.is_some() || observed != policy.metadata.generation
        }
        DeserializeGuard(Err(_)) => true,
    }
}
