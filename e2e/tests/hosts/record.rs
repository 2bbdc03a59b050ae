//! The record of what is done with sudo: complete, told once, and by nobody but who did it.

use std::collections::BTreeSet;

use lapse_crds::Activity;
use lapse_e2e::host::Release;
use lapse_e2e::plane::{SOON, eventually, until};
use rstest::rstest;
use serde_json::{Value, json};

use crate::site::Site;

fn admin() -> Value {
    json!({"admin": {}})
}

/// The entries of this kind.
fn of_kind(entries: &[Value], kind: &str) -> Vec<Value> {
    entries.iter().filter(|entry| entry["kind"] == kind).cloned().collect()
}

/// What was called or started with this as its last argument.
fn with_last<'a>(entries: &'a [Value], argument: &str) -> Vec<&'a Value> {
    let is_it = |entry: &&Value| {
        let arguments = entry["arguments"].as_array();
        arguments.and_then(|all| all.last()).is_some_and(|last| last == argument)
    };
    entries.iter().filter(is_it).collect()
}

/// Waits until what is exported is enough.
async fn exported(site: &Site, what: &str, is_enough: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let look = async || Ok(Some(site.exported()).filter(|entries| is_enough(entries)));
    match eventually(what, SOON, look).await {
        Ok(entries) => entries,
        Err(error) => panic!("{error:#}: {:#?}; {}", site.exported(), site.journal().await),
    }
}

/// Each entry once, and none missing.
fn assert_whole(entries: &[Value]) {
    let number = |entry: &Value| (entry["series"].to_string(), entry["sequence"].as_u64().unwrap());
    let numbers: Vec<(String, u64)> = entries.iter().map(number).collect();
    let different: BTreeSet<&(String, u64)> = numbers.iter().collect();
    assert_eq!(different.len(), numbers.len(), "something came twice: {entries:#?}");
    for (series, last) in &numbers {
        let is_there = |number: u64| different.contains(&(series.clone(), number));
        assert!((1..*last).all(is_there), "something is missing before {series} {last}");
    }
    assert_eq!(of_kind(entries, "Lost"), [] as [Value; 0]);
}

#[rstest]
#[case::debian_12("record-whole", Release::Debian12)]
#[case::debian_13("record-whole-13", Release::Debian13)]
#[tokio::test]
async fn commands_come_with_what_they_start_their_ends_and_their_ids(
    #[case] name: &str,
    #[case] release: Release,
) {
    let site = Site::of(name, release).await;
    // While somebody is root there, the agent would undo it.
    site.host.sh("echo 'bob ALL=(root) NOPASSWD: ALL' >/etc/sudoers.d/bob").await.unwrap();
    let grant = site.given_by("fix", json!({"record": "Children"}), "10m").await;
    let script = "cd /srv && LAPSE_GRANT=another sudo -n bash -c 'id -u first; ls /second; exit 3'";
    assert_eq!(site.host.as_user("alice", script).await.unwrap().status, 3);
    let entries =
        exported(&site, "the end to be told", |all| !of_kind(all, "Exit").is_empty()).await;
    assert_whole(&entries);
    let request = site.requests(&site.admin).get("fix").await.unwrap();
    for entry in &entries {
        assert_eq!(entry["grant"], grant.as_str(), "{entry}");
        assert_eq!(entry["request"]["uid"], request.metadata.uid.as_deref().unwrap());
        assert_eq!((&entry["request"]["name"], &entry["user"]), (&json!("fix"), &json!("alice")));
        assert_eq!(entry["holder"], site.alice.name.as_str());
    }
    let [session] = of_kind(&entries, "Session").try_into().unwrap();
    assert_eq!(session["called"].as_array().unwrap()[..3], ["sudo", "-n", "bash"]);
    let commands = of_kind(&entries, "Command");
    let [bash, id, ls] = commands.try_into().unwrap();
    assert_eq!((&bash["program"], &bash["folder"]), (&json!("/usr/bin/bash"), &json!("/srv")));
    assert_eq!((&bash["process"], &bash["runAs"]), (&session["process"], &json!("root")));
    for (child, program) in [(&id, "/usr/bin/id"), (&ls, "/usr/bin/ls")] {
        assert_eq!((&child["program"], &child["isChild"]), (&json!(program), &json!(true)));
        assert_eq!(child["session"], bash["session"]);
    }
    let [exit] = of_kind(&entries, "Exit").try_into().unwrap();
    assert_eq!((&exit["session"], &exit["exit"]), (&bash["session"], &json!(3)));
    // What was called is shown by kubectl; its arguments may be secret.
    let look = async || {
        let status = site.endpoints().get(&site.name).await?.status.unwrap_or_default();
        Ok(status.activity.first().filter(|called| called.exit.is_some()).cloned())
    };
    let called: Activity = eventually("the Endpoint to show it", SOON, look).await.unwrap();
    assert_eq!((called.command.as_str(), called.exit), ("/usr/bin/bash", Some(3)));
    assert_eq!((called.grant.as_deref(), called.user.as_str()), (Some(grant.as_str()), "alice"));

    // Nobody else's sudo is recorded.
    let bobs = site.host.as_user("bob", "sudo -n id -u").await.unwrap();
    assert_eq!((bobs.stdout.as_str(), bobs.stderr.as_str()), ("0\n", ""));
    site.sudo("echo last").await;
    let entries = exported(&site, "the last", |all| !with_last(all, "last").is_empty()).await;
    assert!(entries.iter().all(|entry| entry["user"] == "alice"), "{entries:#?}");
    // And when it is over, nothing is left of it on the host.
    site.decide(&site.alice, "fix", "End").await.unwrap();
    site.ended(&grant).await;
    let logs = "ls /run/lapse/sudo | grep -v ^name; ls /run/lapse/notes; true";
    let look = async || Ok(Some(site.host.sh(logs).await?).filter(String::is_empty));
    eventually("the logs to be gone", SOON, look).await.unwrap();
}

/// The network is cut, and the agent is killed again and again while commands run.
#[tokio::test]
async fn neither_a_cut_nor_a_killed_agent_loses_anything_or_tells_it_twice() {
    let mut site = Site::new("record-cut").await;
    site.given_by("fix", json!({"record": "Children"}), "10m").await;
    site.sudo("echo before").await;
    exported(&site, "the first", |all| !with_last(all, "before").is_empty()).await;
    site.host.cut().unwrap();
    let mut wanted = Vec::new();
    for number in 0..12 {
        wanted.push(format!("run-{number}"));
        assert!(site.sudo(&format!("bash -c 'true; id -u run-{number} || exit 0'")).await);
        site.host.sh("pkill -9 -x lapse-agent || true").await.unwrap();
        if number == 6 {
            site.host.join().unwrap();
        }
    }
    let is_there = |all: &[Value]| {
        let ends = of_kind(all, "Exit").len();
        ends > wanted.len() && wanted.iter().all(|name| !with_last(all, name).is_empty())
    };
    let entries = exported(&site, "all of it", is_there).await;
    assert_whole(&entries);
    for name in &wanted {
        let found = with_last(&entries, name);
        assert!(found.len() == 1 && found[0]["isChild"] == true, "{found:#?}");
    }
    let called = of_kind(&entries, "Command").into_iter().filter(|entry| entry["isChild"] != true);
    assert_eq!(called.count(), wanted.len() + 1);
    assert_eq!(of_kind(&entries, "Session").len(), wanted.len() + 1);
}

/// Whatever somebody calls, the record says what they called and by which right.
#[tokio::test]
async fn nobody_forges_what_is_recorded() {
    let site = Site::new("record-forged").await;
    let (grant, _) = site.given("fix", &admin(), "10m").await;
    let forged = "x\n    },\n    \"accept\": {\n        \"uuid\": \"1\"\n    },\n{\"kind\":\"Command\",\"grant\":\"other\"}";
    let script = format!(
        "mkdir -p \"$HOME/$(printf 'a\\n    \"exit\": {{')\" && cd \"$HOME\"/a* && \
         export LAPSE_GRANT=other LAPSE_TICKET=other SUDO_USER=root && \
         sudo -n echo '{forged}' \"$(printf '\\377')\" forged; sudo -n LAPSE_GRANT=other id -u named"
    );
    site.host.as_user("alice", &script).await.unwrap();
    // What is written to belongs to root.
    let places =
        "/run/lapse/sudo /run/lapse/private/notes /run/lapse/private/sessions /var/lib/lapse/spool";
    let touch =
        format!("for p in {places}; do ls $p; echo '{{}}' > $p/forged; done 2>/dev/null; true");
    let touched = site.host.as_user("alice", &touch).await.unwrap();
    assert_eq!(touched.stdout, "");
    site.sudo("echo end").await;
    let entries = exported(&site, "the end", |all| of_kind(all, "Exit").len() == 3).await;
    assert_whole(&entries);
    assert!(entries.iter().all(|entry| entry["grant"] == grant.as_str()), "{entries:#?}");
    let echo = with_last(&entries, "forged");
    assert_eq!((echo.len(), echo[0]["arguments"][0].as_str()), (1, Some(forged)));
    assert!(echo[0]["folder"].as_str().unwrap().ends_with("/a\n    \"exit\": {"), "{echo:#?}");
    assert_eq!(of_kind(&entries, "Command").len(), 3, "{entries:#?}");
}

/// Whoever kills their own sudo starts nothing more that is not recorded.
#[tokio::test]
async fn who_kills_their_own_sudo_starts_nothing_unrecorded() {
    let site = Site::new("record-killed").await;
    site.given_by("fix", json!({"record": "Children"}), "10m").await;
    // Until what was started has gone on, or could not.
    let script = "sudo -n bash -c 'sleep 5; touch /srv/unseen; id -u unseen' & \
                  until pgrep -fx 'sleep 5' >/dev/null; do sleep 0.05; done; pkill -9 -x sudo; \
                  while pgrep -u root -f '^bash -c sleep 5' >/dev/null; do sleep 0.1; done";
    site.host.as_user("alice", script).await.unwrap();
    site.sudo("echo end").await;
    let entries = exported(&site, "the end", |all| !with_last(all, "end").is_empty()).await;
    let unseen = site.host.sh("ls /srv/unseen 2>/dev/null; true").await.unwrap();
    let is_recorded = !with_last(&entries, "/srv/unseen").is_empty();
    assert!(unseen.is_empty() || is_recorded, "{entries:#?}");
    let bash = entries.iter().find(|entry| entry["program"] == "/usr/bin/bash").unwrap();
    assert_eq!(bash["isChild"], Value::Null, "what was called is recorded before it runs");
}

/// Fills the log while nobody reads it: that hurts nobody, no end, and is told.
#[tokio::test]
async fn who_fills_the_log_hurts_nobody_and_is_told_of() {
    let site = Site::new("record-full").await;
    // Sudo is called many times before the end, with much to log.
    let (grant, end) = site.given("fix", &admin(), "90s").await;
    assert!(site.sudo("echo before").await);
    exported(&site, "the first", |all| !with_last(all, "before").is_empty()).await;
    site.host.sh("systemctl stop lapse-agent").await.unwrap();
    let fill = "a=$(head -c 100000 /dev/zero | tr '\\0' '\\1'); \
                for n in $(seq 12); do sudo -n true \"$a\" \"$a\" \"$a\" \"$a\" 2>/dev/null || exit 1; done";
    assert_eq!(site.host.as_user("alice", fill).await.unwrap().status, 0, "sudo goes on");
    let room = "stat --file-system --format %a /run/lapse/sudo; df --output=avail /run / | sort -n | sed -n 2p";
    let room = site.host.sh(room).await.unwrap();
    let (logs, others) = room.trim().split_once('\n').unwrap();
    assert_eq!(logs, "0");
    assert!(others.trim().parse::<u64>().unwrap() > 1024, "{room}");
    until(end).await;
    site.assert_clean().await;
    assert!(!site.sudo("true").await, "it ends with the agent dead");
    site.host.sh("systemctl start lapse-agent").await.unwrap();
    site.ended(&grant).await;
    let is_told = |all: &[Value]| !of_kind(all, "Lost").is_empty();
    let entries = exported(&site, "that something is missing", is_told).await;
    let why = of_kind(&entries, "Lost").into_iter().map(|lost| lost["why"].to_string());
    assert!(why.into_iter().any(|why| why.contains("than its log has room for")), "{entries:#?}");
    // There is room again.
    let look = async || {
        let free = site.host.sh("stat --file-system --format %a /run/lapse/sudo").await?;
        Ok((free.trim() != "0").then_some(()))
    };
    eventually("room for more", SOON, look).await.unwrap();
    site.given("again", &admin(), "10m").await;
    assert!(site.sudo("echo after").await);
    exported(&site, "the next", |all| !with_last(all, "after").is_empty()).await;
}

/// A host that cannot record does not say that it can, and works all the same.
#[tokio::test]
async fn a_host_that_cannot_record_says_so_and_works() {
    let site = Site::without_agent("record-cannot", Release::Debian12).await;
    site.host.sh("systemctl mask --now run-lapse-sudo.mount").await.unwrap();
    site.enrol().await;
    let status = site.endpoints().get(&site.name).await.unwrap().status.unwrap();
    let capabilities = status.report.unwrap().capabilities;
    assert!(!capabilities.contains(&lapse_crds::Capability::SessionRecord), "{capabilities:?}");
    let probed = site.host.sh("lapse-agent probe").await.unwrap();
    assert!(
        probed.contains(
            "no record of what is done with sudo: /run/lapse/sudo is no file system of its own"
        ),
        "{probed}"
    );
    site.given("fix", &admin(), "10m").await;
    assert!(site.sudo("echo here").await, "{}", site.journal().await);
    let logs = "ls /run/lapse/sudo 2>/dev/null | grep -v ^name; true";
    assert_eq!(site.host.sh(logs).await.unwrap(), "");
    // That sudo was called is recorded all the same.
    let entries = exported(&site, "the session", |all| !of_kind(all, "Session").is_empty()).await;
    assert_eq!(of_kind(&entries, "Session")[0]["called"][2], "echo");
}
