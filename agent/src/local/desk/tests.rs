//! Who is answered what, by whom the kernel says that they are.

use std::io::{BufRead as _, BufReader, Write as _};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use chrono::TimeDelta;
use lapse_wire::{Asked, Progress, from_agent};
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::requests::{self, courier::Courier};
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
    courier: Courier,
}

fn desk(records: Vec<Record>, room: usize) -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let (known, seen) = watch::channel(Arc::new(records));
    let (sender, tasks) = sync_channel(room);
    let places = Places::under(folder.path());
    std::fs::create_dir_all(places.at("/etc")).unwrap();
    std::fs::create_dir_all(places.state()).unwrap();
    let users = "al:x:1000:1000::/:/bin/sh\nbo:x:1001:1001::/:/bin/sh\nbob:x:1001:1001::/:/bin/sh\nroot:x:0:0::/:/bin/sh\n";
    std::fs::write(places.at("/etc/passwd"), users).unwrap();
    let host = Host { name: "web-1".into(), uid: "e-1".into() };
    let own = (host, HostKey::from_seed(&[5; 32]));
    let (counter, courier) = requests::open(&places, own.0.clone(), own.1.clone());
    let desk = Desk::new(places, own, seen, sender, counter);
    Fixture { _folder: folder, desk, _known: known, tasks, courier }
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
    let Fixture { _folder, desk, courier, .. } = desk(vec![], 1);
    let answers = ask(&desk, peer, &format!("{line}\n"));
    let origin = &answers[0]["origin"];
    match expected {
        Ok(name) => assert_eq!(
            (&origin["localUser"], &origin["endpoint"], &answers[1]["answer"]),
            (&json!(name), &json!("web-1"), &json!("done"))
        ),
        Err(message) => {
            let refused = [json!({"answer": "refused", "message": message})];
            assert_eq!(answers, refused);
            // Nor does the agent ask for anything itself for them.
            courier.opened("ops");
            let request = "{\"version\":1,\"command\":\"request\",\"admin\":true}\n";
            assert_eq!(ask(&desk, peer, request), refused);
        }
    }
}

/// What is answered to somebody while the gateway says this of what they request.
fn asks(desk: &Desk, courier: &mut Courier, peer: Peer, error: &str) -> Vec<Value> {
    let request = "{\"version\":1,\"command\":\"request\",\"groups\":[\"adm\"]}\n";
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| ask(desk, peer, request));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let from_agent::Message::Ask(said) = runtime.block_on(courier.next()) else {
            panic!("nothing is asked for")
        };
        let said: Value = serde_json::from_str(&said.json).unwrap();
        assert_eq!(said["spec"]["origin"]["localUser"], "al");
        let name = said["metadata"]["name"].as_str().unwrap().to_owned();
        let (is_withdrawal, error) = (false, error.to_owned());
        courier.hear(Asked { name, is_withdrawal, error });
        asking.join().unwrap()
    })
}

/// It is theirs to see, and nobody else's but root's; and theirs alone to give up.
#[test]
fn who_requests_sees_and_ends_their_own() {
    let Fixture { _folder, desk, mut courier, .. } = desk(vec![], 1);
    let status = |peer| ask(&desk, peer, "{\"version\":1,\"command\":\"status\"}\n");
    courier.opened("ops");
    let refused = asks(&desk, &mut courier, AL, "no policy offers it");
    assert_eq!(refused, [json!({"answer": "refused", "message": "no policy offers it"})]);
    assert_eq!(status(AL).len(), 2);
    let answers = asks(&desk, &mut courier, AL, "");
    let [requested, done] = answers.as_slice() else { panic!("{answers:?}") };
    assert_eq!(done, &json!({"answer": "done"}));
    let name = requested["name"].as_str().unwrap().to_owned();
    let (phase, waiting_for) = ("Pending".to_owned(), "1 of olga".to_owned());
    let progress = Progress { name: name.clone(), phase, waiting_for, why: String::new() };
    courier.note(&progress, HostClock.read().unwrap().wall);
    for peer in [AL, ROOT] {
        let shown = &status(peer)[1];
        let expected = json!({
            "answer": "requested", "name": name, "namespace": "ops", "user": "al", "what": "group adm",
            "since": requested["since"], "phase": "Pending", "waitingFor": "1 of olga",
        });
        assert_eq!(shown, &expected);
    }
    assert_eq!(status(Peer { uid: 1002, pid: None }).len(), 2);
    let not_theirs = |peer| {
        let answer = end(&desk, peer, &name);
        assert!(answer["message"].as_str().unwrap().starts_with("you neither hold"), "{answer}");
    };
    not_theirs(ROOT);
    not_theirs(BO);
    courier.lost();
    let given_up = end(&desk, AL, &name);
    let said = given_up["message"].as_str().unwrap();
    assert!(said.contains("nothing of it begins on this host"), "{said}");
}

/// Its order may have been judged a moment before.
#[test]
fn what_is_given_up_ends_if_it_has_begun() {
    let Fixture { _folder, desk, mut courier, tasks, .. } = desk(vec![], 1);
    courier.opened("ops");
    let name = asks(&desk, &mut courier, AL, "")[0]["name"].as_str().unwrap().to_owned();
    courier.lost();
    end(&desk, AL, &name);
    let Task::GivenUp { request, uid } = tasks.try_recv().unwrap() else { panic!("another task") };
    assert_eq!((request, uid), (format!("ops/{name}"), 1000));
    // Whoever says so again and again keeps the worker from nothing.
    end(&desk, AL, &name);
    assert!(tasks.try_recv().is_err());
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
