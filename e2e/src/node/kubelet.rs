//! What runs on a node: container runtime, kubelet and what makes Services reachable.

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::images::{Images, SHELL};
use super::packages::Packages;
use crate::plane::{Answer, Ground, Plane, Process, SOON, Spec, Tool, eventually, run};

const SOCKET: &str = "/run/containerd/containerd.sock";

/// The image of the deployment in `examples/playground/`.
const EXAMPLE: &str = "registry.example/checkout:1.4";

/// The addresses of all pods. Each node has the part that its number names.
const PODS: &str = "10.88.0.0/16";

/// The addresses of the pods of a node.
pub(crate) fn pods_of(number: u8) -> String {
    format!("10.88.{number}.0/24")
}

/// A node, once its namespaces are there.
#[derive(Debug)]
pub struct Node {
    name: String,
    address: Ipv4Addr,
    folder: PathBuf,
    ground: Ground,
    packages: Packages,
    processes: Vec<Process>,
}

impl Node {
    /// Starts the container runtime, which needs no cluster.
    pub(crate) fn start(
        folder: &Path,
        (name, number): (&str, u8),
        ground: Ground,
        packages: &Packages,
    ) -> Result<Self> {
        let mut node = Self {
            name: name.to_owned(),
            address: ground.address,
            folder: folder.to_owned(),
            ground,
            packages: packages.clone(),
            processes: Vec::new(),
        };
        for made in ["cni", "containerd", "opt"] {
            fs::create_dir(folder.join(made)).with_context(|| format!("making {made}"))?;
        }
        node.write("cni/10-pods.conflist", &network(number).to_string())?;
        node.write("containerd.toml", &node.runtime())?;
        node.write("resolv.conf", "")?;
        let args = vec!["--config".to_owned(), node.file("containerd.toml")];
        let containerd = packages.program("containerd")?;
        node.spawn("containerd", &containerd, args)?;
        Ok(node)
    }

    /// Gives the runtime the images that pods ask for.
    pub(crate) async fn import(&self, images: &Images) -> Result<()> {
        let runtime = &self.processes[0];
        eventually(&format!("the runtime of {}", self.name), SOON, async || {
            runtime.ensure_running()?;
            self.ctr(&["version"]).await?.ok().map(Some)
        })
        .await
        .with_context(|| runtime.tail())?;
        for image in [&images.shell, &images.lapse] {
            let archive = image.display().to_string();
            self.ctr(&["images", "import", &archive]).await?.ok()?;
        }
        // What the shop of the examples runs is in no registry: it runs a shell instead.
        self.ctr(&["images", "tag", SHELL, EXAMPLE]).await?.ok()?;
        Ok(())
    }

    /// Joins the node to a cluster, whose API server it reaches at this address.
    pub(crate) fn join(&mut self, plane: &Plane, server: &str) -> Result<()> {
        let user = format!("system:node:{}", self.name);
        let kubeconfig = self.folder.join("kubelet.kubeconfig");
        plane.write_kubeconfig_of(&kubeconfig, server, (&user, &["system:nodes"]))?;
        let certificate = self.folder.join("kubelet.crt");
        plane.write_server_certificate(&certificate, &[&self.name, &self.address.to_string()])?;
        self.write("kubelet.json", &self.kubelet(plane).to_string())?;
        let args = vec![
            format!("--config={}", self.file("kubelet.json")),
            format!("--kubeconfig={}", kubeconfig.display()),
            format!("--hostname-override={}", self.name),
            format!("--node-ip={}", self.address),
            format!("--root-dir={}", self.file("kubelet")),
        ];
        self.spawn("kubelet", plane.tools().path(Tool::Kubelet), args)?;
        let kubeconfig = self.folder.join("kube-proxy.kubeconfig");
        plane.write_kubeconfig_of(&kubeconfig, server, ("system:kube-proxy", &[]))?;
        let args = vec![
            format!("--kubeconfig={}", kubeconfig.display()),
            format!("--hostname-override={}", self.name),
            format!("--cluster-cidr={PODS}"),
            "--proxy-mode=nftables".to_owned(),
            // The machine's own settings, which its network namespace does not have.
            "--conntrack-max-per-core=0".to_owned(),
            "--conntrack-tcp-timeout-established=0".to_owned(),
            "--conntrack-tcp-timeout-close-wait=0".to_owned(),
        ];
        self.spawn("kube-proxy", plane.tools().path(Tool::KubeProxy), args)
    }

    /// Its name in the cluster.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Kills all processes of a container (SIGKILL), as a node that runs out of memory would, by the id that the
    /// status of its pod has. The kubelet starts it again.
    pub async fn kill(&self, container: &str) -> Result<()> {
        let id = container.trim_start_matches("containerd://");
        self.ctr(&["tasks", "kill", "--all", "--signal", "SIGKILL", id]).await?.ok().map(|_| ())
    }

    /// Fails, saying what it logged last, if something of the node has ended.
    pub(crate) fn ensure_running(&self) -> Result<()> {
        self.processes.iter().try_for_each(Process::ensure_running)
    }

    async fn ctr(&self, args: &[&str]) -> Result<Answer> {
        let ctr = self.packages.program("ctr")?.display().to_string();
        let mut words: Vec<&str> = self.ground.enter.iter().skip(1).map(String::as_str).collect();
        words.extend([ctr.as_str(), "--address", SOCKET, "--namespace", "k8s.io"]);
        words.extend(args);
        let (path, libraries) = (self.packages.path(), self.packages.libraries());
        let env = [("PATH", Path::new(&path)), ("LD_LIBRARY_PATH", Path::new(&libraries))];
        run(Path::new(&self.ground.enter[0]), &words, &env, None).await
    }

    fn spawn(&mut self, name: &str, program: &Path, args: Vec<String>) -> Result<()> {
        let env = [
            ("PATH".to_owned(), self.packages.path()),
            ("LD_LIBRARY_PATH".to_owned(), self.packages.libraries()),
        ];
        self.processes.push(Process::spawn(self.ground.there(Spec {
            name: format!("{name} of {}", self.name),
            program: program.to_owned(),
            args,
            env: BTreeMap::from(env),
            inherit_env: false,
            folder: None,
            log: self.folder.join(format!("{name}.log")),
        }))?);
        Ok(())
    }

    fn file(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    fn write(&self, name: &str, content: &str) -> Result<()> {
        fs::write(self.folder.join(name), content).with_context(|| format!("writing {name}"))
    }

    /// The settings of the runtime, in the version that both its first and its second generation read.
    fn runtime(&self) -> String {
        let plugins = self.packages.network_plugins();
        format!(
            r#"version = 2
root = "{root}"
state = "/run/containerd"
[plugins."io.containerd.internal.v1.opt"]
  path = "{opt}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{SHELL}"
  # Not every machine lets its root make a process safer from the lack of memory than itself.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{cni}"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
"#,
            root = self.file("containerd"),
            opt = self.file("opt"),
            plugins = plugins.display(),
            cni = self.file("cni"),
        )
    }

    fn kubelet(&self, plane: &Plane) -> Value {
        json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "failCgroupV1": false,
            "cgroupDriver": "cgroupfs",
            "containerRuntimeEndpoint": format!("unix://{SOCKET}"),
            "authentication": {
                "anonymous": {"enabled": false},
                "webhook": {"enabled": true},
                "x509": {"clientCAFile": plane.ca_file()},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": self.file("kubelet.crt"),
            "tlsPrivateKeyFile": self.file("kubelet.key"),
            "resolvConf": self.file("resolv.conf"),
            // Nobody answers there: neither Kubernetes nor Lapse looks a name up.
            "clusterDNS": ["10.0.0.10"],
            "clusterDomain": "cluster.local",
            "volumePluginDir": self.file("plugins"),
            "failSwapOn": false,
            // Memory and disk are the machine's, and others fill them: nothing is evicted, however little is left.
            "evictionHard": {
                "memory.available": "0%", "nodefs.available": "0%", "imagefs.available": "0%",
                "nodefs.inodesFree": "0%", "imagefs.inodesFree": "0%",
            },
            "imageGCHighThresholdPercent": 100,
        })
    }
}

/// How pods of a node get their addresses.
fn network(number: u8) -> Value {
    let addresses = json!({
        "type": "host-local",
        "ranges": [[{"subnet": pods_of(number)}]],
        "routes": [{"dst": "0.0.0.0/0"}],
        "dataDir": "/run/pod-addresses",
    });
    let bridge = json!({
        "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
        "ipam": addresses,
    });
    json!({"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge]})
}
