//! An API server that falls silent.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::ListParams;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

use super::*;

/// Far longer than anything takes on one machine, and far shorter than a test may.
const SHORT: Duration = Duration::from_secs(2);
const LIMITS: Limits = Limits { answer: SHORT, part: SHORT, event: SHORT, doubt: Duration::ZERO };

/// An API server on a port of its own.
#[derive(Default)]
struct Server {
    /// Whether the connections that stand are silent from now on; new ones are answered.
    is_silent: AtomicBool,
    /// Whether of each answer half is sent.
    sends_half: AtomicBool,
    connections: AtomicUsize,
}

impl Server {
    async fn start() -> (Arc<Self>, Client) {
        let server = Arc::new(Self::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let taking = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                taking.connections.fetch_add(1, SeqCst);
                let is_new = taking.is_silent.load(SeqCst);
                tokio::spawn(taking.clone().serve(stream, is_new));
            }
        });
        let config = Config::new(format!("http://{address}/").parse().unwrap());
        (server, connect_within(config, &Clock::default(), LIMITS).unwrap())
    }

    async fn serve(self: Arc<Self>, mut stream: TcpStream, is_new: bool) {
        let mut asked = Vec::new();
        loop {
            while !asked.ends_with(b"\r\n\r\n") {
                match stream.read_u8().await {
                    Ok(byte) => asked.push(byte),
                    Err(_) => return,
                }
            }
            asked.clear();
            if self.is_silent.load(SeqCst) && !is_new {
                // The other end keeps the connection, and says nothing more.
                return std::future::pending().await;
            }
            let list = r#"{"apiVersion":"v1","kind":"ConfigMapList","metadata":{},"items":[]}"#;
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", list.len());
            let half = if self.sends_half.load(SeqCst) { &list[..9] } else { list };
            // Together they are asked, so each takes a connection.
            tokio::time::sleep(Duration::from_millis(50)).await;
            stream.write_all(format!("{head}{half}").as_bytes()).await.unwrap();
        }
    }
}

async fn list(client: &Client) -> kube::Result<()> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "shop");
    maps.list(&ListParams::default()).await.map(drop)
}

#[tokio::test]
async fn one_call_without_an_answer_costs_no_other_its_time() {
    let (server, client) = Server::start().await;
    let several = futures::future::join_all((0..4).map(|_| list(&client))).await;
    assert!(several.into_iter().all(|listed| listed.is_ok()));
    let before = server.connections.load(SeqCst);
    assert!(before > 1, "each call has a connection");
    list(&client).await.unwrap();
    assert_eq!(server.connections.load(SeqCst), before, "connections are used again");

    server.is_silent.store(true, SeqCst);
    let begun = Instant::now();
    assert!(list(&client).await.is_err());
    assert!(begun.elapsed() < 10 * SHORT, "a call ends");
    list(&client).await.expect("no other of the old connections is used");
}

/// Most calls are given up by whoever makes them, before the limit of the connections.
#[tokio::test]
async fn a_call_that_is_given_up_is_without_an_answer_too() {
    let (server, client) = Server::start().await;
    let several = futures::future::join_all((0..4).map(|_| list(&client))).await;
    assert!(several.into_iter().all(|listed| listed.is_ok()));
    server.is_silent.store(true, SeqCst);
    assert!(timeout(SHORT / 4, list(&client)).await.is_err());
    list(&client).await.expect("no other of the old connections is used");
}

#[tokio::test]
async fn an_answer_that_stops_half_way_ends() {
    let (server, client) = Server::start().await;
    server.sends_half.store(true, SeqCst);
    let listed = timeout(20 * SHORT, list(&client)).await.expect("a list ends whatever it sends");
    assert!(listed.is_err());
}

#[test]
fn a_watch_may_be_silent_for_as_long_as_it_lasts() {
    let limits = Limits::default();
    let of = |uri: &str| limits.of(&uri.parse().unwrap()).as_secs();
    assert_eq!(of("/api/v1/pods?limit=500"), 15);
    assert_eq!(of("/api/v1/pods?watch=true&timeoutSeconds=30&resourceVersion=7"), 40);
    assert_eq!(of("/api/v1/pods?watch=true"), 310);
    assert_eq!(of("/api/v1/pods?fieldSelector=a%3Dwatch&timeoutSeconds=30"), 15);
}
