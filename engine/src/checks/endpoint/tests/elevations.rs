//! Applications and accounts.

use serde_json::json;

use super::*;
use crate::checks::{conditions, is_harmless, risk};

const OFFERED: &str = "application restart-web (/usr/bin/systemctl restart nginx), application debug (/bin/bash), account \
                       Enable, account Provision with adm, account Raise with adm, ops, account Raise with docker on web-1";

fn offered() -> Value {
    json!({
        "names": ["web-1"],
        "applications": [
            {"name": "restart-web", "path": "/usr/bin/systemctl", "args": ["restart", "nginx"]},
            {"name": "debug", "path": "/bin/bash", "package": "bash"},
        ],
        "accounts": [
            {"action": "Enable"},
            {"action": "Provision", "groups": ["adm"]},
            {"action": "Raise", "groups": ["adm", "ops"]},
            {"action": "Raise", "groups": ["docker"]},
        ],
    })
}

fn able() -> EndpointFacts {
    let capabilities = [Capability::Application, Capability::Account];
    EndpointFacts { capabilities: Some(capabilities.into()), ..facts() }
}

fn asking_for(what: &Value) -> Fixture {
    under(what, vec![offered()], able())
}

fn application(name: &str) -> Value {
    json!({"application": name})
}

fn account(action: &str, groups: &[&str]) -> Value {
    json!({"account": {"action": action, "groups": groups}})
}

#[rstest]
#[case::an_application(
    application("restart-web"),
    "application restart-web on web-1 is offered, as local user al. The agent runs /usr/bin/systemctl restart nginx as root."
)]
#[case::which_the_policy_knows(json!({"application": "restart-web", "program": {"path": "/bin/sh"}}), "application restart-web on web-1 is offered, as local user al. The agent runs /usr/bin/systemctl restart nginx as root.")]
#[case::enabled(account("Enable", &[]), "account Enable on web-1 is offered, as local user al.")]
#[case::provisioned(account("Provision", &["adm"]), "account Provision with adm on web-1 is offered, as local user al. The account has neither password nor key: log in as it with su as root, or have an owner of the Endpoint add authorizedKeys to spec.users.")]
#[case::by_no_keys_of_the_request(json!({"account": {"action": "Provision", "authorizedKeys": ["ssh-ed25519 AAAA"]}}), "account Provision on web-1 is offered, as local user al. The account has neither password nor key: log in as it with su as root, or have an owner of the Endpoint add authorizedKeys to spec.users.")]
#[case::raised(account("Raise", &["ops"]), "account Raise with ops on web-1 is offered, as local user al.")]
fn what_is_offered_is_said(#[case] what: Value, #[case] message: &str) {
    let outcome = asking_for(&what).outcome(target::check);
    assert_eq!(outcome, CheckResult::Pass(message.to_owned()));
}

#[test]
fn keys_are_those_of_the_endpoint() {
    let mut endpoint = able();
    endpoint.users[0].authorized_keys = vec!["one".into(), "two".into()];
    let told = |what| said(under(&what, vec![offered()], endpoint.clone()).outcome(target::check));
    assert_eq!(
        told(account("Provision", &[])),
        "account Provision on web-1 is offered, as local user al. Keys of spec.users with which one can log in as it: 2."
    );
    assert_eq!(
        told(account("Enable", &[])),
        "account Enable on web-1 is offered, as local user al."
    );
}

#[rstest]
#[case::another_application(
    application("reboot"),
    "application reboot",
    "application reboot is not offered there; those that are: restart-web, debug"
)]
#[case::one_group_more(account("Provision", &["adm", "ops"]), "account Provision with adm, ops", "account Provision is not offered with ops there")]
#[case::within_no_single_entry(account("Raise", &["adm", "docker"]), "account Raise with adm, docker", "account Raise is not offered with docker there")]
fn what_is_not_offered_is_said(#[case] what: Value, #[case] asked: &str, #[case] beyond: &str) {
    let outcome = asking_for(&what).outcome(target::check);
    let expected = format!(
        "{asked} on web-1 was requested, but JitPolicy shop-debug offers {OFFERED}. {beyond}. Request no more than that, \
         or request under another policy."
    );
    assert_eq!(outcome, CheckResult::Fail(expected));
}

#[rstest]
#[case(application("restart-web"), "no application is offered there")]
#[case(account("Raise", &["adm"]), "account Raise is not offered there")]
fn what_is_offered_nowhere_near_is_said(#[case] what: Value, #[case] beyond: &str) {
    let only = json!({"names": ["web-1"], "accounts": [{"action": "Enable"}]});
    let message = said(under(&what, vec![only], able()).outcome(target::check));
    let offers = format!("offers account Enable on web-1. {beyond}. Request");
    assert!(message.contains(&offers), "{message}");
}

#[test]
fn an_agent_that_cannot_is_told() {
    let told = |what| said(under(&what, vec![offered()], facts()).outcome(target::check));
    assert_eq!(
        told(application("restart-web")),
        "Endpoint web-1 cannot do that: its agent does not have Application; request something else there."
    );
    let lacks = "Endpoint web-1 cannot do that: its agent does not have Account; request something else there.";
    assert_eq!(told(account("Enable", &[])), lacks);
}

const HARMLESS: &str = "It is not known to allow more than it says.";

fn passes(message: &str) -> CheckResult {
    CheckResult::Pass(message.to_owned())
}

#[rstest]
#[case::harmless(application("restart-web"), passes(HARMLESS), true)]
#[case::not_offered(application("reboot"), CheckResult::NotApplicable("application reboot is not offered.".into()), false)]
#[case::whatever_the_request_says(json!({"application": "reboot", "program": {"path": "/usr/bin/id"}}), CheckResult::NotApplicable("application reboot is not offered.".into()), false)]
#[case::enabled(account("Enable", &[]), passes(HARMLESS), true)]
#[case::raised(account("Raise", &["adm", "ops"]), passes(HARMLESS), true)]
fn what_is_no_more_than_it_says(
    #[case] what: Value,
    #[case] expected: CheckResult,
    #[case] harmless: bool,
) {
    let fixture = asking_for(&what);
    assert_eq!(fixture.outcome(risk::check), expected);
    assert_eq!(fixture.outcome(as_check), as_result(harmless));
}

/// Whether nobody needs to look at it, in the form of a check.
fn as_check(context: &Context<'_>) -> CheckResult {
    as_result(is_harmless(context))
}

fn as_result(harmless: bool) -> CheckResult {
    CheckResult::Pass(harmless.to_string())
}

#[rstest]
#[case::an_application(
    application("debug"),
    "Equivalent to admin: /bin/bash is a shell, and it starts whatever it is told to"
)]
#[case::whatever_the_request_says(json!({"application": "debug", "program": {"path": "/usr/bin/id"}}), "Equivalent to admin: /bin/bash is a shell, and it starts whatever it is told to")]
#[case::an_account(account("Raise", &["docker"]), "Equivalent to admin: group docker is a group that runs containers or virtual machines, and its members start containers or machines with all of the host's files")]
fn root_under_another_name_needs_a_policy_that_accepts_it(
    #[case] what: Value,
    #[case] power: &str,
) {
    let fixture = asking_for(&what);
    assert_eq!(fixture.outcome(as_check), as_result(false));
    let todo = "Request something that does no more than you need, such as a script of root's without arguments, or request under a policy with allowEscalation.";
    assert_eq!(fixture.outcome(risk::check), CheckResult::Fail(format!("{power}. {todo}")));
    let mut accepting = offered();
    accepting["allowEscalation"] = json!(true);
    let fixture = under(&what, vec![accepting], able());
    assert_eq!(fixture.outcome(risk::check), passes(&format!("{power}.")));
    assert_eq!(fixture.outcome(as_check), as_result(false));
}

/// Of two entries the first decides which program it is; another one of that name is accepted for nobody.
#[rstest]
#[case::the_same("/bin/bash", true)]
#[case::another("/usr/bin/dash", false)]
fn the_program_that_is_given_is_the_one_that_is_accepted(
    #[case] path: &str,
    #[case] accepted: bool,
) {
    let entry = |path: &str, allow: bool| json!({"names": ["web-1"], "applications": [{"name": "debug", "path": path}], "allowEscalation": allow});
    let entries = vec![entry("/bin/bash", false), entry(path, true)];
    let outcome = under(&application("debug"), entries, able()).outcome(risk::check);
    assert_eq!(matches!(outcome, CheckResult::Pass(_)), accepted, "{outcome:?}");
}

#[rstest]
#[case(
    application("restart-web"),
    "target.kind == 'Application' && target.application == 'restart-web'"
)]
#[case(
    application("restart-web"),
    "'/usr/bin/systemctl' in target.programs && size(target.programs) == 1"
)]
#[case(account("Raise", &["adm", "ops"]), "target.kind == 'Account' && target.account == 'Raise'")]
#[case(account("Raise", &["adm", "ops"]), "'ops' in target.groups && target.group == ''")]
#[case(json!({"group": "adm"}), "target.groups.all(g, g == target.group) && size(target.groups) == 1")]
#[case(json!({"admin": {}}), "target.application == '' && target.account == '' && size(target.groups) == 0")]
fn conditions_know_them(#[case] what: Value, #[case] expression: &str) {
    let mut fixture = asking_for(&what);
    let rule = |expression: String| lapse_crds::ConditionRule { expression, message: "No".into() };
    fixture.policy.spec.conditions = vec![rule(expression.to_owned())];
    assert!(matches!(fixture.outcome(conditions::check), CheckResult::Pass(_)));
    fixture.policy.spec.conditions = vec![rule(format!("!({expression})"))];
    assert!(matches!(fixture.outcome(conditions::check), CheckResult::Fail(_)));
}
