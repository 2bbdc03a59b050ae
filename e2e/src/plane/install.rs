//! Lapse on a control plane: the chart by the real Helm, and its deployments as processes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::rbac::v1::Role;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, ListParams, PostParams};
use lapse_tools::{programs, workspace};
use tokio::sync::OnceCell;

use super::api_proxy::ApiProxy;
use super::component::{Component, Template};
use super::net::{SOON, eventually};
use super::proxy::Proxy;
use super::{Plane, PlaneOptions};

/// The namespace that Lapse is installed in.
pub const NAMESPACE: &str = "lapse-system";

const CONTROLLER: &str = "lapse-controller";
const WEBHOOK: &str = "lapse-webhook";
const GATEWAY: &str = "lapse-gateway";
const GRACE: Duration = Duration::from_secs(15);

/// Wider than what an installation should allow: here people try things.
pub(crate) const VALUES: &str = "\
controller:
  allowClusterWide: true
  endWorkloads: true
  bindableRoles:
    - {kind: ClusterRole, name: view}
    - {kind: ClusterRole, name: edit}
    - {kind: ClusterRole, name: admin}
    - {kind: ClusterRole, name: cluster-admin}
  grantableRules:
    - {apiGroups: [\"\"], resources: [configmaps], verbs: [get, list, watch, create, update, patch, delete]}
    - {apiGroups: [\"\"], resources: [pods, pods/log], verbs: [get, list, watch]}
duration:
  min: 1s
";

/// How to install Lapse.
#[derive(Clone, Debug)]
pub struct InstallOptions {
    /// How many controllers to run.
    pub controllers: usize,
    /// How many webhooks to run.
    pub webhooks: usize,
    /// How many gateways to run. With any, the chart has one.
    pub gateways: usize,
    /// Whether the controllers call the API server through an [`ApiProxy`].
    pub behind_proxy: bool,
    /// `KEY=VALUE` for Helm's `--set`.
    pub set: Vec<String>,
    /// Files for Helm's `--values`, after the playground's own values.
    pub values: Vec<PathBuf>,
    /// A folder with programs of another build, which run instead of this workspace's.
    pub programs: Option<PathBuf>,
    /// The folder of another chart than this workspace's.
    pub chart: Option<PathBuf>,
}

impl Default for InstallOptions {
    fn default() -> Self {
        Self {
            controllers: 1,
            webhooks: 1,
            gateways: 0,
            behind_proxy: false,
            set: Vec::new(),
            values: Vec::new(),
            programs: None,
            chart: None,
        }
    }
}

impl InstallOptions {
    /// The packages whose programs will run.
    fn packages(&self) -> Vec<&'static str> {
        let wanted =
            [(self.controllers, CONTROLLER), (self.webhooks, WEBHOOK), (self.gateways, GATEWAY)];
        let wanted = wanted.into_iter().filter(|(count, _)| *count > 0);
        wanted.map(|(_, package)| package).collect()
    }

    /// The programs that will run, by package.
    async fn ready_programs(&self) -> Result<BTreeMap<String, PathBuf>> {
        match &self.programs {
            None => programs::build(&self.packages()).await,
            Some(folder) => programs::found(folder, &self.packages()),
        }
    }
}

/// Lapse, installed and running. Dropping it kills its processes.
#[derive(Debug)]
pub struct Lapse {
    /// The controllers, `controller-0` and on.
    pub controllers: Vec<Component>,
    /// The webhooks, `webhook-0` and on.
    pub webhooks: Vec<Component>,
    /// The gateways, `gateway-0` and on.
    pub gateways: Vec<Component>,
    /// What stands between the API server and the webhooks.
    pub proxy: Arc<Proxy>,
    /// What stands between the controllers and the API server, if anything does.
    pub api: Option<Arc<ApiProxy>>,
    plane: Arc<Plane>,
    options: InstallOptions,
    programs: BTreeMap<String, PathBuf>,
}

static SHARED: OnceCell<Arc<Lapse>> = OnceCell::const_new();

impl Lapse {
    /// Installs the chart, starts the components and waits until admission works.
    pub async fn install(plane: Arc<Plane>, options: InstallOptions) -> Result<Self> {
        let mut lapse = Self::prepare(plane, Arc::new(Proxy::start()?), options).await?;
        lapse.plane.progress().step("installing the chart with Helm");
        lapse.upgrade(&[]).await?;
        lapse.run().await?;
        Ok(lapse)
    }

    /// Another release of it in the same place, of which nothing is installed and nothing runs yet.
    pub async fn release(&self, options: InstallOptions) -> Result<Self> {
        Self::prepare(Arc::clone(&self.plane), Arc::clone(&self.proxy), options).await
    }

    async fn prepare(
        plane: Arc<Plane>,
        proxy: Arc<Proxy>,
        options: InstallOptions,
    ) -> Result<Self> {
        let programs = options.ready_programs().await?;
        let callers = options.controllers;
        let api = options.behind_proxy.then(|| ApiProxy::start(&plane, callers)).transpose()?;
        let api = api.map(Arc::new);
        let (controllers, webhooks, gateways) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Self { controllers, webhooks, gateways, proxy, api, plane, options, programs })
    }

    /// Starts the components as the chart in the cluster has them, and waits until admission works.
    pub async fn run(&mut self) -> Result<()> {
        self.wait_for_crds().await?;
        let count = self.options.webhooks;
        self.webhooks = self.replicas(WEBHOOK, "webhook", count).await?;
        let backends = self.webhooks.iter().filter_map(|webhook| webhook.served).collect();
        self.proxy.set_backends(backends);
        let count = self.options.controllers;
        self.controllers = self.replicas(CONTROLLER, "controller", count).await?;
        let count = self.options.gateways;
        self.gateways = self.replicas(GATEWAY, "gateway", count).await?;
        for component in self.components() {
            component.ready().await?;
        }
        self.wait_for_admission().await
    }

    /// Lapse on the control plane that the tests of one binary share. It ends with the process.
    pub async fn shared() -> Result<Arc<Self>> {
        let start = async || {
            let plane = Plane::shared().await?;
            // A role that tests may change, each in its own namespace.
            let role = ["kind=Role", "name=mend"];
            let set = role.map(|value| format!("controller.bindableRoles[4].{value}")).to_vec();
            let options = InstallOptions { set, ..InstallOptions::default() };
            Self::install(plane, options).await.map(Arc::new)
        };
        SHARED.get_or_try_init(start).await.cloned()
    }

    /// Lapse on a control plane of its own.
    pub async fn start(plane: PlaneOptions, options: InstallOptions) -> Result<Self> {
        let plane = Arc::new(Plane::start(plane).await?);
        Self::install(plane, options).await
    }

    /// Runs `helm upgrade --install` with the same values as before and `KEY=VALUE` in addition.
    /// Running components keep their settings.
    pub async fn upgrade(&self, set: &[&str]) -> Result<String> {
        let values = self.plane.folder().join("values.yaml");
        fs::write(&values, VALUES).with_context(|| format!("writing {}", values.display()))?;
        let chart = self.options.chart.clone().unwrap_or_else(chart);
        let url = format!("webhook.url=https://127.0.0.1:{}", self.proxy.port());
        let mut args = ["upgrade", "--install", "lapse"].map(String::from).to_vec();
        args.push(path(&chart)?);
        args.extend(["--namespace", NAMESPACE, "--create-namespace"].map(String::from));
        for file in std::iter::once(&values).chain(&self.options.values) {
            args.extend(["--values".to_owned(), path(file)?]);
        }
        let sets = self.options.set.iter().map(String::as_str).chain(set.iter().copied());
        // Hosts of the tests call it by the address of the machine on their own network.
        let gateway = ["gateway.enabled=true", "gateway.names={127.0.0.1,10.77.0.1}"];
        let gateway = gateway.into_iter().filter(|_| self.options.gateways > 0);
        for pair in std::iter::once(url.as_str()).chain(gateway).chain(sets) {
            ensure!(pair.contains('='), "`{pair}` is not KEY=VALUE, as Helm's --set wants it");
            args.extend(["--set".to_owned(), pair.to_owned()]);
        }
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        self.plane.helm(&args).await?.ok()
    }

    /// The control plane that it runs on.
    #[must_use]
    pub fn plane(&self) -> &Arc<Plane> {
        &self.plane
    }

    /// All components, webhooks first.
    pub fn components(&self) -> impl Iterator<Item = &Component> {
        self.webhooks.iter().chain(&self.controllers).chain(&self.gateways)
    }

    /// Stops the components, all at the same time.
    ///
    /// # Errors
    /// If one of those that still ran had to be killed.
    pub async fn stop(&self) -> Result<()> {
        let running = self.components().filter(|component| component.process.exit().is_none());
        let mut stopping: Vec<_> =
            running.map(|component| Box::pin(component.process.terminate(GRACE))).collect();
        let mut outcome = Ok(());
        for stop in &mut stopping {
            if let Err(error) = stop.await {
                outcome = Err(error);
            }
        }
        outcome
    }

    /// Starts the replicas of one deployment, whose name is its program's too.
    async fn replicas(&self, deployment: &str, name: &str, count: usize) -> Result<Vec<Component>> {
        if count == 0 {
            return Ok(Vec::new());
        }
        let progress = self.plane.progress();
        let template = Template::read(&self.plane, NAMESPACE, deployment).await?;
        let program = self.programs.get(deployment);
        let program = program.with_context(|| format!("{deployment} was not built"))?;
        progress.step(&format!("starting {deployment} ({count})"));
        let api = self.api.as_ref().filter(|_| deployment == CONTROLLER);
        let start = |index| {
            let url = api.and_then(|api| api.url(index));
            template.start(&self.plane, &format!("{name}-{index}"), program, url)
        };
        (0..count).map(start).collect()
    }

    async fn wait_for_crds(&self) -> Result<()> {
        let admin = self.plane.admin().await?;
        let definitions: Api<CustomResourceDefinition> = Api::all(admin.client);
        eventually("the CRDs to be established", SOON, async || {
            let found = definitions.list(&ListParams::default()).await?;
            Ok(found.iter().all(is_established).then_some(()))
        })
        .await
    }

    /// Waits until the API server gets an answer from the webhooks: it learns of their
    /// configuration a little after it was written.
    async fn wait_for_admission(&self) -> Result<()> {
        if self.webhooks.is_empty() {
            return Ok(());
        }
        let admin = self.plane.admin().await?;
        let kind = ApiResource {
            group: "lapse.dev".to_owned(),
            version: "v1alpha1".to_owned(),
            api_version: "lapse.dev/v1alpha1".to_owned(),
            kind: "AccessRequest".to_owned(),
            plural: "accessrequests".to_owned(),
        };
        let requests: Api<DynamicObject> =
            Api::namespaced_with(admin.client.clone(), "default", &kind);
        let role = serde_json::json!({"kind": "ClusterRole", "name": "view"});
        let mut probe = DynamicObject::new("admission-probe", &kind);
        probe.data = serde_json::json!({
            "spec": {"target": {"kubernetes": {"role": role}}, "reason": "Does admission work?"},
        });
        let dry_run = PostParams { dry_run: true, ..PostParams::default() };
        eventually("admission to work", SOON, async || {
            match requests.create(&dry_run, &probe).await {
                // A webhook that cannot be called is an internal error; a refusal is an answer.
                Err(kube::Error::Api(status)) if status.code < 500 => Ok(Some(())),
                Err(error) => Err(error.into()),
                Ok(_) => Ok(Some(())),
            }
        })
        .await?;
        // The API server takes up admission policies at its own pace, all that stand at that moment.
        let roles: Api<Role> = Api::namespaced(admin.client, "default");
        let probe = Role {
            metadata: ObjectMeta {
                name: Some("lapse:admission-probe".to_owned()),
                ..ObjectMeta::default()
            },
            rules: None,
        };
        eventually("the admission policies to be in force", SOON, async || {
            match roles.create(&dry_run, &probe).await {
                Err(kube::Error::Api(status)) => {
                    Ok(status.message.contains("ValidatingAdmissionPolicy").then_some(()))
                }
                Err(error) => Err(error.into()),
                Ok(_) => Ok(None),
            }
        })
        .await
    }
}

fn is_established(definition: &CustomResourceDefinition) -> bool {
    let conditions = definition.status.as_ref().and_then(|status| status.conditions.as_ref());
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|condition| condition.type_ == "Established" && condition.status == "True")
}

pub(crate) fn chart() -> PathBuf {
    workspace::root().join("charts/lapse")
}

fn path(path: &Path) -> Result<String> {
    let text = path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))?;
    Ok(text.to_owned())
}
