use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use lapse_cluster::clock;
use lapse_cluster::process::Heartbeat;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::keys::Keys;
use crate::testing::{self, access_request, review};

struct Server {
    address: SocketAddr,
    keys: Arc<Keys>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

async fn server() -> Server {
    let (keys, key_set) = testing::keys(clock::now());
    let admission = Arc::new(testing::admission(keys.clone(), key_set));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let tls = super::tls_config(testing::state(keys.clone())).unwrap();
    let task = tokio::spawn(super::serve(listener, tls, admission, Heartbeat::new(), stop.clone()));
    Server { address, keys, stop, task }
}

impl Server {
    async fn connect(
        &self,
        versions: &[&'static SupportedProtocolVersion],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(self.keys.bundle.as_bytes()) {
            roots.add(certificate.unwrap()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(self.address).await?;
        let name = ServerName::try_from("127.0.0.1").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    /// Status line and body of the answer.
    async fn post(&self, path: &str, body: &str) -> (String, String) {
        let stream = self.connect(&[&rustls::version::TLS13]).await.unwrap();
        send(stream, path, body.len(), body).await
    }
}

async fn send(
    mut stream: TlsStream<TcpStream>,
    path: &str,
    length: usize,
    body: &str,
) -> (String, String) {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: hook\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    (head.lines().next().unwrap_or_default().to_owned(), body.to_owned())
}

fn request() -> String {
    review(&access_request(), &json!({})).to_string()
}

#[tokio::test]
async fn a_call_of_our_own_gets_through() {
    let server = server().await;
    super::check(server.address, &server.keys).await.unwrap();
}

#[tokio::test]
async fn the_path_gets_a_signature_and_no_other_does() {
    let server = server().await;
    let (status, body) = server.post(&server.keys.path_to("mutate"), &request()).await;
    assert_eq!(status, "HTTP/1.1 200 OK", "{body}");
    let answer: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(answer["response"]["allowed"], true);
    for path in ["/unset/mutate", "/mutate", "/", "/0000/mutate"] {
        let (status, body) = server.post(path, &request()).await;
        assert_eq!((status.as_str(), body.as_str()), ("HTTP/1.1 404 Not Found", "not found\n"));
    }
}

#[tokio::test]
async fn only_reviews_of_v1_are_answered() {
    let server = server().await;
    let path = server.keys.path_to("mutate");
    let mut beta = review(&access_request(), &json!({}));
    beta["apiVersion"] = json!("admission.k8s.io/v1beta1");
    let mut empty = beta.clone();
    empty["apiVersion"] = json!("admission.k8s.io/v1");
    empty.as_object_mut().unwrap().remove("request");
    let pod = review(&json!({"apiVersion": "v1", "kind": "Pod", "metadata": {}}), &json!({}));
    for body in [beta.to_string(), empty.to_string(), pod.to_string(), "{".to_owned()] {
        let (status, answer) = server.post(&path, &body).await;
        assert_eq!(status, "HTTP/1.1 400 Bad Request", "{answer}");
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_is_not_read() {
    let server = server().await;
    let stream = server.connect(&[&rustls::version::TLS13]).await.unwrap();
    let (status, _) = send(stream, &server.keys.path_to("mutate"), 9 << 20, "{}").await;
    assert_eq!(status, "HTTP/1.1 413 Payload Too Large");
}

#[tokio::test]
async fn older_tls_is_refused() {
    let server = server().await;
    let refused = server.connect(&[&rustls::version::TLS12]).await.unwrap_err().to_string();
    assert_eq!(refused, "received fatal alert: ProtocolVersion");
    // Who speaks both is answered.
    let both = [&rustls::version::TLS12, &rustls::version::TLS13];
    let stream = server.connect(&both).await.unwrap();
    let version = stream.get_ref().1.protocol_version();
    assert_eq!(version, Some(rustls::ProtocolVersion::TLSv1_3));
}

/// Connections that are held open, with and without TLS, keep nobody out: not even of the same address.
#[tokio::test]
async fn who_holds_connections_keeps_no_api_server_out() {
    let server = server().await;
    let known = server.connect(&[&rustls::version::TLS13]).await.unwrap();
    let path = server.keys.path_to("mutate");
    let (head, body) = (format!("POST {} HTTP/1.1\r\nHost: hook\r\n", *path), request());
    let asks = async |mut stream: TlsStream<TcpStream>| {
        let head = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(stream.read_u8().await.unwrap());
        }
        let answer = String::from_utf8(answer).unwrap().to_lowercase();
        assert!(answer.starts_with("http/1.1 200 ok"), "{answer}");
        let (_, length) = answer.split_once("content-length: ").unwrap();
        let length = length.lines().next().unwrap().parse().unwrap();
        stream.read_exact(&mut vec![0; length]).await.unwrap();
        stream
    };
    let known = asks(known).await;
    let mut strangers = Vec::new();
    for _ in 0..600 {
        strangers.push(TcpStream::connect(server.address).await.unwrap());
    }
    // Too many at once are refused, and those that have just come are let finish…
    for stream in &mut strangers[520..] {
        let ended = tokio::time::timeout(Duration::from_secs(10), stream.read_u8()).await;
        assert!(ended.is_ok(), "it is not let in");
    }
    // …but that is no way to hold a place.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    // A stranger with TLS is one as well.
    let _stranger = server.connect(&[&rustls::version::TLS13]).await.unwrap();
    let path = server.keys.path_to("validate");
    let answer = tokio::time::timeout(Duration::from_secs(30), server.post(&path, &body)).await;
    assert_eq!(answer.expect("an answer").0, "HTTP/1.1 200 OK");
    let ended = tokio::time::timeout(Duration::from_secs(10), strangers[0].read_u8()).await;
    assert!(ended.is_ok(), "the longest makes place");
    // Who is known stays.
    asks(known).await;
}

#[tokio::test]
async fn stopping_answers_what_was_asked() {
    let server = server().await;
    let body = request();
    let mut stream = server.connect(&[&rustls::version::TLS13]).await.unwrap();
    let idle = server.connect(&[&rustls::version::TLS13]).await.unwrap();
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: hook\r\nContent-Length: {}\r\n\r\n",
        *server.keys.path_to("mutate"),
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&body.as_bytes()[..100]).await.unwrap();
    // The head must have arrived: only then is a request in flight.
    tokio::time::sleep(Duration::from_secs(1)).await;
    server.stop.cancel();
    tokio::task::yield_now().await;
    stream.write_all(&body.as_bytes()[100..]).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(answer.starts_with(b"HTTP/1.1 200 OK"), "{}", String::from_utf8_lossy(&answer));
    tokio::time::timeout(Duration::from_secs(30), server.task).await.unwrap().unwrap();
    drop(idle);
    assert!(TcpStream::connect(server.address).await.is_err());
}
