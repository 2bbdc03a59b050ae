//! What is open when a right ends. Kubernetes asks who may only when a stream is opened, so these outlive the right; the
//! documents say so (docs/security.md), and this shows it.

use std::process::Stdio;
use std::time::Duration;

use kube::ResourceExt as _;
use lapse_e2e::plane::{SOON, Tool, eventually, free_port, loopback};
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::town::Town;

/// A kubectl of alice's that goes on. Dropping it kills it.
pub(crate) struct Stream {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Stream {
    pub(crate) fn open(town: &Town, args: &[&str]) -> Self {
        let kubectl = town.cluster.plane().tools().path(Tool::Kubectl).to_owned();
        let mut command = Command::new(kubectl);
        command.args(["--namespace", "shop"]).args(args).env("KUBECONFIG", &town.alice.kubeconfig);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, input, output: BufReader::new(output).lines() }
    }

    /// The next line; a stream that has ended fails the test.
    async fn line(&mut self) -> String {
        let next = tokio::time::timeout(SOON, self.output.next_line());
        next.await.unwrap().unwrap().expect("the stream has ended")
    }

    /// What a command says that is run through it.
    pub(crate) async fn run(&mut self, command: &str) -> String {
        self.input.write_all(format!("{command}\n").as_bytes()).await.unwrap();
        self.line().await
    }

    /// Waits until it has ended.
    pub(crate) async fn wait(&mut self) {
        self.child.wait().await.unwrap();
    }

    fn ensure_open(&mut self) {
        assert_eq!(self.child.try_wait().unwrap(), None, "the stream has ended");
    }
}

/// What the shop answers through a port that is forwarded.
async fn answer(port: u16) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(loopback(port)).await?;
    let mut said = String::new();
    tokio::time::timeout(Duration::from_secs(10), stream.read_to_string(&mut said)).await??;
    Ok(said)
}

#[tokio::test]
async fn streams_outlive_the_right_that_they_were_opened_by() {
    let town = Town::take().await;
    town.shop().await;
    let grant = town.granted("streams").await;
    let mut exec = Stream::open(&town, &["exec", "--stdin", "deployment/checkout", "--", "sh"]);
    let mut logs = Stream::open(&town, &["logs", "--follow", "--tail=1", "deployment/checkout"]);
    let port = free_port().unwrap();
    let ports = format!("{port}:8080");
    let mut forward = Stream::open(&town, &["port-forward", "deployment/checkout", &ports]);
    let mut watch = Stream::open(&town, &["get", "configmaps", "--watch", "--output=name"]);
    assert_eq!(exec.run("echo before").await, "before");
    logs.line().await;
    forward.line().await;
    assert_eq!(watch.line().await, "configmap/kube-root-ca.crt");
    let forwarded = async || Ok((answer(port).await? == "up\n").then_some(()));
    eventually("the port to be forwarded", SOON, forwarded).await.unwrap();

    town.end("streams", &grant).await;

    // New ones are refused, which `end` has waited for. The open ones take new commands, lines and connections.
    assert_eq!(exec.run("echo after").await, "after");
    for _ in 0..3 {
        logs.line().await;
    }
    eventually("the port to be forwarded still", SOON, forwarded).await.unwrap();
    let later = ["create", "configmap", "made-after-the-end"];
    town.kubectl(&town.admin, &later).await.ok().unwrap();
    assert_eq!(watch.line().await, "configmap/made-after-the-end");
    town.kubectl(&town.admin, &["delete", "configmap", "made-after-the-end"]).await.ok().unwrap();
    for stream in [&mut exec, &mut logs, &mut forward, &mut watch] {
        stream.ensure_open();
    }

    // What ends them is the end of the pod.
    let delete = ["delete", "pod", "--selector=app=checkout"];
    town.kubectl(&town.admin, &delete).await.ok().unwrap();
    for stream in [&mut exec, &mut logs] {
        tokio::time::timeout(SOON, stream.wait()).await.unwrap();
    }
}

/// Where the policy says so, the pods that were entered go, and what is open with them.
#[tokio::test]
async fn streams_end_with_the_pods_where_the_policy_says_so() {
    let town = Town::take().await;
    town.tracking(&json!({"openStreams": "DeletePods", "maxGracePeriod": "1s"})).await;
    let grant = town.granted("close").await;
    // `granted` has gone into one already, to see whether alice may.
    let mut exec = Stream::open(&town, &["exec", "--stdin", "deployment/checkout", "--", "sh"]);
    assert_eq!(exec.run("echo before").await, "before");
    let entered = town.grant(&grant.name_any()).await.status.unwrap().entered;
    let pods: Vec<&str> = entered.iter().map(|entered| &*entered.pod).collect();
    assert_eq!(pods.len(), 1, "{entered:?}");
    assert!(entered[0].tracked && entered[0].username == "alice", "{entered:?}");

    town.end("close", &grant).await;
    tokio::time::timeout(SOON, exec.wait()).await.unwrap();
    // Its owner makes another.
    let ready = ["wait", "deployment/checkout", "--for=condition=Available", "--timeout=2m"];
    town.kubectl(&town.admin, &ready).await.ok().unwrap();
    let pod = format!("pod/{}", pods[0]);
    let gone = ["wait", &pod, "--for=delete", "--timeout=2m"];
    town.kubectl(&town.admin, &gone).await.ok().unwrap();
}
