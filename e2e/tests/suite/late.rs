//! The API server asks what somebody may do when the headers of a request have come. Who holds the body back until
//! their right has ended gets nothing by it that would last.

use std::sync::Arc;

use kube::Config;
use kube::client::ConfigExt as _;
use kube::config::{KubeConfigOptions, Kubeconfig};
use lapse_crds::RequestPhase;
use lapse_e2e::plane::User;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::rbac;
use crate::world::World;

/// A request whose headers have been sent, and whose body has not.
struct Begun {
    stream: TlsStream<TcpStream>,
    body: String,
}

impl Begun {
    async fn new(user: &User, path: &str, body: &Value) -> Self {
        let kubeconfig = Kubeconfig::read_from(&user.kubeconfig).unwrap();
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
        let tls = config.rustls_client_config().unwrap();
        let (host, port) = (config.cluster_url.host().unwrap(), config.cluster_url.port_u16());
        let tcp = TcpStream::connect((host, port.unwrap())).await.unwrap();
        let name = ServerName::try_from(host.to_owned()).unwrap();
        let mut stream = TlsConnector::from(Arc::new(tls)).connect(name, tcp).await.unwrap();
        let body = body.to_string();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nConnection: close\r\n\
             Content-Length: {}\r\nExpect: 100-continue\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        // The server asks for the body once it has let the headers pass.
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 100");
        Self { stream, body }
    }

    /// Sends the body; the whole answer.
    async fn end(mut self) -> String {
        self.stream.write_all(self.body.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // The API server may close without a closing alert of TLS.
        let _ = self.stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }
}

#[tokio::test]
async fn what_arrives_whole_after_the_end_is_refused() {
    let world = World::tracking("late", json!({"startedWorkloads": "Delete"})).await;
    let ns = &world.ns;
    world
        .apply(json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "bot"}}))
        .await;
    let labels = json!({"app": "late"});
    let containers = json!([{"name": "c", "image": "busybox"}]);
    let template = json!({"metadata": {"labels": labels}, "spec": {"containers": containers}});
    let metadata = json!({"name": "late"});
    let of_secret =
        json!({"name": "late", "annotations": {"kubernetes.io/service-account.name": "bot"}});
    let all = [
        (
            format!("/api/v1/namespaces/{ns}/pods"),
            json!({"metadata": metadata, "spec": {"containers": containers}}),
        ),
        (
            format!("/apis/apps/v1/namespaces/{ns}/deployments"),
            json!({"metadata": metadata, "spec": {"selector": {"matchLabels": labels}, "template": template}}),
        ),
        (
            format!("/api/v1/namespaces/{ns}/serviceaccounts/bot/token"),
            json!({"spec": {"audiences": []}}),
        ),
        (
            format!("/api/v1/namespaces/{ns}/secrets"),
            json!({"metadata": of_secret, "type": "kubernetes.io/service-account-token"}),
        ),
    ];

    world.granted("fix", json!({})).await;
    let mut begun = Vec::new();
    for (path, body) in &all {
        begun.push((path, Begun::new(&world.alice, path, body).await));
    }
    world.decide(&world.alice, "fix", json!({"verdict": "End"})).await.unwrap();
    world.phase("fix", RequestPhase::Ended).await;
    world.locked_out(&world.alice).await;
    for (path, begun) in begun {
        let answer = begun.end().await;
        let words = "allowed when the request began, and no longer is";
        assert!(answer.contains(" 403 ") && answer.contains(words), "{path}: {answer}");
    }

    // Whoever is allowed it by anything else is not hindered.
    world.bind("late-edits", "edit", &rbac::user(&world.mallory.name)).await;
    for (path, body) in &all {
        let answer = Begun::new(&world.mallory, path, body).await.end().await;
        assert!(answer.contains(" 201 "), "{path}: {answer}");
    }
}
