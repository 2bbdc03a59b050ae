//! Many hosts at once: an account on all of them, asked for, approved and removed by one command each. Where it cannot be
//! removed is listed, with why.

use std::fs;
use std::time::{Duration, Instant};

use futures::{StreamExt as _, stream};
use kube::api::ListParams;
use lapse_crds::{ConditionStatus, Conditions as _, RequestPhase};
use lapse_e2e::host::{Host, Relay, Release, Root, Wire, package, room_for};
use lapse_e2e::plane::{Answer, eventually, policy_reported};
use lapse_engine::endpoint::hash_of_token;
use serde_json::json;

use crate::corner::{Corner, TOKEN};

/// How many hosts there are, if not a hundred.
const HOSTS: &str = "LAPSE_HOSTS";

/// How many are started at once.
const AT_ONCE: usize = 4;

/// How many are behind one address. A host that enrols calls the gateway twice, which takes ten such calls from one address
/// at once, and then makes the others wait.
const OF_A_SITE: usize = 5;

/// How long anything may take of which there is much.
const LIMIT: Duration = Duration::from_mins(10);

/// Says how long each step took.
struct Steps {
    began: Instant,
}

impl Steps {
    fn done(&mut self, what: &str) {
        println!("{what}: {:.1} s", self.began.elapsed().as_secs_f64());
        self.began = Instant::now();
    }
}

/// Hosts with an agent each, whose Endpoints have a label in common. alice is to be pat there, who does not exist yet.
struct Fleet {
    corner: Corner,
    hosts: Vec<Host>,
    _relays: Vec<Relay>,
}

impl Fleet {
    /// They are started a few at a time, at sites with a network and an address each.
    async fn start(name: &str, count: usize) -> Self {
        room_for(count).unwrap();
        let corner = Corner::new(name).await;
        let root = Root::ready(Release::Debian12).await.unwrap();
        let (mut wires, mut relays) = (Vec::new(), Vec::new());
        for _ in 0..count.div_ceil(OF_A_SITE) {
            let wire = Wire::new().unwrap();
            relays.push(wire.relay(8443, corner.gateway()).unwrap());
            wires.push(wire);
        }
        let mut starting = Vec::new();
        for number in 0..count {
            let wire = &wires[number / OF_A_SITE];
            starting.push(started(&corner, &root, wire, number));
        }
        let hosts: Vec<Host> = stream::iter(starting).buffered(AT_ONCE).collect().await;
        Self { corner, hosts, _relays: relays }
    }

    /// A policy by which alice may have the account on all of them at once, and see which hosts there are.
    async fn offer(&self) {
        let (name, count) = (&self.corner.name, self.hosts.len());
        let policy = format!("{name}-all");
        let owners = json!([{"kind": "Group", "name": format!("{name}-owners")}]);
        let offered = json!({
            "selector": {"matchLabels": {"fleet": name}},
            "accounts": [{"action": "Provision", "groups": ["ops"]}],
        });
        self.corner
            .apply(json!({
                "apiVersion": "lapse.dev/v1alpha1", "kind": "JitPolicy", "metadata": {"name": policy},
                "spec": {
                    "requesters": [{"kind": "Group", "name": format!("{name}-people")}],
                    "targets": [{"endpoint": offered}],
                    "duration": {"default": "1h", "max": "1h"},
                    "limits": {"openRequestsPerUser": count, "activeGrantsPerUser": count},
                    "approval": {"stages": [{"name": "owner", "required": 1, "approvers": owners}]},
                },
            }))
            .await;
        let group = "rbac.authorization.k8s.io";
        self.corner
            .apply(json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
                "metadata": {"name": format!("{name}-find")},
                "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "lapse-endpoint-viewer"},
                "subjects": [{"apiGroup": group, "kind": "Group", "name": format!("{name}-people")}],
            }))
            .await;
        policy_reported(&self.corner.admin.client, &policy).await.unwrap();
    }

    /// Waits until all agents are connected.
    async fn connected(&self) {
        let params = ListParams::default().labels(&format!("fleet={}", self.corner.name));
        let mut last = 0;
        let look = async || {
            let all = self.corner.endpoints().list(&params).await?;
            let statuses = all.items.iter().filter_map(|one| one.status.as_ref());
            let ready = statuses.filter_map(|status| status.conditions.condition("Ready"));
            last = ready.filter(|ready| ready.status == ConditionStatus::True).count();
            Ok((last == self.hosts.len()).then_some(()))
        };
        let found = eventually("all agents to be connected", LIMIT, look).await;
        assert!(found.is_ok(), "{last} of {}: {found:?}", self.hosts.len());
    }

    /// What `kubectl jit` says to alice.
    async fn alice(&self, line: &str) -> Answer {
        self.corner.jit(&self.corner.alice, line).await
    }

    /// The request for one of the hosts.
    fn request(&self, number: usize) -> String {
        format!("fix-{}", self.hosts[number].name())
    }

    /// Waits until so many of the requests are in a phase.
    async fn reaches(&self, phase: RequestPhase, count: usize) {
        let params = ListParams::default().labels(&format!("lapse.dev/batch={}", self.corner.name));
        let requests = self.corner.requests(&self.corner.admin);
        let mut last = Vec::new();
        let look = async || {
            let all = requests.list(&params).await?;
            let phases = all.items.into_iter().map(|one| one.status.unwrap_or_default().phase);
            last = phases.collect::<Vec<RequestPhase>>();
            Ok((last.iter().filter(|one| **one == phase).count() == count).then_some(()))
        };
        let found = eventually(&format!("{count} requests to be {phase}"), LIMIT, look).await;
        assert!(found.is_ok(), "{last:?}: {found:?}");
    }

    /// On which hosts the account is.
    fn with_account(&self) -> Vec<usize> {
        let all = self.hosts.iter().enumerate();
        all.filter(|(_, host)| has_account(host)).map(|(number, _)| number).collect()
    }

    /// Waits until the account is on these hosts, and on no other.
    async fn is_on(&self, expected: &[usize]) {
        let look = async || Ok((self.with_account() == expected).then_some(()));
        let found = eventually("the account to be where it is to be", LIMIT, look).await;
        assert!(found.is_ok(), "{:?} and not {expected:?}: {found:?}", self.with_account());
    }
}

/// A host that has enrolled as the agent of an Endpoint of its own, with a token of its own.
async fn started(corner: &Corner, root: &Root, wire: &Wire, number: usize) -> Host {
    let name = format!("{}-{number:03}", corner.name);
    let token = format!("{TOKEN}-{name}");
    let users =
        json!([{"subject": {"kind": "User", "name": corner.alice.name}, "localUser": "pat"}]);
    let enrolment =
        json!({"tokenHash": hash_of_token(&token), "expiresAt": "2036-01-01T00:00:00Z"});
    corner
        .apply(json!({
            "apiVersion": "lapse.dev/v1alpha1", "kind": "Endpoint",
            "metadata": {"name": name, "labels": {"fleet": corner.name}},
            "spec": {"platform": "Linux", "users": users, "enrolment": enrolment},
        }))
        .await;
    let host = Host::start(root, wire, &name).await.unwrap();
    host.sh("groupadd ops").await.unwrap();
    host.install_agent().await.unwrap();
    host.enrol(&corner.admin, &name, &token).await.unwrap();
    host
}

/// Whether anything of pat is there, by the disk of the host: asking a hundred hosts again and again would keep them from
/// what they are to do.
fn has_account(host: &Host) -> bool {
    let users = fs::read_to_string(host.disk().join("etc/passwd")).unwrap_or_default();
    let is_user = users.lines().any(|line| line.starts_with("pat:"));
    is_user || host.disk().join("home/pat").is_dir()
}

/// What is listed of a request, if it is.
fn row<'a>(answer: &'a Answer, request: &str) -> Option<&'a str> {
    answer.stderr.lines().find(|line| line.split(' ').next() == Some(request))
}

/// It is given on all hosts, and ended on all of them in one action while two are cut off; what cannot be removed is listed,
/// until it can.
async fn is_given_on_all_and_removed_from_all_that_can_be_reached(name: &str, count: usize) {
    assert!(count > 2, "two are cut off, and others are not");
    package().await.unwrap();
    let mut steps = Steps { began: Instant::now() };
    let mut fleet = Fleet::start(name, count).await;
    fleet.offer().await;
    steps.done(&format!("{count} hosts started and enrolled"));
    fleet.connected().await;
    steps.done("all connected");

    let asked = format!(
        "request --endpoint-selector fleet={name} --account provision --group ops --for 1h \
         --reason Maintenance-of-all-hosts --name fix --batch {name}"
    );
    let asked = fleet.alice(&asked).await;
    assert!(asked.success(), "{asked:?}");
    assert!(asked.stderr.contains(&format!("{count} requests are the batch {name}")), "{asked:?}");
    steps.done("requested on all");
    let approve = format!("approve --selector lapse.dev/batch={name} --yes");
    let approved = fleet.corner.jit(&fleet.corner.bob, &approve).await;
    assert!(approved.success(), "{approved:?}");
    steps.done("approved on all");
    let all: Vec<usize> = (0..count).collect();
    fleet.is_on(&all).await;
    steps.done("the account is on all");
    fleet.reaches(RequestPhase::Active, count).await;
    steps.done("all requests say so");

    let (first, last) = (0, count - 1);
    for number in [first, last] {
        fleet.hosts[number].cut().unwrap();
    }
    // Two are never gone in time, so all of it is waited for.
    let limit = 30 + 2 * count;
    let ended = fleet.alice(&format!("end --batch {name} --timeout {limit}s")).await;
    assert_eq!(ended.status, 1, "{ended:?}");
    steps.done(&format!("ended, and waited {limit} s for that"));
    for part in [
        format!("{} of {count} are gone", count - 2),
        format!("the access of 2 of {count} is not gone yet"),
    ] {
        assert!(ended.stderr.contains(&part), "{part}: {ended:?}");
    }
    for number in 0..count {
        let listed = row(&ended, &fleet.request(number));
        let is_cut = [first, last].contains(&number);
        assert_eq!(listed.is_some(), is_cut, "{number}: {ended:?}");
        let why = "has not confirmed yet that access is gone";
        assert!(listed.is_none_or(|listed| listed.contains(why)), "{listed:?}");
    }
    fleet.reaches(RequestPhase::Ended, count - 2).await;
    assert_eq!(fleet.with_account(), [first, last]);

    fleet.hosts[first].join().unwrap();
    fleet.is_on(&[last]).await;
    fleet.reaches(RequestPhase::Ended, count - 1).await;
    steps.done("one is on the network again, and the account is removed there");
    let left = fleet.alice(&format!("end --batch {name} --timeout 1s")).await;
    assert_eq!(left.status, 1, "{left:?}");
    assert!(left.stderr.contains("the access of 1 of 1 is not gone yet"), "{left:?}");
    assert!(row(&left, &fleet.request(last)).is_some(), "{left:?}");
    assert!(!left.stderr.contains(&fleet.request(first)), "{left:?}");

    fleet.hosts[last].join().unwrap();
    fleet.is_on(&[]).await;
    fleet.reaches(RequestPhase::Ended, count).await;
    steps.done("so is the other one");
    let nothing = fleet.alice(&format!("end --batch {name}")).await;
    assert!(nothing.success() && nothing.stderr.contains("is open or active"), "{nothing:?}");
    drop(fleet);
    steps.done("all hosts are gone");
}

#[tokio::test]
async fn an_account_comes_to_several_hosts_and_goes_in_one_action() {
    is_given_on_all_and_removed_from_all_that_can_be_reached("several", 4).await;
}

#[tokio::test]
#[ignore = "it takes minutes, and the machine for itself: see CONTRIBUTING.md"]
async fn an_account_comes_to_a_hundred_hosts_and_goes_in_one_action() {
    let count = std::env::var(HOSTS).map_or(100, |count| count.parse().unwrap());
    is_given_on_all_and_removed_from_all_that_can_be_reached("hundred", count).await;
}
