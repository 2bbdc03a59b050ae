//! Real nodes: a control plane with container runtimes, kubelets and a network for pods, and the chart's own
//! deployments on it.
//!
//! All of it lives in namespaces and cgroups of its own, and ends with them: nothing is installed on the machine, its
//! interfaces and addresses stay as they are. It takes root.

mod cgroups;
mod images;
mod kubelet;
mod lapse;
mod machine;
mod namespaces;
mod packages;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Node as NodeObject;
use kube::Api;
use lapse_images::cargo::output;
use tempfile::TempDir;
use tokio::sync::OnceCell;

use self::images::Images;
pub use self::images::SHELL;
pub use self::kubelet::Node;
use self::kubelet::pods_of;
use self::namespaces::Namespaces;
use self::packages::Packages;
use crate::plane::{
    Ground, Plane, PlaneOptions, Process, Progress, SOON, Spec, Tool, eventually, lock_folder,
    prepare,
};

/// Where the programs of a machine lie.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The nodes of a cluster: two, so that there is something to be spread over.
const NODES: [(&str, u8); 2] = [("node-1", 1), ("node-2", 2)];

/// The address of a node. The first carries the control plane, too.
fn address_of(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(172, 30, 0, number)
}

/// How to start a cluster.
#[derive(Clone, Debug, Default)]
pub struct ClusterOptions {
    /// Where its files go. Absent: a fresh temporary folder, which is removed at the end.
    pub folder: Option<PathBuf>,
    /// Where the steps are told.
    pub progress: Progress,
}

/// A running cluster with two nodes. Dropping it ends it; so does the end of this process, however it comes.
#[derive(Debug)]
pub struct Cluster {
    // Fields are dropped in this order. Namespaces take all that runs in them along, so they go first.
    _namespaces: Vec<Namespaces>,
    nodes: Vec<Node>,
    _scheduler: Process,
    plane: Arc<Plane>,
    _lock: File,
    _temporary: Option<TempDir>,
}

static SHARED: OnceCell<Arc<Cluster>> = OnceCell::const_new();

impl Cluster {
    /// Starts a cluster and waits until its nodes are ready.
    ///
    /// # Errors
    /// If the machine cannot carry nodes, or something does not start.
    pub async fn start(options: ClusterOptions) -> Result<Self> {
        let progress = options.progress;
        let hierarchies = machine::ready()?;
        let packages = Packages::ready().await?;
        let (folder, temporary) = prepare(options.folder)?;
        let lock = lock_folder(&folder.join(".nodes.lock"))?;
        let own = folder.join("nodes");
        let _ = fs::remove_dir_all(&own);
        progress.step("making the images");
        fs::create_dir_all(&own).with_context(|| format!("making {}", own.display()))?;
        let images = Images::write(&own, &packages).await?;

        progress.step("starting the container runtimes");
        let (mut namespaces, mut nodes) = (Vec::new(), Vec::new());
        for (name, number) in NODES {
            let place = own.join(name);
            fs::create_dir(&place).with_context(|| format!("making {}", place.display()))?;
            let address = address_of(number);
            // The first has the bridge that the others are joined to.
            let bridge = (number == 1).then_some(address);
            let spaces = Namespaces::start(&place, name, bridge, &hierarchies).await?;
            nodes.push(Node::start(&place, (name, number), spaces.ground(address), &packages)?);
            namespaces.push(spaces);
        }
        connect(&namespaces)?;
        let ground = namespaces[0].ground(address_of(1));
        let options = PlaneOptions {
            folder: Some(folder.clone()),
            progress,
            ground: Some(ground.clone()),
            ..PlaneOptions::default()
        };
        let import = async {
            for node in &nodes {
                node.import(&images).await?;
            }
            Ok(())
        };
        let (plane, ()) = tokio::try_join!(Plane::start(options), import)?;
        progress.step("starting the nodes");
        let scheduler = scheduler(&plane, &ground)?;
        let port = plane.server().rsplit(':').next().unwrap_or_default();
        let server = format!("https://{}:{port}", address_of(1));
        for node in &mut nodes {
            node.join(&plane, &server)?;
        }
        let cluster = Self {
            _namespaces: namespaces,
            nodes,
            _scheduler: scheduler,
            plane: Arc::new(plane),
            _lock: lock,
            _temporary: temporary,
        };
        cluster.ready().await?;
        Ok(cluster)
    }

    /// The cluster that the tests of one binary share. It ends with the process.
    pub async fn shared() -> Result<Arc<Self>> {
        let start = async || Self::start(ClusterOptions::default()).await.map(Arc::new);
        SHARED.get_or_try_init(start).await.cloned()
    }

    /// Its control plane.
    #[must_use]
    pub fn plane(&self) -> &Arc<Plane> {
        &self.plane
    }

    /// Its nodes.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    async fn ready(&self) -> Result<()> {
        let admin = self.plane.admin().await?;
        let stored: Api<NodeObject> = Api::all(admin.client);
        for node in &self.nodes {
            eventually(&format!("{} to be ready", node.name()), SOON, async || {
                node.ensure_running()?;
                let object = stored.get(node.name()).await?;
                let conditions = object.status.and_then(|status| status.conditions);
                let is_ready = conditions
                    .into_iter()
                    .flatten()
                    .any(|condition| condition.type_ == "Ready" && condition.status == "True");
                Ok(is_ready.then_some(()))
            })
            .await?;
        }
        Ok(())
    }
}

/// Starts what says on which node a pod runs.
fn scheduler(plane: &Plane, ground: &Ground) -> Result<Process> {
    let kubeconfig = plane.folder().join("pki/scheduler.kubeconfig");
    let user = ("system:kube-scheduler", &[][..]);
    plane.write_kubeconfig_of(&kubeconfig, plane.server(), user)?;
    let file = kubeconfig.display();
    let args = vec![
        format!("--kubeconfig={file}"),
        format!("--authentication-kubeconfig={file}"),
        format!("--authorization-kubeconfig={file}"),
        "--leader-elect=false".to_owned(),
    ];
    Process::spawn(ground.there(Spec {
        name: Tool::KubeScheduler.name().to_owned(),
        program: plane.tools().path(Tool::KubeScheduler).to_owned(),
        args,
        env: BTreeMap::new(),
        inherit_env: false,
        folder: None,
        log: plane.folder().join("logs/kube-scheduler.log"),
    }))
}

/// Joins the other nodes to the bridge of the first, and tells each where the pods of the others are.
fn connect(nodes: &[Namespaces]) -> Result<()> {
    let first = nodes[0].pid();
    for (node, (_, number)) in nodes.iter().zip(NODES).skip(1) {
        let (pid, address, there) = (node.pid(), address_of(number), pods_of(number));
        let port = format!("to-{number}");
        ip(first, &format!("link add {port} type veth peer name eth0 netns {pid}"))?;
        ip(first, &format!("link set {port} master node0 up"))?;
        ip(pid, &format!("address add {address}/24 dev eth0"))?;
        ip(pid, "link set eth0 up")?;
        ip(pid, &format!("route add default via {}", address_of(1)))?;
        ip(first, &format!("route add {there} via {address}"))?;
    }
    Ok(())
}

/// Runs `ip` in the network of a process.
fn ip(pid: u32, args: &str) -> Result<()> {
    let mut command = Command::new("nsenter");
    command.args([&format!("--net=/proc/{pid}/ns/net"), "ip"]).args(args.split(' '));
    output(command.env("PATH", PATH)).map(drop)
}
