//! People on the host: what they see, end and are told, and that nobody of them is in another's way.

use std::time::{Duration, Instant};

use lapse_crds::{Conditions as _, EndReason, RequestPhase};
use lapse_e2e::host::Release;
use lapse_e2e::plane::{SOON, eventually, until};
use rstest::rstest;
use serde_json::{Value, json};

use crate::corner::SHORT;
use crate::site::Site;

fn admin() -> Value {
    json!({"admin": {}})
}

/// One command: what ends with it is no shell that somebody sits in, as it is with a group.
fn commands() -> Value {
    json!({"commands": [{"path": "/usr/bin/id", "args": ["-u"]}]})
}

/// What somebody says to the socket, as it is: a line, and then what is answered.
fn raw(line: &str) -> String {
    format!(
        "perl -MIO::Socket::UNIX -e 'my $s = IO::Socket::UNIX->new(Peer => \"/run/lapse/agent.sock\") or die $!; \
         print $s q({line}), \"\\n\"; $s->flush; print while <$s>'"
    )
}

#[rstest]
#[case::debian_12(Release::Debian12)]
#[case::debian_13(Release::Debian13)]
#[tokio::test]
async fn nobody_sees_or_ends_what_is_anothers(#[case] release: Release) {
    let site = Site::of(&format!("people-{release:?}").to_lowercase(), release).await;
    let (grant, _) = site.given("fix", &admin(), "10m").await;
    let name = &site.name;
    let own = site.host.as_user("alice", "lapse status").await.unwrap().ok().unwrap();
    for part in
        [grant.as_str(), &format!("request {name}/fix"), "Active", "sudo", "connected since"]
    {
        assert!(own.contains(part), "{part}: {own}");
    }
    // A command that runs under it is hers to see.
    site.host.as_user("alice", "sudo -n sleep 301 >/dev/null 2>&1 &").await.unwrap();
    let json = "lapse status --output json";
    let running = async || {
        let said = site.host.as_user("alice", json).await?.ok()?;
        let standing: Value = serde_json::from_str(&said)?;
        Ok(standing["held"][0]["processes"].to_string().contains("sleep 301").then_some(standing))
    };
    let standing = eventually("what runs to be shown", SOON, running).await.unwrap();
    let left = standing["held"][0]["secondsLeft"].as_u64().unwrap();
    assert!((500..600).contains(&left), "{left}");

    let bobs = site.host.as_user("bob", "lapse status").await.unwrap().ok().unwrap();
    assert!(bobs.contains("You hold nothing here.") && !bobs.contains(&grant), "{bobs}");
    for bob in [
        format!("lapse end {grant}"),
        "lapse end".to_owned(),
        "lapse mode".to_owned(),
        "ls /run/lapse".to_owned(),
        "ls /run/lapse/private".to_owned(),
        "test -e /run/lapse/private/running".to_owned(),
        "rm -f /run/lapse/agent.sock && test ! -e /run/lapse/agent.sock".to_owned(),
    ] {
        let answer = site.host.as_user("bob", &bob).await.unwrap();
        assert_ne!(answer.status, 0, "{bob}: {}", answer.stdout);
        assert!(!answer.stderr.contains("sleep 301"), "{bob}: {}", answer.stderr);
    }
    // Nobody is root by saying so.
    for line in [
        r#"{"version":1,"command":"status","uid":0}"#,
        r#"{"version":1,"command":"end","grant":"GRANT","uid":1000}"#,
        r#"{"version":2,"command":"status"}"#,
        r#"{"version":1,"command":"own"}"#,
        "hello",
    ] {
        let line = line.replace("GRANT", &grant);
        let said = site.host.as_user("bob", &raw(&line)).await.unwrap().ok().unwrap();
        let said: Value = serde_json::from_str(said.trim()).unwrap();
        assert_eq!(said["answer"], "refused", "{line}: {said}");
    }
    assert!(site.sudo("true").await, "{}", site.journal().await);
    let roots = site.host.sh("lapse status").await.unwrap();
    assert!(roots.contains(&grant) && roots.contains("alice"), "{roots}");

    // What root ends is as if it had been taken away by hand.
    let said = site.host.sh(&format!("lapse end {grant}")).await.unwrap();
    assert_eq!(said, format!("Ended: {grant} (sudo).\n"));
    assert!(!site.sudo("true").await);
    let status = site.ended(&grant).await.status.unwrap();
    assert_eq!(status.end_reason, Some(EndReason::BindingDeleted));
    site.assert_clean().await;

    site.host.sh("systemctl stop lapse-agent").await.unwrap();
    let nobody = site.host.as_user("alice", "lapse status").await.unwrap();
    assert!(nobody.stderr.contains("the agent of this host does not run"), "{}", nobody.stderr);
}

/// At once, without a network; and the cluster knows later that it was she.
#[tokio::test]
async fn who_holds_a_right_ends_it_without_a_network() {
    let mut site = Site::new("people-end").await;
    let (grant, _) = site.given("fix", &admin(), "10m").await;
    let (other, _) = site.given("other", &commands(), "10m").await;
    let sleeper = "sudo -n bash -c 'trap \"\" TERM HUP; exec sleep 302' >/dev/null 2>&1 &";
    site.host.as_user("alice", sleeper).await.unwrap();
    let sleeps = async || site.host.run(&["pgrep", "-fx", "sleep 302"]).await.unwrap().status == 0;
    eventually("it to run", SOON, async || Ok(sleeps().await.then_some(()))).await.unwrap();
    site.host.cut().unwrap();
    let several = site.host.as_user("alice", "lapse end").await.unwrap();
    assert!(several.status != 0 && several.stderr.contains("say which one"), "{}", several.stderr);
    let began = Instant::now();
    let said = site.host.as_user("alice", &format!("lapse end {grant}")).await.unwrap();
    println!("ended in {:?}", began.elapsed());
    assert_eq!(said.ok().unwrap(), format!("Ended: {grant} (sudo).\n"));
    assert!(!site.sudo("true").await);
    assert_eq!(site.host.run(&["pgrep", "-fx", "sleep 302"]).await.unwrap().status, 1);
    // Now there is one alone.
    let said = site.host.as_user("alice", "lapse end").await.unwrap().ok().unwrap();
    assert_eq!(said, format!("Ended: {other} (sudo /usr/bin/id -u).\n"));
    site.assert_clean().await;
    let nothing = site.host.as_user("alice", "lapse end").await.unwrap();
    assert!(nothing.stderr.contains("you hold nothing on this host"), "{}", nothing.stderr);
    // Whatever happens before it can be told.
    site.host.sh("systemctl kill --signal=KILL lapse-agent").await.unwrap();
    site.host.join().unwrap();
    for grant in [grant, other] {
        let status = site.ended(&grant).await.status.unwrap();
        assert_eq!(status.end_reason, Some(EndReason::EndedByRequester));
        let ended = status.conditions.condition("Ended").unwrap();
        let words = "Ended early on Endpoint people-end by its local user alice.";
        assert_eq!((ended.reason.as_str(), ended.message.as_str()), ("Verified", words));
    }
    site.phase("fix", RequestPhase::Ended).await;
}

/// Who connects and says nothing, however often, or too much.
#[tokio::test]
async fn a_crowd_keeps_nobody_out() {
    let site = Site::new("people-crowd").await;
    let (grant, _) = site.given("fix", &admin(), "10m").await;
    let crowd = "perl -MIO::Socket::UNIX -e '\
                 $SIG{PIPE} = \"IGNORE\"; my @all; \
                 while (1) { \
                   for (1 .. 200) { \
                     my $s = IO::Socket::UNIX->new(Peer => \"/run/lapse/agent.sock\") or next; \
                     push @all, $s; print $s \"x\" x 1048576 if $_ % 50 == 0; \
                   } \
                   @all = (); \
                 }'";
    let bobs: Vec<_> = (0..3)
        .map(|_| site.host.spawn(&["su", "--login", "bob", "--command", crowd]).unwrap())
        .collect();
    let busy = async || {
        let said = site.host.as_user("bob", "lapse status").await?;
        Ok(said.stderr.contains("you have 4 connections to the agent already").then_some(()))
    };
    eventually("bob to have taken what he gets", SOON, busy).await.unwrap();
    for user in ["alice", "root", "alice", "root"] {
        let began = Instant::now();
        let said = site.host.as_user(user, "lapse status").await.unwrap().ok().unwrap();
        println!("{user} was answered in {:?}", began.elapsed());
        assert!(said.contains(&grant), "{said}");
        assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    }
    // Nor is the worker kept from anything.
    let began = Instant::now();
    let (second, _) = site.given("second", &commands(), "10m").await;
    println!("given in {:?}", began.elapsed());
    let said = site.host.as_user("alice", &format!("lapse end {second}")).await.unwrap();
    assert!(said.ok().unwrap().starts_with("Ended: "), "{}", site.journal().await);
    let said = site.host.as_user("alice", &format!("lapse end {grant}")).await.unwrap();
    assert!(said.ok().unwrap().starts_with("Ended: "), "{}", site.journal().await);
    site.ended(&grant).await;
    let (third, end) = site.given("third", &admin(), SHORT).await;
    until(end).await;
    eventually("the right to be gone", SOON, async || Ok((!site.sudo("true").await).then_some(())))
        .await
        .unwrap();
    println!("gone {} after the end", lapse_cluster::clock::now() - end);
    site.ended(&third).await;
    drop(bobs);
    let memory = "systemctl show --property=MemoryPeak,NRestarts lapse-agent";
    println!("{}", site.host.sh(memory).await.unwrap());
}

/// A terminal of alice's that shows into a file what it shows.
fn terminal(file: &str, inside: &str) -> Vec<String> {
    let script = format!("script --quiet --flush --command '{inside}' /tmp/{file} >/dev/null");
    ["su", "--login", "alice", "--command", &script].map(str::to_owned).into()
}

/// Each is told once, whoever restarts, and whatever her other terminals take.
#[tokio::test]
async fn a_holder_is_told_and_a_stopped_terminal_delays_nothing() {
    let site = Site::new("people-told").await;
    let stopped =
        terminal("stopped", "perl -MPOSIX -e \"POSIX::tcflow(1, POSIX::TCOOFF()); sleep 600\"");
    let open = terminal("open", "sleep 601");
    let spawn = |words: &[String]| {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        site.host.spawn(&words).unwrap()
    };
    let _terminals = [spawn(&stopped), spawn(&open)];
    let there = async || {
        let both = site.host.run(&["pgrep", "-fx", "sleep 601"]).await?.status == 0
            && site.host.run(&["pgrep", "-f", "^perl -MPOSIX"]).await?.status == 0;
        Ok(both.then_some(()))
    };
    eventually("the terminals", SOON, there).await.unwrap();
    let shown = async || site.host.sh("cat /tmp/open").await.unwrap();
    let told = async |words: &str, times: usize| {
        let look = async || Ok((shown().await.matches(words).count() >= times).then_some(()));
        if let Err(error) = eventually(words, SOON, look).await {
            panic!("{error:#}: {}; {}", shown().await, site.journal().await);
        }
    };

    // Warnings that are over when it begins are not told.
    let (grant, end) = site.given("fix", &admin(), "50s").await;
    told("Lapse: you have sudo on this host until ", 1).await;
    // 20 s before the end, and 5 s before it.
    let warning = "your access to this host (sudo, request people-told/fix) ends in ";
    told(warning, 1).await;
    site.host.sh("systemctl restart lapse-agent").await.unwrap();
    told(warning, 2).await;
    until(end).await;
    eventually("the right to be gone", SOON, async || Ok((!site.sudo("true").await).then_some(())))
        .await
        .unwrap();
    site.ended(&grant).await;
    let said = shown().await;
    for (words, times) in [("you have sudo on this host", 1), (warning, 2)] {
        assert_eq!(said.matches(words).count(), times, "{words}: {said}");
    }
    assert!(!said.contains("before its time"), "{said}");

    // By the list of the policy, and at an early end.
    let mut offer = commands();
    offer["names"] = json!([site.name]);
    site.policy_named("people-told-list", offer, json!({"warnings": ["9m30s"]})).await;
    site.ask_by("people-told-list", "list", &commands(), "10m").await;
    site.decide(&site.bob, "list", "Approve").await.unwrap();
    let grant = site.phase("list", RequestPhase::Active).await.grant.unwrap().name;
    told("you have sudo /usr/bin/id -u on this host", 1).await;
    told("people-told/list) ends in 9m", 1).await;
    site.host.as_user("alice", &format!("lapse end {grant}")).await.unwrap().ok().unwrap();
    told("has ended before its time: ended on the host by alice", 1).await;
    let stopped = site.host.sh("cat /tmp/stopped").await.unwrap();
    assert!(!stopped.contains("Lapse: "), "it shows nothing: {stopped}");
}

/// The mode is alice's own shell; leaving it ends the access.
#[tokio::test]
async fn somebody_is_in_the_mode_and_leaves_it() {
    let site = Site::new("people-mode").await;
    let mode = async |inside: &str, options: &str| {
        let script = format!("echo '{inside}' | lapse mode --shell /bin/sh {options}");
        site.host.as_user("alice", &script).await.unwrap()
    };
    let none = mode("true", "").await;
    assert!(none.status != 0 && none.stderr.contains("you hold no sudo"), "{}", none.stderr);
    let (grant, _) = site.given("fix", &admin(), "10m").await;
    let inside = "id -un; sudo -n id -u; echo $LAPSE_GRANT; lapse mode --prompt; lapse mode";
    let kept = mode(inside, "--keep").await;
    let expected = format!("alice\n0\n{grant}\n(lapse 9m) ");
    assert_eq!(kept.stdout, expected, "{}", kept.stderr);
    for part in
        ["1. Approval", "2. The mode", "3. The children", "is in the mode of", "goes on until"]
    {
        assert!(kept.stderr.contains(part), "{part}: {}", kept.stderr);
    }
    assert!(site.sudo("true").await, "{}", site.journal().await);

    // It ends while she is inside, and her shell goes on.
    let goes_on = "this shell goes on as an ordinary one";
    let inside = format!(
        "lapse end {grant}; until grep -q \"{goes_on}\" /tmp/mode; do sleep 0.1; done; sudo -n true; echo on $?"
    );
    let over = mode(&inside, "2>/tmp/mode").await;
    assert!(over.stdout.contains("Ended: ") && over.stdout.contains("on 1"), "{}", over.stdout);
    site.ended(&grant).await;

    let (grant, _) = site.given("again", &admin(), "10m").await;
    let left = mode("exit 7", "").await;
    assert_eq!(left.status, 7, "{}", left.stderr);
    assert!(left.stderr.contains(&format!("Ended: {grant}")), "{}", left.stderr);
    assert!(!site.sudo("true").await);
    let status = site.ended(&grant).await.status.unwrap();
    assert_eq!(status.end_reason, Some(EndReason::EndedByRequester));
}
