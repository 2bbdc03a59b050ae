//! Who is answered what, by whom the kernel says that they are.

use std::io::{BufRead as _, BufReader, Write as _};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use chrono::TimeDelta;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::right::{Elevation, Right};

const AL: Peer = Peer { uid: 1000, pid: Some(7) };
const BO: Peer = Peer { uid: 1001, pid: Some(8) };
const ROOT: Peer = Peer { uid: 0, pid: Some(9) };

fn record(grant: &str, uid: u32, stage: Stage) -> Record {
    let now = HostClock.read().unwrap();
    let right = Right {
        user: format!("u{uid}"),
        uid,
        starts_at: now.wall,
        expires_at: now.wall + TimeDelta::hours(1),
        elevation: Elevation::Admin,
        log_off: false,
        containment: None,
        records_children: false,
    };
    Record { stage, ..Record::received(grant.into(), "u".into(), right, &now) }
}

/// A desk that knows of these, what it is asked by, and what it hands on.
struct Fixture {
    _folder: tempfile::TempDir,
    desk: Desk,
    _known: watch::Sender<Known>,
    tasks: Receiver<Task>,
}

fn desk(records: Vec<Record>, room: usize) -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let (known, seen) = watch::channel(Arc::new(records));
    let (sender, tasks) = sync_channel(room);
    let places = Places::under(folder.path());
    std::fs::create_dir_all(places.at("/etc")).unwrap();
    let users = "al:x:1000:1000::/:/bin/sh\nbo:x:1001:1001::/:/bin/sh\nbob:x:1001:1001::/:/bin/sh\nroot:x:0:0::/:/bin/sh\n";
    std::fs::write(places.at("/etc/passwd"), users).unwrap();
    let host = Host { name: "web-1".into(), uid: "e-1".into() };
    let desk = Desk::new(places, (host, HostKey::from_seed(&[5; 32])), seen, sender);
    Fixture { _folder: folder, desk, _known: known, tasks }
}

/// What is answered on the wire.
fn ask(desk: &Desk, peer: Peer, line: &str) -> Vec<Value> {
    let (own, mut other) = UnixStream::pair().unwrap();
    other.write_all(line.as_bytes()).unwrap();
    assert!(desk.serve(&own, peer).is_none());
    drop(own);
    let lines = BufReader::new(other).lines().map_while(Result::ok);
    lines.map(|line| serde_json::from_str(&line).unwrap()).collect()
}

#[rstest]
#[case::who_the_kernel_says(AL, Ok("al"))]
#[case::two_of_one_number(
    BO,
    Err("2 local users of this host have the user ID 1001, and it must be one")
)]
#[case::nobody(
    Peer { uid: 4000, pid: None },
    Err("0 local users of this host have the user ID 4000, and it must be one")
)]
#[case::root(
    ROOT,
    Err(
        "root belongs to nobody in the cluster: request as the local user that is yours, without sudo"
    )
)]
fn it_is_stated_who_asks(#[case] peer: Peer, #[case] expected: Result<&str, &str>) {
    let digest = format!("sha256:{}", "0".repeat(64));
    let line = json!({"version": 1, "command": "prove", "digest": digest}).to_string();
    let answers = ask(&desk(vec![], 1).desk, peer, &format!("{line}\n"));
    let origin = &answers[0]["origin"];
    match expected {
        Ok(name) => assert_eq!(
            (&origin["localUser"], &origin["endpoint"], &answers[1]["answer"]),
            (&json!(name), &json!("web-1"), &json!("done"))
        ),
        Err(message) => assert_eq!(answers, [json!({"answer": "refused", "message": message})]),
    }
}

fn all() -> Vec<Record> {
    vec![
        record("of-al", 1000, Stage::Active),
        record("of-al-too", 1000, Stage::Ending),
        record("was-al's", 1000, Stage::Over),
        record("of-bo", 1001, Stage::Active),
    ]
}

#[rstest]
#[case::the_holder_sees_their_own(AL, &["of-al", "of-al-too"])]
#[case::so_does_another(BO, &["of-bo"])]
#[case::who_holds_nothing_sees_nothing(Peer { uid: 1002, pid: None }, &[])]
#[case::root_sees_all(ROOT, &["of-al", "of-al-too", "of-bo"])]
fn who_sees_what(#[case] peer: Peer, #[case] expected: &[&str]) {
    let fixture = desk(all(), 1);
    let answers = ask(&fixture.desk, peer, "{\"version\":1,\"command\":\"status\"}\n");
    assert_eq!(answers[0]["endpoint"], "web-1");
    assert_eq!(answers.last().unwrap(), &json!({"answer": "done"}));
    let held = answers[1..answers.len() - 1].iter().map(|held| held["grant"].as_str().unwrap());
    assert_eq!(held.collect::<Vec<_>>(), expected);
}

/// Nobody is somebody else by saying so.
#[test]
fn what_somebody_says_of_themselves_is_not_believed() {
    let fixture = desk(all(), 1);
    let answers =
        ask(&fixture.desk, AL, "{\"version\":1,\"command\":\"status\",\"uid\":0,\"pid\":1}\n");
    assert_eq!(answers.len(), 1);
    assert_eq!(answers[0]["answer"], "refused");
}

#[test]
fn the_errors_of_the_connection_are_for_root() {
    let fixture = desk(all(), 1);
    std::fs::create_dir_all(fixture.desk.places.private()).unwrap();
    let now = HostClock.read().unwrap().wall;
    Standing::failed(None, "reaching 10.0.0.1".into(), now).write(&fixture.desk.places);
    let error = |peer| {
        let answers = ask(&fixture.desk, peer, "{\"version\":1,\"command\":\"status\"}\n");
        assert_eq!(answers[0]["connection"]["isConnected"], false);
        answers[0]["connection"]["lastError"][1].clone()
    };
    assert_eq!((error(AL), error(ROOT)), (Value::Null, json!("reaching 10.0.0.1")));
}

#[rstest]
#[case::the_only_one(BO, None, Ok("of-bo"))]
#[case::by_name(AL, Some("of-al"), Ok("of-al"))]
#[case::one_of_several(AL, None, Err("say which one: lapse end of-al, or lapse end of-al-too"))]
#[case::anothers(
    AL,
    Some("of-bo"),
    Err("you hold no Grant of-bo on this host: `lapse status` shows what you hold")
)]
#[case::none_at_all(
    AL,
    Some("x\u{1b}"),
    Err("you hold no Grant x? on this host: `lapse status` shows what you hold")
)]
#[case::what_is_over(
    AL,
    Some("was-al's"),
    Err("you hold no Grant was-al's on this host: `lapse status` shows what you hold")
)]
#[case::what_ends_already(
    AL,
    Some("of-al-too"),
    Err("of-al-too is being ended already, and not gone yet")
)]
#[case::nothing(Peer { uid: 1002, pid: None }, None, Err("you hold nothing on this host that could end"))]
#[case::root_names_it(ROOT, Some("of-bo"), Ok("of-bo"))]
#[case::root_is_not_guessed_for(
    ROOT,
    None,
    Err("say which one: lapse end of-al, or lapse end of-al-too, or lapse end of-bo")
)]
fn who_ends_what(
    #[case] peer: Peer,
    #[case] grant: Option<&str>,
    #[case] expected: Result<&str, &str>,
) {
    let end = End { grant: grant.map(str::to_owned) };
    let known = all();
    let chosen = choose(&known, &end, peer).map(|record| record.grant.as_str());
    assert_eq!(chosen, expected.map_err(str::to_owned));
}

fn end(desk: &Desk, peer: Peer, grant: &str) -> Value {
    let line = format!("{{\"version\":1,\"command\":\"end\",\"grant\":\"{grant}\"}}\n");
    ask(desk, peer, &line).remove(0)
}

#[rstest]
#[case::gone(Ok(true), json!({"answer": "done", "message": "Ended: of-al (sudo)."}))]
#[case::not_gone(Ok(false), json!({"answer": "refused", "message": "of-al is being ended, and not gone yet: `lapse status` says what keeps it"}))]
#[case::failed(Err("the disk is gone".to_owned()), json!({"answer": "refused", "message": "of-al cannot be ended: the disk is gone"}))]
fn what_came_of_an_end_is_said(#[case] ended: Result<bool, String>, #[case] expected: Value) {
    let Fixture { desk, tasks, .. } = desk(all(), 1);
    let working = std::thread::spawn(move || {
        let Task::EndHere(EndHere { id, uid, done }) = tasks.recv().unwrap() else {
            panic!("another task")
        };
        assert_eq!((id, uid), (Id::of("of-al"), 1000));
        done.try_send(ended).unwrap();
    });
    assert_eq!(end(&desk, AL, "of-al"), expected);
    working.join().unwrap();
}

#[test]
fn a_worker_that_has_enough_to_do_is_not_waited_for() {
    let Fixture { desk, tasks, .. } = desk(all(), 0);
    let busy =
        json!({"answer": "refused", "message": "the agent has much to do: try again in a moment"});
    assert_eq!(end(&desk, AL, "of-al"), busy);
    drop(tasks);
    let stopping =
        json!({"answer": "refused", "message": "the agent is stopping: try again when it is back"});
    assert_eq!(end(&desk, AL, "of-al"), stopping);
}

/// However many people end at once, the gateway finds room in the queue.
#[test]
fn few_ends_wait_at_once() {
    let Fixture { desk, tasks, .. } = desk(all(), 64);
    let held: Vec<_> = (0..MOST_ENDS).map(|_| desk.ends.try_acquire().unwrap()).collect();
    assert_eq!(end(&desk, AL, "of-al")["answer"], "refused");
    assert!(tasks.try_recv().is_err());
    drop(held);
}

fn application(grant: &str, uid: u32, stage: Stage) -> Record {
    let mut record = record(grant, uid, stage);
    let path = "/usr/bin/dump".to_owned();
    let program =
        lapse_crds::Program { path, sha256: None, package: None, args: vec![], env: vec![] };
    record.right.as_mut().unwrap().elevation =
        Elevation::Application { name: "dump".into(), program };
    record
}

const NOT_HELD: &str = "you hold no application dump on Endpoint web-1. Request it, for example with `kubectl jit request \
                        --endpoint web-1 --application dump --for 30m --reason '…'`, and try again when `lapse run --list` \
                        shows it";
const NOTHING_HANDED: &str = "a program needs three descriptors, for its standard input, output and error, and 0 were handed \
                              over: use `lapse run` of the agent's own package";

/// An application is its holder's alone: not even root runs what somebody else was given.
#[rstest]
#[case::nobodys(BO, NOT_HELD)]
#[case::anothers(ROOT, NOT_HELD)]
#[case::ones_own(AL, NOTHING_HANDED)]
#[case::not_yet(Peer { uid: 1002, pid: None }, NOT_HELD)]
fn who_runs_what(#[case] peer: Peer, #[case] expected: &str) {
    let known = vec![
        application("of-al", 1000, Stage::Active),
        application("later", 1002, Stage::Received),
    ];
    let fixture = desk(known, 1);
    let run = "{\"version\":1,\"command\":\"run\",\"application\":\"dump\"}\n";
    let answers = ask(&fixture.desk, peer, run);
    assert_eq!(answers, [json!({"answer": "refused", "message": expected})]);
}

/// What is known here may be older than what is on the disk, and that counts.
#[test]
fn what_has_just_ended_is_not_started() {
    let fixture = desk(vec![application("of-al", 1000, Stage::Active)], 1);
    let null = || std::fs::File::open("/dev/null").unwrap().into();
    let run = Run { application: "dump".into() };
    let refused = fixture.desk.run(&run, AL, vec![null(), null(), null()]).unwrap_err();
    assert_eq!(refused, "your access to it has ended: request it again");
}
