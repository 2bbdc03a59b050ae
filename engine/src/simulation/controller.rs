//! A controller: observe, decide, apply, report, one read or write at a time.

use std::collections::VecDeque;

use lapse_crds::{AccessRequest, Grant, GrantPhase, RbacKind};

use super::world::{NAMESPACES, World, describe_grant, describe_request};
use super::{Kind, LookUp};
use crate::attest::Attested;
use crate::grant::{Action, Fate, LiveObject, ObjectMarks, ObjectSpec, fate};
use crate::policy::BannedRoles;
use crate::role::RoleRules;
use crate::testing::life::{self, attestation, time};
use crate::testing::settings;
use crate::{Read, grant, request};

/// A write that a controller means to do.
#[derive(Clone, Debug)]
enum Write {
    CreateGrant(Box<Grant>),
    Request(Box<AccessRequest>),
    Act(Box<Grant>, Box<Action>),
    Grant(Box<Grant>),
}

/// What a controller has read first.
#[derive(Clone, Debug)]
enum Looking {
    Request(AccessRequest),
    Grant(Grant),
}

/// A controller in the midst of its work.
#[derive(Clone, Debug, Default)]
pub(super) struct Controller {
    looking: Option<Looking>,
    writes: VecDeque<Write>,
}

impl Controller {
    /// What it is about to do, in words.
    pub(super) fn describe(&self) -> String {
        let looking = match &self.looking {
            None => String::new(),
            Some(Looking::Request(request)) => format!("looks at {}", describe_request(request)),
            Some(Looking::Grant(grant)) => format!("looks at {}", describe_grant(grant)),
        };
        let write = |write: &Write| match write {
            Write::CreateGrant(grant) => format!("creates {}", describe_grant(grant)),
            Write::Request(request) => format!("reports {}", describe_request(request)),
            Write::Grant(grant) => format!("reports {}", describe_grant(grant)),
            Write::Act(grant, action) => format!("{action:?} for {}", describe_grant(grant)),
        };
        let writes: Vec<String> = self.writes.iter().map(write).collect();
        format!("{looking} {}", writes.join(", "))
    }

    pub(super) fn is_looking(&self) -> bool {
        self.looking.is_some()
    }

    pub(super) fn is_busy(&self) -> bool {
        !self.writes.is_empty()
    }

    /// Looks, decides and does it all, with nothing happening in between.
    pub(super) fn reconcile(&mut self, world: &mut World, kind: Kind) {
        self.begin(world, kind);
        self.decide(world, None);
        while self.is_busy() {
            self.write(world);
        }
    }

    /// Reads the object itself. What it still had to do is dropped: one object is worked on at once.
    pub(super) fn begin(&mut self, world: &World, kind: Kind) {
        self.writes.clear();
        self.looking = match kind {
            Kind::Request => world.request.clone().map(Looking::Request),
            Kind::Grant => world.grant.clone().map(Looking::Grant),
        };
    }

    /// Reads everything else, and decides.
    pub(super) fn decide(&mut self, world: &World, failing: Option<LookUp>) {
        match self.looking.take() {
            None => {}
            Some(Looking::Request(request)) => self.decide_request(world, failing, request),
            Some(Looking::Grant(grant)) => self.decide_grant(world, failing, grant),
        }
    }

    fn decide_request(&mut self, world: &World, failing: Option<LookUp>, request: AccessRequest) {
        let observed = request::Observed {
            request: Attested { object: request.clone(), attestation: Ok(attestation(0, "r")) },
            policies: Read::Found(world.policies()),
            decisions: read(failing == Some(LookUp::Decisions), Some(world.decisions.clone())),
            role: role(world, failing),
            accounts: Read::Found(vec![]),
            banned_roles: BannedRoles::new(),
            surroundings: life::surroundings(&NAMESPACES),
            grant: read(failing == Some(LookUp::Counterpart), world.grant.clone()),
            peers: Read::Found(crate::peers::Peers::default()),
            engaging: Read::Found(vec![]),
            settings: settings(),
            obstacle: None,
        };
        let plan = request::decide(&observed, time(world.now));
        if let Some(grant) = plan.create {
            self.writes.push_back(Write::CreateGrant(grant));
        } else if let Some(status) = plan.status {
            let request = AccessRequest { status: Some(status), ..request };
            self.writes.push_back(Write::Request(Box::new(request)));
        }
    }

    fn decide_grant(&mut self, world: &World, failing: Option<LookUp>, grant: Grant) {
        let objects = ObjectSpec::all_of(&grant, "lapse-system").into_iter().map(|object| {
            let namespace = object.place.namespace.clone().unwrap();
            let live = world.bindings.get(&namespace).map(|(_, live)| live.clone());
            (object, read(failing == Some(LookUp::Bindings), live))
        });
        let observed = grant::Observed {
            objects: objects.collect(),
            request: read(failing == Some(LookUp::Counterpart), world.request.clone()),
            decisions: read(failing == Some(LookUp::Decisions), Some(world.decisions.clone())),
            policies: Read::Found(world.policies()),
            own_policy: Read::Failed("all policies are known".into()),
            role: role(world, failing),
            banned_roles: BannedRoles::new(),
            surroundings: life::surroundings(&NAMESPACES),
            started: None,
            obstacle: None,
            grant: grant.clone(),
        };
        let plan = grant::decide(&observed, time(world.now));
        let reports = plan.actions.is_empty() || plan.report_always;
        for action in plan.actions {
            self.writes.push_back(Write::Act(Box::new(grant.clone()), Box::new(action)));
        }
        if let Some(status) = plan.status.filter(|_| reports) {
            let grant = Grant { status: Some(status), ..grant };
            self.writes.push_back(Write::Grant(Box::new(grant)));
        }
    }

    /// Does the next thing. One that fails ends the work: it is looked at anew.
    pub(super) fn write(&mut self, world: &mut World) {
        let Some(write) = self.writes.pop_front() else { return };
        let done = match write {
            Write::CreateGrant(grant) => world.create_grant(*grant),
            Write::Request(request) => world.replace_request(*request),
            Write::Grant(grant) => world.replace_grant(*grant),
            Write::Act(grant, action) => act(world, *grant, *action),
        };
        if done.is_err() {
            self.writes.clear();
        }
    }
}

fn act(world: &mut World, mut grant: Grant, action: Action) -> Result<(), ()> {
    match action {
        Action::Create(object) => {
            world.create_binding(object, grant.metadata.uid.as_deref().unwrap())
        }
        Action::Delete { uid, .. } => {
            world.delete_binding(&uid);
            Ok(())
        }
        // Nothing is ever started here.
        Action::Stop { .. } => Ok(()),
        Action::RemoveFinalizer => {
            grant.metadata.finalizers = None;
            world.replace_grant(grant)
        }
    }
}

fn read<T>(fails: bool, found: Option<T>) -> Read<T> {
    match found {
        _ if fails => Read::Failed("timeout".into()),
        Some(found) => Read::Found(found),
        None => Read::Missing,
    }
}

fn role(world: &World, failing: Option<LookUp>) -> Read<RoleRules> {
    read(failing == Some(LookUp::Role), Some(world.role.clone()))
}

/// Lets one healthy controller, and the sweep, work until there is nothing left to do.
pub(super) fn settle(world: &mut World) {
    for _ in 0..40 {
        let mut idle = true;
        for kind in [Kind::Request, Kind::Grant] {
            let mut controller = Controller::default();
            controller.begin(world, kind);
            controller.decide(world, None);
            idle &= !controller.is_busy();
            controller.reconcile(world, kind);
        }
        idle &= !sweep(world);
        if idle {
            return;
        }
    }
    panic!("the controller never comes to rest: {world:#?}");
}

/// Removes what has no live Grant; says whether there was anything.
fn sweep(world: &mut World) -> bool {
    let grant = read(false, world.grant.clone());
    let now = time(world.now);
    let orphan = |(spec, live): &(ObjectSpec, LiveObject)| {
        let binding = ObjectMarks {
            kind: RbacKind::RoleBinding,
            namespace: spec.place.namespace.clone(),
            name: spec.name.clone(),
            uid: live.uid.clone(),
            grant: None,
            grant_uid: live.grant_uid.clone(),
            expires_at: None,
            is_ours: true,
        };
        fate(&binding, &grant, "lapse-system", now) != Fate::Keep
    };
    // A Grant that is live or ends looks after its bindings itself.
    let over = |grant: &Grant| {
        grant.status.as_ref().is_some_and(|status| status.phase == GrantPhase::Ended)
    };
    if grant.found().is_some_and(|grant| !over(grant)) {
        return false;
    }
    let orphans: Vec<String> =
        world.bindings.values().filter(|entry| orphan(entry)).map(|(_, l)| l.uid.clone()).collect();
    for uid in &orphans {
        world.delete_binding(uid);
    }
    !orphans.is_empty()
}
