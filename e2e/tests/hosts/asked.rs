//! What people request on the host itself, without any credential of the cluster: bob, who is nobody there, and alice, whose
//! local user the Endpoint says is hers.

use lapse_crds::{AccessRequestStatus, EndReason, RequestPhase};
use lapse_e2e::host::Running;
use lapse_e2e::plane::{SOON, eventually};
use serde_json::json;

use crate::corner::CARRIED_TO;
use crate::site::Site;

/// A host whose people may ask, once its agent has heard so.
async fn site(name: &str) -> Site {
    let site = Site::new(name).await;
    site.for_local_users(json!({
        "admin": {}, "groups": ["ops"],
        "applications": [{"name": "who", "path": "/usr/bin/id", "args": ["-un"]}],
    }))
    .await;
    site
}

/// What somebody asks for: its name, once the gateway takes it.
async fn ask(site: &Site, user: &str, what: &str) -> String {
    let line = format!("lapse request {what} --for 10m --reason 'A test on a host'");
    let taken = async || {
        let said = site.host.as_user(user, &line).await?;
        // It has not said yet where it carries what people ask for.
        let is_early =
            said.stderr.contains("takes no requests") || said.stderr.contains("not connected");
        assert!(said.status == 0 || is_early, "{}", said.stderr);
        Ok((said.status == 0).then_some(said.stdout))
    };
    let said = eventually("the gateway to take it", SOON, taken).await.unwrap();
    let name = said.split(' ').nth(1).unwrap().to_owned();
    assert!(name.starts_with(&format!("{}-{user}-", site.name)), "{said}");
    name
}

/// Waits until `lapse status` shows this to somebody.
async fn shown(site: &Site, user: &str, parts: &[&str]) -> String {
    let mut last = String::new();
    let look = async || {
        last = site.host.as_user(user, "lapse status").await?.stdout;
        Ok(parts.iter().all(|part| last.contains(part)).then(|| last.clone()))
    };
    match eventually("it to be shown", SOON, look).await {
        Ok(said) => said,
        Err(error) => panic!("{error:#}: {parts:?}: {last}; {}", site.journal().await),
    }
}

async fn approve(site: &Site, name: &str) {
    site.decide_in(CARRIED_TO, &site.bob, name, "Approve").await.unwrap();
}

async fn phase(site: &Site, name: &str, phase: RequestPhase) -> AccessRequestStatus {
    let mut last = None;
    let look = async || {
        let status = site.carried().get(name).await?.status.unwrap_or_default();
        last = Some(status.clone());
        Ok((status.phase == phase).then_some(status))
    };
    match eventually("its phase", SOON, look).await {
        Ok(status) => status,
        Err(error) => panic!("{error:#}: {last:#?}; {}", site.journal().await),
    }
}

async fn is_in_group(site: &Site, user: &str) -> bool {
    site.host.sh("getent group ops").await.unwrap().contains(user)
}

#[tokio::test]
async fn somebody_without_credentials_asks_sees_what_is_missing_and_holds_it() {
    let site = site("asked").await;
    let name = ask(&site, "bob", "--group ops").await;
    let asked = site.carried().get(&name).await.unwrap().spec;
    let requester = serde_json::to_value(asked.requester.unwrap()).unwrap();
    let expected = json!({
        "username": "lapse:endpoint:asked:bob",
        "endpointUser": {"endpoint": "asked", "localUser": "bob"},
    });
    assert_eq!(requester, expected);
    assert_eq!(asked.reason.as_deref(), Some("A test on a host"));

    // Who must still approve is said to bob and to root, and to nobody else.
    let parts = ["Pending", "group ops", &name, "it waits for 1 of", "asked-owners"];
    shown(&site, "bob", &parts).await;
    shown(&site, "root", &parts).await;
    let hers = site.host.as_user("alice", "lapse status").await.unwrap().ok().unwrap();
    assert!(!hers.contains(&name), "{hers}");
    for user in ["alice", "root"] {
        let said = site.host.as_user(user, &format!("lapse end {name}")).await.unwrap();
        let is_refused = said.status != 0 && said.stderr.contains("you neither hold");
        assert!(is_refused, "{user}: {}", said.stderr);
    }
    // One request at a time, unless the policy says otherwise; and the one that is refused is in nobody's way.
    let second = "lapse request --admin --reason 'Another test' --wait";
    let second = site.host.as_user("bob", second).await.unwrap();
    assert!(second.status != 0, "{}", second.stdout);
    assert!(second.stderr.contains("You have 1 open request"), "{}", second.stderr);
    let root = site.host.as_user("root", "lapse request --admin --reason x").await.unwrap();
    assert!(root.stderr.contains("root belongs to nobody in the cluster"), "{}", root.stderr);

    approve(&site, &name).await;
    let grant = phase(&site, &name, RequestPhase::Active).await.grant.unwrap().name;
    assert!(is_in_group(&site, "bob").await, "{}", site.journal().await);
    let origin = format!("request {CARRIED_TO}/{name}");
    let held = shown(&site, "bob", &["Active", &grant, &origin]).await;
    assert!(!held.contains("it waits for"), "{held}");
    // By the name under which bob knows it. What he runs with the group ends with it, his shell included, so it may say nothing.
    let said = site.host.as_user("bob", &format!("lapse end {name}")).await.unwrap();
    let is_told = said.stdout == format!("Ended: {grant} (group ops).\n");
    assert!(is_told || said.status < 0 || said.status > 128, "{said:?}");
    assert!(!is_in_group(&site, "bob").await);
    let status = site.ended(&grant).await.status.unwrap();
    assert_eq!(status.end_reason, Some(EndReason::EndedByRequester));
    phase(&site, &name, RequestPhase::Ended).await;
}

/// Also what the cluster does not hear of does not begin on the host.
#[tokio::test]
async fn what_somebody_gives_up_does_not_begin() {
    let mut site = site("asked-back").await;
    let name = ask(&site, "bob", "--group ops").await;
    let said = site.host.as_user("bob", "lapse end").await.unwrap();
    assert_eq!(said.ok().unwrap(), format!("Withdrawn: {name} (group ops).\n"));
    phase(&site, &name, RequestPhase::Withdrawn).await;
    shown(&site, "bob", &["Withdrawn", &name]).await;

    let name = ask(&site, "bob", "--group ops").await;
    shown(&site, "bob", &["it waits for 1 of"]).await;
    site.host.cut().unwrap();
    // What it has not heard of a connection before, the agent knows from its disk.
    site.host.sh("systemctl restart lapse-agent").await.unwrap();
    let given_up = async || {
        let said = site.host.as_user("bob", &format!("lapse end {name}")).await?;
        assert!(said.status != 0, "{}", said.stdout);
        Ok(said.stderr.contains("nothing of it begins on this host").then_some(()))
    };
    eventually("it to be given up", SOON, given_up).await.unwrap();
    approve(&site, &name).await;
    site.host.join().unwrap();
    let failed = phase(&site, &name, RequestPhase::Failed).await;
    let why = serde_json::to_string(&failed).unwrap();
    assert!(why.contains("gave it up before it began"), "{why}");
    assert!(!is_in_group(&site, "bob").await);
    site.assert_clean().await;
}

/// Something that somebody does on the host and that goes on.
fn doing(site: &Site, user: &str, script: &str) -> Running {
    site.host.spawn(&["su", "--login", user, "--command", script]).unwrap()
}

/// Approves what is asked for at the moment of use, and waits for what comes of it.
async fn approved_meanwhile(site: &Site, running: &Running, user: &str) -> String {
    let begins = format!("{}-{user}-", site.name);
    let mut said = String::new();
    let asked = async || {
        said = running.said()?;
        assert!(running.exit().is_none(), "{said}");
        let words = said.split_whitespace().find(|word| word.starts_with(&begins));
        // Who must approve is told to whoever waits.
        Ok(words.filter(|_| said.contains("it waits for 1 of")).map(ToOwned::to_owned))
    };
    let name = eventually("it to be asked for", SOON, asked).await;
    let name = match name {
        Ok(name) => name,
        Err(error) => panic!("{error:#}: {said}; {}", site.journal().await),
    };
    approve(site, &name).await;
    tokio::time::timeout(SOON, running.wait()).await.unwrap().unwrap();
    running.said().unwrap()
}

#[tokio::test]
async fn what_is_needed_is_asked_for_at_the_moment_of_use() {
    let site = site("asked-use").await;
    // The gateway takes it by now.
    let name = ask(&site, "bob", "--group ops").await;
    site.host.as_user("bob", &format!("lapse end {name}")).await.unwrap().ok().unwrap();
    phase(&site, &name, RequestPhase::Withdrawn).await;

    // Who waits no longer leaves the request as it is.
    let run = "lapse run who --reason 'Who am I' --for 10m";
    let late = site.host.as_user("bob", &format!("{run} --timeout 2s")).await.unwrap();
    assert_eq!(late.status, 4, "{}", late.stderr);
    let name = late.stderr.split_whitespace().find(|word| word.starts_with("asked-use-bob-"));
    let name = name.unwrap().to_owned();
    let stays = format!("The request stays: `lapse status` shows it, `lapse end {name}` withdraws");
    assert!(late.stderr.contains(&stays), "{}", late.stderr);
    shown(&site, "bob", &["Pending", &name]).await;
    site.host.as_user("bob", &format!("lapse end {name}")).await.unwrap().ok().unwrap();
    phase(&site, &name, RequestPhase::Withdrawn).await;

    let said = approved_meanwhile(&site, &doing(&site, "bob", run), "bob").await;
    assert!(said.ends_with("root\n"), "{said}");
    // It is held now, and not asked for once more.
    let again = site.host.as_user("bob", run).await.unwrap();
    assert_eq!((again.stdout.as_str(), again.stderr.as_str()), ("root\n", ""));

    // The same of sudo, as what alice is in the cluster.
    let mode = "echo 'sudo -n id -u' | lapse mode --shell /bin/sh --end --reason 'A look inside' --ticket INC1";
    let running = doing(&site, "alice", mode);
    let said = approved_meanwhile(&site, &running, "alice").await;
    assert!(said.contains("1. Approval") && said.contains("\n0\n"), "{said}");
    assert!(said.contains("Ended: "), "{said}");
    assert!(!site.sudo("true").await);
    let name = said.split_whitespace().find(|word| word.starts_with("asked-use-alice-")).unwrap();
    let asked = site.carried().get(name).await.unwrap().spec;
    assert_eq!(asked.ticket.as_deref(), Some("INC1"));
    assert_eq!(asked.requester.unwrap().username, site.alice.name);

    // What is denied ends the wait, with why.
    let running = doing(&site, "alice", "lapse mode --reason 'Once more'");
    let mut last = String::new();
    let denied = async || {
        last = running.said()?;
        let word = last.split_whitespace().find(|word| word.starts_with("asked-use-alice-"));
        Ok(word.map(ToOwned::to_owned))
    };
    let name = eventually("it to be asked for", SOON, denied).await.unwrap();
    site.decide_in(CARRIED_TO, &site.bob, &name, "Deny").await.unwrap();
    tokio::time::timeout(SOON, running.wait()).await.unwrap().unwrap();
    let said = running.said().unwrap();
    assert!(said.contains("it is denied"), "{said}");
}

/// Who asks on and on keeps nobody else from asking.
#[tokio::test]
async fn who_asks_too_much_is_in_nobodys_way() {
    let site = site("asked-much").await;
    ask(&site, "alice", "--group ops").await;
    let mut told = String::new();
    for _ in 0..12 {
        let said =
            site.host.as_user("bob", "lapse request --group nowhere --reason x").await.unwrap();
        told.push_str(&said.stderr);
    }
    assert!(told.contains("you have asked 6 times within 5 minutes"), "{told}");
    shown(&site, "alice", &["it waits for 1 of"]).await;
    let name = site.host.as_user("alice", "lapse end").await.unwrap();
    assert!(name.ok().unwrap().starts_with("Withdrawn: "), "{}", site.journal().await);
}
