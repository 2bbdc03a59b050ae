//! The three servers of a control plane and when each is ready.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::{Api, Client};
use lapse_tools::{Tool, Tools};

use super::certs::{Authority, service_account_keys};
use super::ground::Ground;
use super::kubeconfig::{self, Credentials};
use super::net::{eventually, free_port, http_status, loopback};
use super::process::{Process, Spec};
use super::user::write_private;

/// Generous, because the machine may be building at the same time.
const DEADLINE: Duration = Duration::from_mins(3);

const AUDIT_POLICY: &str = include_str!("audit-policy.yaml");

/// Without aggregation `view`, `edit` and `admin` are empty; without the garbage collector and the
/// namespace controller deletions do not behave.
const CONTROLLERS: &str = "garbage-collector-controller,namespace-controller,\
     serviceaccount-controller,serviceaccount-token-controller,clusterrole-aggregation-controller";

/// The addresses of Services, and the first of them, which is the API server's own.
const SERVICES: &str = "10.0.0.0/24";
const SERVICE: &str = "10.0.0.1";

/// How much the servers may let their heaps grow before they collect garbage, if whoever runs them says so: with the default an
/// API server that starts collects for a quarter of its time (<https://go.dev/doc/gc-guide#GOGC>).
const COLLECTOR: &str = "GOGC";

fn collector() -> BTreeMap<String, String> {
    std::env::var(COLLECTOR).ok().map(|value| (COLLECTOR.to_owned(), value)).into_iter().collect()
}

/// The files that the servers share.
pub(super) struct Files {
    folder: PathBuf,
    ground: Option<Ground>,
}

impl Files {
    /// Those that were written for a plane without nodes.
    pub(super) fn written(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), ground: None }
    }

    /// Writes keys, certificates and the audit policy.
    pub(super) fn write(
        folder: &Path,
        authority: &Authority,
        ground: Option<Ground>,
    ) -> Result<Self> {
        let ca = authority.identity();
        let address = ground.as_ref().map(|ground| ground.address.to_string());
        let names = ["127.0.0.1", "localhost", "kubernetes.default.svc", SERVICE];
        let names: Vec<&str> = names.into_iter().chain(address.as_deref()).collect();
        let server = authority.server(&names)?;
        let tokens = service_account_keys()?;
        let files = Self { folder: folder.to_owned(), ground };
        write_private(&files.pki("ca.crt"), &ca.certificate)?;
        write_private(&files.pki("ca.key"), &ca.key)?;
        write_private(&files.pki("server.crt"), &server.certificate)?;
        write_private(&files.pki("server.key"), &server.key)?;
        write_private(&files.pki("sa.pub"), &tokens.public)?;
        write_private(&files.pki("sa.key"), &tokens.private)?;
        write_private(&files.pki("audit-policy.yaml"), AUDIT_POLICY)?;
        if files.ground.is_some() {
            let kubelets =
                authority.client("kube-apiserver-kubelet-client", &["system:masters"])?;
            write_private(&files.pki("kubelet-client.crt"), &kubelets.certificate)?;
            write_private(&files.pki("kubelet-client.key"), &kubelets.key)?;
        }
        Ok(files)
    }

    /// Writes the kubeconfig of Kubernetes' controllers and returns its text.
    pub(super) fn controller_manager_kubeconfig(
        &self,
        authority: &Authority,
        server: &str,
    ) -> Result<String> {
        let name = "system:kube-controller-manager";
        let identity = authority.client(name, &[])?;
        let ca = authority.identity().certificate;
        let text = kubeconfig::render(server, &ca, &[(name, Credentials::Certificate(identity))])?;
        write_private(&self.pki("controller-manager.kubeconfig"), &text)?;
        Ok(text)
    }

    fn pki(&self, name: &str) -> PathBuf {
        self.folder.join("pki").join(name)
    }

    fn pki_flag(&self, flag: &str, name: &str) -> String {
        format!("--{flag}={}", self.pki(name).display())
    }

    fn spec(&self, tools: &Tools, tool: Tool, args: Vec<String>) -> Spec {
        let spec = Spec {
            name: tool.name().to_owned(),
            program: tools.path(tool).to_owned(),
            args,
            env: collector(),
            inherit_env: false,
            folder: Some(self.folder.clone()),
            log: self.folder.join("logs").join(format!("{}.log", tool.name())),
        };
        match &self.ground {
            None => spec,
            Some(ground) => ground.there(spec),
        }
    }

    /// Makes a port of a server reachable from here.
    fn open(&self, port: u16) -> Result<()> {
        self.ground.as_ref().map_or(Ok(()), |ground| ground.forward(port))
    }
}

/// Starts the store; returns its URL too.
pub(super) async fn etcd(tools: &Tools, files: &Files) -> Result<(Process, String)> {
    let port = free_port()?;
    let (client, peer) =
        (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{}", free_port()?));
    let data = files.folder.join("etcd");
    fs::create_dir(&data).with_context(|| format!("making {}", data.display()))?;
    let args = vec![
        format!("--data-dir={}", data.display()),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
        // The data does not outlive the process, so nothing is gained by waiting for the disk.
        "--unsafe-no-fsync".to_owned(),
        // Benchmarks store more than the 2 GiB of the default.
        "--quota-backend-bytes=8589934592".to_owned(),
        "--log-level=warn".to_owned(),
    ];
    files.open(port)?;
    let process = Process::spawn(files.spec(tools, Tool::Etcd, args))?;
    ready(&process, async || Ok(http_status(loopback(port), "/health").await? == 200)).await?;
    Ok((process, client))
}

/// The name of another API server than the first, whose log and audit log are apart.
pub(super) const ANOTHER: &str = "another-apiserver";

/// Starts an API server; returns its address too.
pub(super) fn apiserver(
    tools: &Tools,
    files: &Files,
    name: &str,
    store: &str,
    thrifty: bool,
) -> Result<(Process, String)> {
    let port = free_port()?;
    files.open(port)?;
    let mut args = vec![
        format!("--etcd-servers={store}"),
        format!("--secure-port={port}"),
        files.pki_flag("tls-cert-file", "server.crt"),
        files.pki_flag("tls-private-key-file", "server.key"),
        files.pki_flag("client-ca-file", "ca.crt"),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        files.pki_flag("service-account-key-file", "sa.pub"),
        files.pki_flag("service-account-signing-key-file", "sa.key"),
        format!("--service-cluster-ip-range={SERVICES}"),
        files.pki_flag("audit-policy-file", "audit-policy.yaml"),
        format!("--audit-log-path={}", files.folder.join(audit_log(name)).display()),
        // It is read from its beginning on: at 100 MB, by default, another one begins.
        "--audit-log-maxsize=100000".to_owned(),
    ];
    args.extend(match &files.ground {
        None => without_nodes(),
        Some(ground) => with_nodes(files, ground),
    });
    let mut spec = files.spec(tools, Tool::KubeApiserver, args);
    name.clone_into(&mut spec.name);
    spec.log = files.folder.join("logs").join(format!("{name}.log"));
    if thrifty {
        spec.env.insert("GOGC".to_owned(), "30".to_owned());
    }
    let process = Process::spawn(spec)?;
    Ok((process, format!("https://127.0.0.1:{port}")))
}

fn audit_log(apiserver: &str) -> String {
    if apiserver == ANOTHER { format!("{ANOTHER}.audit.log") } else { "audit.log".to_owned() }
}

/// What an API server is told that has no nodes.
fn without_nodes() -> Vec<String> {
    [
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        "--authorization-mode=RBAC",
        "--disable-admission-plugins=ServiceAccount",
        "--endpoint-reconciler-type=none",
    ]
    .map(String::from)
    .to_vec()
}

/// What one is told that has: who the kubelets are, and how it shows itself to them and to pods.
fn with_nodes(files: &Files, ground: &Ground) -> Vec<String> {
    vec![
        "--bind-address=0.0.0.0".to_owned(),
        format!("--advertise-address={}", ground.address),
        "--authorization-mode=Node,RBAC".to_owned(),
        "--enable-admission-plugins=NodeRestriction".to_owned(),
        "--allow-privileged".to_owned(),
        "--kubelet-preferred-address-types=InternalIP".to_owned(),
        files.pki_flag("kubelet-certificate-authority", "ca.crt"),
        files.pki_flag("kubelet-client-certificate", "kubelet-client.crt"),
        files.pki_flag("kubelet-client-key", "kubelet-client.key"),
    ]
}

/// Starts Kubernetes' own controllers: all of them where there are nodes.
pub(super) fn controller_manager(tools: &Tools, files: &Files) -> Result<Process> {
    let controllers = if files.ground.is_some() { "*" } else { CONTROLLERS };
    let args = vec![
        files.pki_flag("kubeconfig", "controller-manager.kubeconfig"),
        files.pki_flag("authentication-kubeconfig", "controller-manager.kubeconfig"),
        files.pki_flag("authorization-kubeconfig", "controller-manager.kubeconfig"),
        files.pki_flag("service-account-private-key-file", "sa.key"),
        files.pki_flag("root-ca-file", "ca.crt"),
        "--use-service-account-credentials".to_owned(),
        "--leader-elect=false".to_owned(),
        // Nobody asks it anything, and its own port would be taken by a second control plane.
        "--secure-port=0".to_owned(),
        // It makes this folder, wherever it is told that it is.
        format!("--flex-volume-plugin-dir={}", files.folder.join("volume-plugins").display()),
        format!("--controllers={controllers}"),
    ];
    Process::spawn(files.spec(tools, Tool::KubeControllerManager, args))
}

/// Waits until the API server says that it is ready, which includes its built-in roles.
pub(super) async fn wait_for_apiserver(process: &Process, client: &Client) -> Result<()> {
    ready(process, async || {
        let request = http::Request::get("/readyz").body(Vec::new())?;
        Ok(client.request_text(request).await? == "ok")
    })
    .await
}

/// Waits until aggregation has filled the roles that people are given.
pub(super) async fn wait_for_roles(process: &Process, admin: &Client) -> Result<()> {
    let roles: Api<ClusterRole> = Api::all(admin.clone());
    for name in ["view", "edit", "admin"] {
        ready(process, async || {
            let role = roles.get(name).await?;
            Ok(role.rules.is_some_and(|rules| !rules.is_empty()))
        })
        .await
        .with_context(|| format!("waiting for the rules of ClusterRole {name}"))?;
    }
    Ok(())
}

/// Waits until a process is ready, but not longer than it lives.
pub(super) async fn ready(process: &Process, check: impl AsyncFn() -> Result<bool>) -> Result<()> {
    let what = format!("{} to be ready", process.name());
    let awaited = eventually(&what, DEADLINE, async || {
        Ok(if process.exit().is_some() { Some(()) } else { check().await?.then_some(()) })
    })
    .await;
    process.ensure_running()?;
    awaited.map_err(|error| error.context(format!("{what}{}", process.tail())))
}
