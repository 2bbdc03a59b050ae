//! On a real socket, by a process that is one person.

use std::io::{Read as _, Write as _};
use std::sync::mpsc::sync_channel;
use std::time::Instant;

use tokio::sync::watch;
use tokio::task::spawn_blocking;

use super::*;
use crate::identity::HostKey;

const STATUS: &[u8] = b"{\"version\":1,\"command\":\"status\"}\n";

/// A socket whose only residents are root and who runs this.
fn serving() -> (tempfile::TempDir, Places) {
    let folder = tempfile::tempdir().unwrap();
    let places = Places::under(folder.path());
    fs::create_dir_all(places.private()).unwrap();
    fs::create_dir_all(places.at("/etc")).unwrap();
    let uid = nix::unistd::geteuid();
    fs::write(places.at("/etc/passwd"), format!("me:x:{uid}:1::/:/bin/sh\n")).unwrap();
    let listener = open(&places).unwrap();
    tokio::spawn(serve(listener, places.clone(), desk(&places)));
    (folder, places)
}

fn desk(places: &Places) -> Arc<Desk> {
    let (_, known) = watch::channel(Arc::default());
    let (tasks, _) = sync_channel(1);
    let host = lapse_engine::order::Host { name: "web-1".into(), uid: "e-1".into() };
    let own = (host, HostKey::from_seed(&[5; 32]));
    let (counter, _courier) = crate::requests::open(places, own.0.clone(), own.1.clone());
    Arc::new(Desk::new(places.clone(), own, known, tasks, counter))
}

fn said(mut stream: &UnixStream) -> String {
    let mut said = String::new();
    // Who is hung up on with something unread is told so.
    let _ = stream.read_to_string(&mut said);
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_may_ask() {
    let (_folder, places) = serving();
    let mode = fs::metadata(places.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o666);
    let answer = spawn_blocking(move || {
        let mut stream = UnixStream::connect(places.socket()).unwrap();
        stream.write_all(STATUS).unwrap();
        said(&stream)
    });
    let answer = answer.await.unwrap();
    assert_eq!(
        answer,
        "{\"answer\":\"agent\",\"version\":1,\"endpoint\":\"web-1\"}\n{\"answer\":\"done\"}\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_nothing_keeps_only_their_own_places() {
    let (_folder, places) = serving();
    let silent = spawn_blocking(move || {
        let connect = || UnixStream::connect(places.socket()).unwrap();
        let silent: Vec<UnixStream> = (0..4).map(|_| connect()).collect();
        let began = Instant::now();
        for _ in 0..200 {
            let refused = said(&connect());
            assert!(refused.contains("you have 4 connections to the agent already"), "{refused}");
        }
        assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
        // They are hung up on, and then there is room again.
        assert!(silent.iter().all(|stream| said(stream).is_empty()));
        let asked = || {
            let mut stream = connect();
            let _ = stream.write_all(STATUS);
            said(&stream)
        };
        let mut answers = std::iter::repeat_with(asked);
        answers.find(|said| said.contains("done") || began.elapsed() > Duration::from_secs(30))
    });
    let answer = silent.await.unwrap().unwrap();
    assert!(answer.contains("done"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_on_no_line_of_the_host_is_turned_away() {
    let (_folder, places) = serving();
    let (own, other) = UnixStream::pair().unwrap();
    let desk = desk(&places);
    let mut residents = Residents::new(places);
    let stranger = Peer { uid: 100_001, pid: None };
    admit(own, stranger, &Slots::default(), &mut residents, &desk).await;
    let refused = spawn_blocking(move || said(&other)).await.unwrap();
    let why = "you are no local user of this host (/etc/passwd), and only they hold access here";
    assert!(refused.contains(why), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_is_refused_in_words() {
    let (_folder, places) = serving();
    let refused = spawn_blocking(move || {
        let mut stream = UnixStream::connect(places.socket()).unwrap();
        let _ = stream.write_all(&vec![b'x'; 1 << 20]);
        said(&stream)
    });
    let refused = refused.await.unwrap();
    assert!(refused.contains("the request is longer than 65536 bytes"), "{refused}");
}
