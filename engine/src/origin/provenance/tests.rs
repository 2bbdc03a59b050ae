use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ed25519_dalek::SigningKey;
use lapse_crds::LocalUser;
use rstest::rstest;
use serde_json::json;

use super::super::sign;
use super::*;
use crate::order::Host;
use crate::testing::life::time;
use crate::testing::{group, local, person, request_spec, service_account, user};

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

/// The workstation of alice, who is `al` there; others have users there, too.
fn facts() -> EndpointFacts {
    let of = |subject, name: &str| LocalUser {
        subject,
        local_user: name.into(),
        authorized_keys: vec![],
    };
    EndpointFacts {
        uid: "u-1".into(),
        labels: [("role".to_owned(), "paw".to_owned())].into(),
        users: vec![
            of(user("alice"), "al"),
            of(user("bob"), "bob"),
            of(user("alice"), "root"),
            of(service_account("ci", "bot"), "bot"),
            of(group("shop-developers"), "dev"),
        ],
        agent_key: Some(BASE64.encode(key(5).verifying_key().as_bytes())),
        agent_until: Some(time(1).into()),
        ..EndpointFacts::default()
    }
}

/// A request that this local user made there, signed so many seconds after 0 s.
fn asked_by(local_user: &str, signed_at: i64) -> AccessRequest {
    let mut request = AccessRequest::new("fix", request_spec());
    request.metadata.namespace = Some("shop".into());
    let host = Host { name: "ws-1".into(), uid: "u-1".into() };
    let digest = digest_of("shop", "fix", &request.spec).unwrap();
    let origin = sign(&host, local_user, &digest, time(signed_at), &key(5)).unwrap();
    request.spec.origin = Some(origin);
    request
}

fn alice() -> Identity {
    person("alice", &["shop-developers"])
}

fn made(request: &AccessRequest, endpoint: &Read<EndpointFacts>) -> Provenance {
    Provenance::of(request, &alice(), time(0), Some(endpoint))
}

/// In words, as a check or admission shows it.
fn told(provenance: &Provenance) -> String {
    match provenance {
        Provenance::Unsaid => "unsaid".to_owned(),
        Provenance::Proven(place) => format!("on {}", place.endpoint),
        Provenance::Void(why) => why.to_string(),
        Provenance::Unknown(why) => why.clone(),
    }
}

#[test]
fn a_statement_of_the_agent_proves_where_a_request_was_made() {
    let labels = facts().labels;
    let proven = Provenance::Proven(Workplace { endpoint: "ws-1".into(), labels });
    assert_eq!(made(&asked_by("al", 0), &Read::Found(facts())), proven);
    let mut unsaid = asked_by("al", 0);
    unsaid.spec.origin = None;
    assert_eq!(made(&unsaid, &Read::Found(facts())), Provenance::Unsaid);
}

#[rstest]
#[case::gone(Read::Missing, "there is no Endpoint ws-1")]
#[case::not_read(Read::Failed("timeout".into()), "Endpoint ws-1 cannot be read: timeout")]
#[case::made_anew(Read::Found(EndpointFacts { uid: "u-2".into(), ..facts() }), "Endpoint ws-1 was deleted, and created again since")]
#[case::going(Read::Found(EndpointFacts { is_going: true, ..facts() }), "Endpoint ws-1 is being deleted")]
#[case::without_an_agent(Read::Found(EndpointFacts { agent_key: None, ..facts() }), "no agent has enrolled for Endpoint ws-1")]
#[case::away_for_long(Read::Found(EndpointFacts { agent_until: Some(time(0).into()), ..facts() }), "the certificate of the agent of Endpoint ws-1 expired at 2026-11-18T11:06:40.000000Z, and it was not renewed: enrol that host again")]
#[case::twice(Read::Found(EndpointFacts { is_twice: true, ..facts() }), "two machines have the identity of Endpoint ws-1 (its condition Duplicate says what to do)")]
#[case::enrolled_again(Read::Found(EndpointFacts { agent_key: Some(BASE64.encode(key(6).verifying_key().as_bytes())), ..facts() }), "the agent of Endpoint ws-1 did not sign this request, as it is not signed with the key of the agent that enrolled: it was changed after that, or the host has enrolled again since")]
#[case::given_to_another(Read::Found(EndpointFacts { users: vec![LocalUser { subject: user("bob"), local_user: "al".into(), authorized_keys: vec![] }], ..facts() }), "al on Endpoint ws-1 is no local user of alice; ask an owner of the Endpoint to add them to spec.users")]
#[case::given_to_nobody(Read::Found(EndpointFacts { users: vec![], ..facts() }), "al on Endpoint ws-1 is no local user of alice; ask an owner of the Endpoint to add them to spec.users")]
fn it_proves_nothing_once_its_host_has_changed(
    #[case] endpoint: Read<EndpointFacts>,
    #[case] expected: &str,
) {
    assert_eq!(told(&made(&asked_by("al", 0), &endpoint)), expected);
}

#[test]
fn what_nobody_has_looked_at_is_not_known() {
    let provenance = Provenance::of(&asked_by("al", 0), &alice(), time(0), None);
    assert_eq!(provenance, Provenance::Unknown("Endpoint ws-1 was not looked at".into()));
}

#[rstest]
#[case(-121, false)]
#[case(-120, true)]
#[case(120, true)]
#[case(121, false)]
fn it_is_worth_something_for_two_minutes(#[case] signed_at: i64, #[case] is_fresh: bool) {
    let provenance = made(&asked_by("al", signed_at), &Read::Found(facts()));
    assert_eq!(matches!(provenance, Provenance::Proven(_)), is_fresh, "{provenance:?}");
    if signed_at == 121 {
        insta::assert_snapshot!(told(&provenance), @"the agent of Endpoint ws-1 signed it at 2026-11-18T11:08:41.000000Z, and it came at 2026-11-18T11:06:40.000000Z: more than 2 minutes lie between them; request again at once, and if that does not help compare the clock of that host with the cluster's");
    }
}

#[rstest]
#[case::spec(|r: &mut AccessRequest| r.spec.duration = "8h".parse().ok())]
#[case::emergency(|r: &mut AccessRequest| r.spec.emergency = true)]
#[case::name(|r: &mut AccessRequest| r.metadata.name = Some("fix-again".into()))]
#[case::namespace(|r: &mut AccessRequest| r.metadata.namespace = Some("bank".into()))]
#[case::local_user(|r: &mut AccessRequest| r.spec.origin.as_mut().unwrap().local_user = "bob".into())]
#[case::made_fresh(|r: &mut AccessRequest| r.spec.origin.as_mut().unwrap().signed_at = time(1).into())]
fn what_was_changed_on_its_way_proves_nothing(#[case] change: fn(&mut AccessRequest)) {
    let mut request = asked_by("al", 0);
    change(&mut request);
    let provenance = made(&request, &Read::Found(facts()));
    let is_unsigned = matches!(provenance, Provenance::Void(OriginError::Unsigned { .. }));
    assert!(is_unsigned, "{provenance:?}");
}

/// root is nobody's, whatever an Endpoint says, and who is no subject of the cluster is nobody's local user.
#[rstest]
#[case::of_another("bob", alice())]
#[case::of_nobody("mallory", alice())]
#[case::root("root", alice())]
#[case::a_look_alike("root", person("system:serviceaccount:ci:bot", &[]))]
#[case::a_look_alike_of_an_account("bot", person("system:serviceaccount:ci:bot", &[]))]
#[case::of_a_group("dev", alice())]
fn who_asked_there_must_be_the_requester(#[case] local_user: &str, #[case] requester: Identity) {
    let request = asked_by(local_user, 0);
    let provenance = Provenance::of(&request, &requester, time(0), Some(&Read::Found(facts())));
    let is_others = matches!(provenance, Provenance::Void(OriginError::Others { .. }));
    assert!(is_others, "{provenance:?}");
}

#[test]
fn an_account_may_work_on_a_host_too() {
    let bot = person("system:serviceaccount:ci:bot", &["system:serviceaccounts:ci"]);
    let request = asked_by("bot", 0);
    let provenance = Provenance::of(&request, &bot, time(0), Some(&Read::Found(facts())));
    assert!(matches!(provenance, Provenance::Proven(_)), "{provenance:?}");
}

/// What this local user asks for on their host, for that host, with `lapse request`.
fn asked_there(local_user: &str, change: fn(&mut AccessRequestSpec)) -> AccessRequest {
    let mut request = AccessRequest::new("fix", request_spec());
    request.metadata.namespace = Some("shop".into());
    let target = json!({"endpoint": {"name": "ws-1", "localUser": local_user, "admin": {}}});
    request.spec.target = serde_json::from_value(target).unwrap();
    change(&mut request.spec);
    let host = Host { name: "ws-1".into(), uid: "u-1".into() };
    let digest = digest_of("shop", "fix", &request.spec).unwrap();
    request.spec.origin = Some(sign(&host, local_user, &digest, time(0), &key(5)).unwrap());
    request
}

/// Where it was made, stamped with who they are by what is known of the host.
fn stamped(request: &AccessRequest) -> Result<Provenance, OriginError> {
    let origin = request.spec.origin.as_ref().unwrap();
    let requester = super::super::local_requester(origin, &facts())?;
    let facts = Read::Found(facts());
    Ok(Provenance::of(request, &requester, time(0), Some(&facts)))
}

#[rstest]
#[case::of_alice("al", "alice")]
#[case::of_nobody("carol", "lapse:endpoint:ws-1:carol")]
fn a_local_user_asks_for_themselves_on_their_host(
    #[case] local_user: &str,
    #[case] username: &str,
) {
    let request = asked_there(local_user, |_| {});
    let origin = request.spec.origin.as_ref().unwrap();
    let requester = super::super::local_requester(origin, &facts()).unwrap();
    assert_eq!(requester, local("ws-1", local_user, username));
    assert!(matches!(stamped(&request), Ok(Provenance::Proven(_))));
}

#[rstest]
#[case::root(
    "root",
    "root belongs to nobody in the cluster: request as the local user that is yours"
)]
#[case::an_account(
    "bot",
    "bot on Endpoint ws-1 is the local user of a service account, which requests with its token alone"
)]
fn some_ask_for_nothing_there(#[case] local_user: &str, #[case] expected: &str) {
    assert_eq!(stamped(&asked_there(local_user, |_| {})).unwrap_err().to_string(), expected);
}

const ELSEWHERE: &str = "who requests on a host is granted access there alone, as the same local user: request ws-1 as al, or with your own credentials (kubectl jit request)";

#[rstest]
#[case::another_host(|spec: &mut AccessRequestSpec| spec.target.endpoint.as_mut().unwrap().name = "ws-2".into(), ELSEWHERE)]
#[case::another_user(|spec: &mut AccessRequestSpec| spec.target.endpoint.as_mut().unwrap().local_user = Some("bob".into()), ELSEWHERE)]
#[case::whoever_it_is(|spec: &mut AccessRequestSpec| spec.target.endpoint.as_mut().unwrap().local_user = None, ELSEWHERE)]
#[case::in_the_cluster(|spec: &mut AccessRequestSpec| spec.target = request_spec().target, ELSEWHERE)]
#[case::an_emergency(|spec: &mut AccessRequestSpec| spec.emergency = true, "spec.emergency takes credentials of the cluster: leave it out on a host, or request with your own (kubectl jit request)")]
#[case::an_extension(|spec: &mut AccessRequestSpec| spec.extends = Some("x".into()), "spec.extends takes credentials of the cluster: leave it out on a host, or request with your own (kubectl jit request)")]
#[case::later(|spec: &mut AccessRequestSpec| spec.start_time = Some(time(9).into()), "spec.startTime takes credentials of the cluster: leave it out on a host, or request with your own (kubectl jit request)")]
fn a_host_vouches_for_nothing_beyond_itself(
    #[case] change: fn(&mut AccessRequestSpec),
    #[case] expected: &str,
) {
    assert_eq!(told(&stamped(&asked_there("al", change)).unwrap()), expected);
}

/// What stands in the stamp is compared with what is so now.
#[rstest]
#[case::another_name(local("ws-1", "al", "bob"))]
#[case::of_nobody(local("ws-1", "al", "lapse:endpoint:ws-1:al"))]
#[case::another_local_user(local("ws-1", "bob", "alice"))]
#[case::of_another_host(local("ws-2", "al", "alice"))]
fn who_is_somebody_else_by_now_has_not_asked(#[case] requester: Identity) {
    let request = asked_there("al", |_| {});
    let provenance = Provenance::of(&request, &requester, time(0), Some(&Read::Found(facts())));
    assert_eq!(
        told(&provenance),
        "al on Endpoint ws-1 belongs to somebody else by spec.users since"
    );
}

#[test]
fn without_a_statement_nobody_asks_on_a_host() {
    let mut request = asked_there("al", |_| {});
    request.spec.origin = None;
    let requester = local("ws-1", "al", "alice");
    let provenance = Provenance::of(&request, &requester, time(0), Some(&Read::Found(facts())));
    assert_eq!(told(&provenance), "nothing proves who requests");
}

/// An end of a request by who is said to have made it, stated by this local user.
fn ended_by(local_user: &str, change: fn(&mut AccessDecisionSpec)) -> Result<(), OriginError> {
    let mut request = asked_there("al", |_| {});
    request.spec.requester = Some(local("ws-1", "al", "alice"));
    let end = json!({"request": {"name": "fix"}, "verdict": "End"});
    let mut end: AccessDecisionSpec = serde_json::from_value(end).unwrap();
    let host = Host { name: "ws-1".into(), uid: "u-1".into() };
    let digest = digest_of_end("shop", &end).unwrap();
    end.origin = Some(sign(&host, local_user, &digest, time(0), &key(5)).unwrap());
    change(&mut end);
    verify_end("shop", &end, &request.spec, time(0), &facts())
}

#[test]
fn who_asked_there_ends_it_there_and_nobody_else() {
    assert_eq!(ended_by("al", |_| {}), Ok(()));
    insta::assert_snapshot!(ended_by("bob", |_| {}).unwrap_err(), @"bob on Endpoint ws-1 did not request that there with `lapse request`");
    let other = ended_by("al", |end| end.request.name = "fix-2".into());
    assert!(matches!(other, Err(OriginError::Unsigned { .. })), "{other:?}");
    let unsaid = ended_by("al", |end| end.origin = None);
    assert_eq!(unsaid, Err(OriginError::Absent));
    // What was asked with credentials is ended with them.
    let mut request = asked_there("al", |_| {});
    request.spec.requester = Some(alice());
    let end = json!({"request": {"name": "fix"}, "verdict": "End"});
    let mut end: AccessDecisionSpec = serde_json::from_value(end).unwrap();
    let host = Host { name: "ws-1".into(), uid: "u-1".into() };
    let digest = digest_of_end("shop", &end).unwrap();
    end.origin = Some(sign(&host, "al", &digest, time(0), &key(5)).unwrap());
    let ended = verify_end("shop", &end, &request.spec, time(0), &facts());
    assert!(matches!(ended, Err(OriginError::NotTheirs { .. })), "{ended:?}");
}
