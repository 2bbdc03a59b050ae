mod elevations;
mod requirement;

use std::collections::BTreeSet;

use lapse_crds::{
    Admin, EndpointTarget, EndpointTargets, LocalUser, LocalUsers, PolicyTarget, Session, Subject,
    SubjectKind, Target,
};
use rstest::rstest;
use serde_json::Value;

use super::super::target;
use super::*;
use crate::target::ResolvedTarget;
use crate::testing::Fixture;

fn facts() -> EndpointFacts {
    let subject =
        Subject { kind: SubjectKind::User, name: "alice".into(), namespace: None, endpoint: None };
    EndpointFacts {
        uid: "u-1".into(),
        labels: [("role".to_owned(), "web".to_owned())].into(),
        users: vec![LocalUser { subject, local_user: "al".into(), authorized_keys: vec![] }],
        agent_key: Some("key".into()),
        capabilities: Some(BTreeSet::from([Capability::Admin, Capability::Commands])),
        ..EndpointFacts::default()
    }
}

fn asking(wish: EndpointTarget, endpoint: Read<EndpointFacts>) -> Fixture {
    let mut fixture = Fixture::default();
    let target = Target { kubernetes: None, endpoint: Some(wish) };
    fixture.target = ResolvedTarget::resolve(&target, "ops").unwrap();
    fixture.spec.target = target;
    fixture.surroundings.namespaces.clear();
    fixture.surroundings.endpoint = Some(endpoint);
    let command = |args: &[&str], pattern: Option<&str>| lapse_crds::Command {
        path: "/usr/bin/systemctl".into(),
        args: args.iter().map(ToString::to_string).collect(),
        args_pattern: pattern.map(ToOwned::to_owned),
    };
    let offered = EndpointTargets {
        names: vec!["web-1".into()],
        admin: Some(Admin {}),
        commands: vec![command(&["restart", "nginx"], None), command(&[], Some("^status [a-z]+$"))],
        groups: vec!["adm".into()],
        ..EndpointTargets::default()
    };
    fixture.policy.spec.targets =
        vec![PolicyTarget { endpoint: Some(offered), ..PolicyTarget::default() }];
    fixture
}

/// A request for something on the host, under a policy with these entries for hosts.
fn under(what: &Value, entries: Vec<Value>, endpoint: EndpointFacts) -> Fixture {
    let mut wish = serde_json::json!({"name": "web-1"});
    wish.as_object_mut().unwrap().extend(what.as_object().unwrap().clone());
    let mut fixture = asking(serde_json::from_value(wish).unwrap(), Read::Found(endpoint));
    let entry = |entry| PolicyTarget {
        endpoint: Some(serde_json::from_value(entry).unwrap()),
        ..PolicyTarget::default()
    };
    fixture.policy.spec.targets = entries.into_iter().map(entry).collect();
    fixture
}

fn on(name: &str) -> EndpointTarget {
    EndpointTarget { name: name.into(), ..EndpointTarget::default() }
}

fn run(args: &[&str]) -> EndpointTarget {
    let args = args.iter().map(ToString::to_string).collect();
    let command =
        lapse_crds::Command { path: "/usr/bin/systemctl".into(), args, args_pattern: None };
    EndpointTarget { commands: vec![command], ..on("web-1") }
}

fn admin() -> EndpointTarget {
    EndpointTarget { admin: Some(Admin {}), ..on("web-1") }
}

fn said(outcome: CheckResult) -> String {
    match outcome {
        CheckResult::Pass(message)
        | CheckResult::Fail(message)
        | CheckResult::Pending(message)
        | CheckResult::NotApplicable(message) => message,
    }
}

#[rstest]
#[case::admin(admin(), true, "admin on web-1 is offered, as local user al.")]
#[case::exactly(run(&["restart", "nginx"]), true, "sudo /usr/bin/systemctl restart nginx on web-1 is offered, as local user al.")]
#[case::within_an_expression(run(&["status", "nginx"]), true, "sudo /usr/bin/systemctl status nginx on web-1 is offered, as local user al.")]
#[case::more_arguments(run(&["restart", "nginx", "ssh"]), false, "sudo /usr/bin/systemctl restart nginx ssh on web-1 was requested, but JitPolicy shop-debug offers admin, sudo /usr/bin/systemctl restart nginx, sudo /usr/bin/systemctl ^status [a-z]+$, group adm on web-1. the command /usr/bin/systemctl restart nginx ssh is not among those that are offered there. Request no more than that, or request under another policy.")]
#[case::beyond_an_expression(run(&["status", "nginx", "x"]), false, "sudo /usr/bin/systemctl status nginx x on web-1 was requested, but JitPolicy shop-debug offers admin, sudo /usr/bin/systemctl restart nginx, sudo /usr/bin/systemctl ^status [a-z]+$, group adm on web-1. the command /usr/bin/systemctl status nginx x is not among those that are offered there. Request no more than that, or request under another policy.")]
#[case::no_arguments(run(&[]), false, "sudo /usr/bin/systemctl on web-1 was requested, but JitPolicy shop-debug offers admin, sudo /usr/bin/systemctl restart nginx, sudo /usr/bin/systemctl ^status [a-z]+$, group adm on web-1. the command /usr/bin/systemctl is not among those that are offered there. Request no more than that, or request under another policy.")]
#[case::elsewhere(EndpointTarget { admin: Some(Admin {}), ..on("web-2") }, false, "admin on web-2 was requested, but JitPolicy shop-debug offers admin, sudo /usr/bin/systemctl restart nginx, sudo /usr/bin/systemctl ^status [a-z]+$, group adm on web-1. Request no more than that, or request under another policy.")]
#[case::beyond_the_agent(EndpointTarget { group: Some("adm".into()), ..on("web-1") }, false, "Endpoint web-1 cannot do that: its agent does not have Group; request something else there.")]
#[case::as_another(EndpointTarget { local_user: Some("bob".into()), ..admin() }, false, "On Endpoint web-1, bob is not a local user of alice; set localUser to one of al, or leave it out.")]
fn what_is_offered_there(
    #[case] wish: EndpointTarget,
    #[case] passes: bool,
    #[case] message: &str,
) {
    let outcome = asking(wish, Read::Found(facts())).outcome(target::check);
    assert_eq!(matches!(outcome, CheckResult::Pass(_)), passes, "{outcome:?}");
    assert_eq!(said(outcome), message);
}

#[rstest]
#[case::missing(Read::Missing, "Endpoint web-1 does not exist; correct its name in spec.target.")]
#[case::unread(Read::Failed("timeout".into()), "Endpoint web-1 cannot be read: timeout.")]
#[case::going(Read::Found(EndpointFacts { is_going: true, ..facts() }), "Endpoint web-1 is being deleted; request again if it is created again.")]
#[case::never_enrolled(Read::Found(EndpointFacts { agent_key: None, ..facts() }), "No agent has enrolled for Endpoint web-1; ask whoever runs that host to enrol it, and request again.")]
#[case::twice(Read::Found(EndpointFacts { is_twice: true, ..facts() }), "Two machines have the identity of Endpoint web-1, so it is not known on which of them access would be granted; ask an owner of it to enrol the host again (its condition Duplicate says how), and request again.")]
#[case::silent(Read::Found(EndpointFacts { capabilities: None, ..facts() }), "The agent of Endpoint web-1 has not reported yet what it can do; request again when the Endpoint is Ready.")]
#[case::stranger(Read::Found(EndpointFacts { users: vec![], ..facts() }), "On Endpoint web-1, alice has no local user there; ask an owner of the Endpoint to add them to spec.users.")]
fn what_the_endpoint_lacks(#[case] endpoint: Read<EndpointFacts>, #[case] message: &str) {
    assert_eq!(said(asking(admin(), endpoint).outcome(target::check)), message);
}

#[test]
fn what_gives_more_than_it_says_is_told() {
    let risk = |wish| said(asking(wish, Read::Found(facts())).outcome(super::super::risk::check));
    let harmless = "It is not known to allow more than it says.";
    assert_eq!(risk(run(&["restart", "nginx"])), harmless);
    assert!(risk(admin()).starts_with("A root shell can undo anything"));
}

#[test]
fn root_under_another_name_needs_a_policy_that_accepts_it() {
    let group = EndpointTarget { group: Some("docker".into()), ..on("web-1") };
    let shell = lapse_crds::Command {
        path: "/bin/bash".into(),
        args: vec!["-c".into(), "true".into()],
        args_pattern: None,
    };
    let shell = EndpointTarget { commands: vec![shell], ..on("web-1") };
    for wish in [group, shell] {
        let mut fixture = asking(wish.clone(), Read::Found(facts()));
        let offered = fixture.policy.spec.targets[0].endpoint.as_mut().unwrap();
        offered.groups.push("docker".into());
        offered.commands.extend(wish.commands);
        let outcome = fixture.outcome(super::super::risk::check);
        assert!(matches!(outcome, CheckResult::Fail(_)), "{outcome:?}");
        let message = said(outcome);
        let what = if message.contains("docker") {
            "group docker is a group that runs containers or virtual machines, and its members start containers or \
             machines with all of the host's files"
        } else {
            "/bin/bash is a shell, and it starts whatever it is told to"
        };
        let todo = "Request something that does no more than you need, such as a script of root's without arguments, or request under a policy with allowEscalation.";
        assert_eq!(message, format!("Equivalent to admin: {what}. {todo}"));
        let offered = fixture.policy.spec.targets[0].endpoint.as_mut().unwrap();
        offered.allow_escalation = true;
        let outcome = fixture.outcome(super::super::risk::check);
        assert!(matches!(&outcome, CheckResult::Pass(why) if message.starts_with(&why[..40])));
    }
}

#[test]
fn who_is_called_the_same_is_one_where_the_policy_says_so() {
    let endpoint = EndpointFacts { users: vec![], ..facts() };
    let mut fixture = asking(admin(), Read::Found(endpoint));
    let offered = fixture.policy.spec.targets[0].endpoint.as_mut().unwrap();
    offered.local_users = Some(LocalUsers::SameName);
    let message = said(fixture.outcome(target::check));
    assert_eq!(message, "admin on web-1 is offered, as local user alice.");
}

#[rstest]
#[case::it_cannot(admin(), false, Some(Recording::Children), true)]
#[case::it_can(admin(), true, Some(Recording::Children), false)]
#[case::nobody_wants_that(admin(), false, Some(Recording::Commands), false)]
#[case::nothing_is_said(admin(), false, None, false)]
#[case::no_sudo(EndpointTarget { group: Some("adm".into()), ..on("web-1") }, false, Some(Recording::Children), false)]
fn a_host_that_cannot_record_as_the_policy_says_is_told(
    #[case] wish: EndpointTarget,
    #[case] records: bool,
    #[case] record: Option<Recording>,
    #[case] is_told: bool,
) {
    let mut endpoint = facts();
    let capabilities = endpoint.capabilities.as_mut().unwrap();
    capabilities.insert(Capability::Group);
    if records {
        capabilities.insert(Capability::SessionRecord);
    }
    let mut fixture = asking(wish, Read::Found(endpoint));
    fixture.policy.spec.session = Some(Session { record, ..Session::default() });
    let outcome = fixture.outcome(target::check);
    assert!(matches!(outcome, CheckResult::Pass(_)), "{outcome:?}");
    let expected = " What the commands start is not recorded there, although the policy says session.record: Children: \
                    its agent does not have SessionRecord.";
    assert_eq!(said(outcome).ends_with(expected), is_told);
}
