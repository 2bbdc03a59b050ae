//! A real control plane: etcd, kube-apiserver and kube-controller-manager on the loopback address.
//!
//! Nothing is mocked: authentication by client certificates and service account tokens, RBAC, audit
//! log, admission, garbage collection, namespaces and aggregated roles are Kubernetes' own. There
//! are no nodes, so no pods; [`install`] runs Lapse's components as processes instead.

mod another;
pub mod api_proxy;
mod certs;
mod command;
pub mod component;
mod der;
mod gitops;
mod ground;
pub mod install;
mod jit;
mod kubeconfig;
mod net;
mod objects;
mod process;
mod progress;
mod promtool;
pub mod proxy;
mod servers;
mod user;
mod watchdog;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
pub use lapse_tools::{Origin, Tool, Tools, workspace};
pub(crate) use lapse_tools::{line, lock};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::OnceCell;

pub use self::certs::Authority;
pub use self::command::Answer;
pub(crate) use self::command::run;
pub use self::gitops::GitOps;
pub use self::ground::Ground;
pub use self::install::{InstallOptions, Lapse};
pub use self::jit::jit_program;
use self::kubeconfig::Credentials;
pub use self::net::{SOON, eventually, free_port, http_status, loopback, until};
pub use self::objects::{apply, policy_reported};
pub use self::process::{Process, Spec};
pub use self::progress::Progress;
pub use self::promtool::promtool;
pub use self::user::User;
pub(crate) use self::watchdog::guard_cgroup;

/// How long a server may take to stop before it is killed.
const GRACE: Duration = Duration::from_secs(5);

/// How to start a control plane.
#[derive(Clone, Debug, Default)]
pub struct PlaneOptions {
    /// Where its files go. Absent: a fresh temporary folder, which is removed with the plane.
    /// What an earlier plane left in the folder is removed first.
    pub folder: Option<PathBuf>,
    /// Where the steps are told.
    pub progress: Progress,
    /// Whether the API server collects its garbage more often: it keeps all that is stored in its memory,
    /// and as much again until it does.
    pub thrifty: bool,
    /// Where its servers run. Absent: beside this process, without nodes.
    pub ground: Option<Ground>,
    /// Where its programs come from, if they are not there yet.
    pub origin: Origin,
}

/// A running control plane. Dropping it kills it and removes its temporary folder; so does the end
/// of this process, however it comes.
#[derive(Debug)]
pub struct Plane {
    // Fields are dropped in this order: nothing may outlive what it depends on.
    controller_manager: Process,
    apiserver: Process,
    etcd: Process,
    store: String,
    server: String,
    authority: Authority,
    tools: Tools,
    folder: PathBuf,
    progress: Progress,
    users: AtomicUsize,
    _lock: File,
    _temporary: Option<TempDir>,
}

static SHARED: OnceCell<Arc<Plane>> = OnceCell::const_new();

impl Plane {
    /// Starts a control plane and waits until it answers and its aggregated roles are filled.
    pub async fn start(options: PlaneOptions) -> Result<Self> {
        let progress = options.progress;
        let tools = if options.ground.is_some() {
            Tools::with_nodes(options.origin).await
        } else {
            Tools::ready(options.origin).await
        }?;
        let (folder, temporary) = prepare(options.folder)?;
        let lock = take(&folder)?;
        tools.link_into(&folder.join("bin"))?;
        let authority = Authority::generate().context("making the certificate authority")?;
        let files = servers::Files::write(&folder, &authority, options.ground)?;
        progress.step("starting etcd");
        let (etcd, store) = servers::etcd(&tools, &files).await?;
        progress.step("starting kube-apiserver");
        let name = Tool::KubeApiserver.name();
        let (apiserver, server) =
            servers::apiserver(&tools, &files, name, &store, options.thrifty)?;
        let users = AtomicUsize::new(0);
        let kubeconfig = files.controller_manager_kubeconfig(&authority, &server)?;
        servers::wait_for_apiserver(&apiserver, &kubeconfig::client(&kubeconfig).await?).await?;
        progress.step("starting kube-controller-manager");
        let controller_manager = servers::controller_manager(&tools, &files)?;
        let plane = Self {
            controller_manager,
            apiserver,
            etcd,
            store,
            server,
            authority,
            tools,
            folder,
            progress,
            users,
            _lock: lock,
            _temporary: temporary,
        };
        let admin = plane.admin().await?;
        servers::wait_for_roles(&plane.controller_manager, &admin.client).await?;
        Ok(plane)
    }

    /// The control plane that the tests of one binary share. It ends with the process.
    ///
    /// Its processes belong to no runtime; clients do, so make a [`User`] in each test.
    pub async fn shared() -> Result<Arc<Self>> {
        let start = async || Self::start(PlaneOptions::default()).await.map(Arc::new);
        SHARED.get_or_try_init(start).await.cloned()
    }

    /// Waits until the API server is ready, after it was started again.
    pub async fn ready(&self) -> Result<()> {
        servers::wait_for_apiserver(&self.apiserver, &self.admin().await?.client).await
    }

    /// A member of `system:masters`, whom RBAC does not bind.
    pub async fn admin(&self) -> Result<User> {
        self.user("admin", &["system:masters"]).await
    }

    /// A person with a client certificate of this name and these groups.
    pub async fn user(&self, name: &str, groups: &[&str]) -> Result<User> {
        let identity = self.authority.client(name, groups)?;
        self.make_user(name, Credentials::Certificate(identity)).await
    }

    /// A service account, by a token of the `TokenRequest` API that is valid for a day. Waits a few
    /// seconds for the service account to appear.
    pub async fn service_account(&self, namespace: &str, name: &str) -> Result<User> {
        let admin = self.admin().await?;
        let token = user::token(&admin.client, namespace, name).await?;
        let username = format!("system:serviceaccount:{namespace}:{name}");
        self.make_user(&username, Credentials::Token(token)).await
    }

    /// Runs the pinned kubectl as this user.
    pub async fn kubectl(&self, user: &User, args: &[&str]) -> Result<Answer> {
        self.kubectl_with_input(user, args, None).await
    }

    /// Runs the pinned kubectl as this user with a text on its standard input.
    pub async fn kubectl_with_input(
        &self,
        user: &User,
        args: &[&str],
        input: Option<&str>,
    ) -> Result<Answer> {
        let cache = self.folder.join("cache");
        let env = [
            ("KUBECONFIG", user.kubeconfig.as_path()),
            ("KUBECACHEDIR", cache.as_path()),
            ("HOME", cache.as_path()),
        ];
        command::run(self.tools.path(Tool::Kubectl), args, &env, input).await
    }

    /// What tools that wait for objects (kstatus) make of these: a line with kind, name and status for each.
    pub async fn kstatus(&self, objects: &[Value]) -> Result<String> {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
        command::run(self.tools.path(Tool::Kstatus), &[], &[], Some(&list)).await?.ok()
    }

    /// Runs the pinned Helm as the administrator.
    pub async fn helm(&self, args: &[&str]) -> Result<Answer> {
        let admin = self.admin().await?;
        let (home, cache) = (self.folder.join("helm"), self.folder.join("cache"));
        let env = [
            ("KUBECONFIG", admin.kubeconfig.as_path()),
            ("HELM_CACHE_HOME", home.as_path()),
            ("HELM_CONFIG_HOME", home.as_path()),
            ("HELM_DATA_HOME", home.as_path()),
            ("HOME", cache.as_path()),
        ];
        command::run(self.tools.path(Tool::Helm), args, &env, None).await
    }

    /// Writes a kubeconfig with one context for each of these people; the first is the current one.
    pub fn write_kubeconfig(&self, path: &Path, people: &[(&str, &[&str])]) -> Result<()> {
        let mut users = Vec::new();
        for (name, groups) in people {
            users.push((*name, Credentials::Certificate(self.authority.client(name, groups)?)));
        }
        let text = kubeconfig::render(&self.server, &self.ca(), &users)?;
        user::write_private(path, &text)
    }

    /// Writes a kubeconfig for a part of Kubernetes, which reaches the API server at this address.
    pub fn write_kubeconfig_of(
        &self,
        path: &Path,
        server: &str,
        (name, groups): (&str, &[&str]),
    ) -> Result<()> {
        let identity = Credentials::Certificate(self.authority.client(name, groups)?);
        user::write_private(path, &kubeconfig::render(server, &self.ca(), &[(name, identity)])?)
    }

    /// A certificate for a server with these names, and its key, in two files beside one another.
    pub fn write_server_certificate(&self, path: &Path, names: &[&str]) -> Result<()> {
        let identity = self.authority.server(names)?;
        user::write_private(&path.with_extension("crt"), &identity.certificate)?;
        user::write_private(&path.with_extension("key"), &identity.key)
    }

    /// The programs that it was started from.
    #[must_use]
    pub fn tools(&self) -> &Tools {
        &self.tools
    }

    /// The API server's address, `https://127.0.0.1:PORT`.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The store's address, `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn store(&self) -> &str {
        &self.store
    }

    /// The folder with all files of this plane.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder with kubectl, Helm and the servers.
    #[must_use]
    pub fn bin(&self) -> PathBuf {
        self.folder.join("bin")
    }

    /// The API server's audit log, one JSON object in each line.
    #[must_use]
    pub fn audit_log(&self) -> PathBuf {
        self.folder.join("audit.log")
    }

    /// The file with the certificate of the authority that signs servers and users.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.folder.join("pki/ca.crt")
    }

    /// The file with that authority's key.
    #[must_use]
    pub fn ca_key_file(&self) -> PathBuf {
        self.folder.join("pki/ca.key")
    }

    /// The API server's process.
    #[must_use]
    pub fn apiserver(&self) -> &Process {
        &self.apiserver
    }

    /// The store's process.
    #[must_use]
    pub fn etcd(&self) -> &Process {
        &self.etcd
    }

    /// The process of Kubernetes' own controllers.
    #[must_use]
    pub fn controller_manager(&self) -> &Process {
        &self.controller_manager
    }

    /// Stops everything in order and removes the temporary folder.
    ///
    /// # Errors
    /// If a server had to be killed; everything is stopped nevertheless.
    pub async fn stop(self) -> Result<()> {
        let first = self.controller_manager.terminate(GRACE).await;
        // Open watches would hold a graceful stop of the API server up for a minute, and its data
        // is not kept: it only has to be gone before the store is.
        self.apiserver.kill();
        let second = self.etcd.terminate(GRACE).await;
        first.and(second).map(|_| ())
    }

    pub(crate) fn progress(&self) -> Progress {
        self.progress
    }

    pub(crate) fn log_file(&self, name: &str) -> PathBuf {
        self.folder.join("logs").join(format!("{name}.log"))
    }

    fn ca(&self) -> String {
        self.authority.identity().certificate
    }

    async fn make_user(&self, name: &str, credentials: Credentials) -> Result<User> {
        // Numbered, because two tests may use one name with different groups.
        let number = self.users.fetch_add(1, Ordering::Relaxed);
        // KUBECONFIG is a list that is separated by colons, which names of service accounts have; and
        // people have names that no file can have.
        let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        let file = format!("{number}-{}", name.chars().take(64).map(plain).collect::<String>());
        let file = format!("{file}.kubeconfig");
        let path = self.folder.join("users").join(file);
        let text = kubeconfig::render(&self.server, &self.ca(), &[(name, credentials)])?;
        user::write_private(&path, &text)?;
        let client = kubeconfig::client(&text).await?;
        Ok(User { name: name.to_owned(), client, kubeconfig: path })
    }
}

/// The plane's folder: the given one, cleared of an earlier plane, or a temporary one.
pub(crate) fn prepare(given: Option<PathBuf>) -> Result<(PathBuf, Option<TempDir>)> {
    let (folder, temporary) = if let Some(folder) = given {
        (std::path::absolute(folder).context("finding the folder")?, None)
    } else {
        let temporary = tempfile::Builder::new().prefix("lapse-").tempdir();
        let temporary = temporary.context("making a temporary folder")?;
        watchdog::guard_folder(temporary.path())?;
        (temporary.path().to_owned(), Some(temporary))
    };
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    Ok((folder, temporary))
}

/// Makes sure that no other plane uses the folder, and clears what an earlier one left.
fn take(folder: &Path) -> Result<File> {
    let lock = lock_folder(&folder.join(".lock"))?;
    for name in ["bin", "cache", "components", "etcd", "helm", "logs", "pki", "users"] {
        let old = folder.join(name);
        if old.exists() {
            fs::remove_dir_all(&old).with_context(|| format!("clearing {}", old.display()))?;
        }
    }
    for name in ["audit.log", "kubeconfig", "playground.json"] {
        let old = folder.join(name);
        if old.exists() {
            fs::remove_file(&old).with_context(|| format!("clearing {}", old.display()))?;
        }
    }
    for name in ["components", "logs", "pki", "users"] {
        let new = folder.join(name);
        fs::create_dir(&new).with_context(|| format!("making {}", new.display()))?;
    }
    Ok(lock)
}

/// Takes the lock that keeps others out of a folder, by a file in it.
pub(crate) fn lock_folder(path: &Path) -> Result<File> {
    let lock = File::create(path).with_context(|| format!("making {}", path.display()))?;
    let taken = lock.try_lock();
    taken.with_context(|| format!("another control plane holds {}", path.display()))?;
    Ok(lock)
}
