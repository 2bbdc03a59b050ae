//! A pod of the chart, run as a process: same arguments, environment, settings and service account.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Container, EnvVar, PodSpec, Secret, Volume};
use kube::Api;

use super::net::{SOON, eventually, free_port, http_get, http_status, loopback};
use super::process::{Process, Spec};
use super::servers::ready;
use super::user::write_private;
use super::{Plane, User};

/// What a person may set for their own runs, and the chart does not.
const PASSED_ON: [&str; 3] = ["LAPSE_LOG", "RUST_BACKTRACE", "LLVM_PROFILE_FILE"];

/// One replica of a deployment of the chart.
#[derive(Debug)]
pub struct Component {
    /// Its process. Kill it, pause it, start it again.
    pub process: Process,
    /// Where it serves `/metrics`, `/livez` and `/readyz`.
    pub metrics: SocketAddr,
    /// Where it serves admission, or agents, if it does.
    pub served: Option<SocketAddr>,
}

impl Component {
    /// Waits until it says that it is ready.
    pub async fn ready(&self) -> Result<()> {
        let check = async || Ok(http_status(self.metrics, "/readyz").await? == 200);
        ready(&self.process, check).await
    }

    /// The URL of its metrics.
    #[must_use]
    pub fn metrics_url(&self) -> String {
        format!("http://{}/metrics", self.metrics)
    }

    /// What it answers at a path of its health, without the headers.
    pub async fn says(&self, path: &str) -> Result<String> {
        let answer = String::from_utf8(http_get(self.metrics, path).await?)?;
        let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
        body.with_context(|| format!("{path} gave no HTTP answer"))
    }

    /// What it counts and measures, in the text format of Prometheus.
    pub async fn metrics_text(&self) -> Result<String> {
        self.says("/metrics").await
    }

    /// The sum of what it counts under this name with these labels, each as `key="value"`.
    pub async fn counted(&self, name: &str, labels: &[&str]) -> Result<f64> {
        let text = self.metrics_text().await?;
        let lines = text.lines().filter_map(|line| line.strip_prefix(name)?.rsplit_once(' '));
        let ours = lines.filter(|(all, _)| labels.iter().all(|label| all.contains(label)));
        Ok(ours.filter_map(|(_, value)| value.parse::<f64>().ok()).sum())
    }
}

/// A deployment as the API server holds it, and what is needed to run it.
pub(super) struct Template {
    deployment: String,
    namespace: String,
    pod: PodSpec,
    account: User,
    configmaps: BTreeMap<String, ConfigMap>,
    secrets: BTreeMap<String, Secret>,
}

impl Template {
    /// Reads the deployment and what it mounts.
    pub(super) async fn read(plane: &Plane, namespace: &str, deployment: &str) -> Result<Self> {
        let admin = plane.admin().await?;
        let deployments: Api<Deployment> = Api::namespaced(admin.client.clone(), namespace);
        let pod = deployments.get(deployment).await?.spec.and_then(|spec| spec.template.spec);
        let pod = pod.with_context(|| format!("deployment {deployment} has no pod"))?;
        let account = pod.service_account_name.as_deref().unwrap_or("default");
        let account = plane.service_account(namespace, account).await?;
        let stored: Api<ConfigMap> = Api::namespaced(admin.client, namespace);
        let mut configmaps = BTreeMap::new();
        for source in pod.volumes.iter().flatten().filter_map(|volume| volume.config_map.as_ref()) {
            if let Some(configmap) = stored.get_opt(&source.name).await? {
                configmaps.insert(source.name.clone(), configmap);
            }
        }
        let mut secrets = BTreeMap::new();
        let mounted = pod.volumes.iter().flatten().filter_map(|volume| volume.secret.as_ref());
        for name in mounted.filter_map(|source| source.secret_name.clone()) {
            secrets.insert(name.clone(), filled(plane, namespace, &name).await?);
        }
        let (deployment, namespace) = (deployment.to_owned(), namespace.to_owned());
        Ok(Self { deployment, namespace, pod, account, configmaps, secrets })
    }

    /// Starts one replica, which calls this URL instead of the API server's own, if there is any.
    pub(super) fn start(
        &self,
        plane: &Plane,
        name: &str,
        program: &Path,
        api: Option<&str>,
    ) -> Result<Component> {
        let container = self.pod.containers.first();
        let container =
            container.with_context(|| format!("{} has no container", self.deployment))?;
        let folder = plane.folder().join("components").join(name);
        let mounts = self.write_mounts(&folder, container)?;
        let mut env = self.environment(name, container);
        if let Some(url) = api {
            let text = fs::read_to_string(&self.account.kubeconfig)?;
            let file = folder.join("kubeconfig");
            write_private(&file, &text.replace(plane.server(), url))?;
            env.insert("KUBECONFIG".to_owned(), file.display().to_string());
        }
        let (metrics, address) = (loopback(free_port()?), loopback(free_port()?));
        let args = container.args.iter().flatten().map(|arg| expand(arg, &env)).collect();
        let mut args = relocate(args, &mounts);
        let is_served = set_flag(&mut args, "--metrics-listen", &metrics.to_string());
        if is_served {
            set_flag(&mut args, "--listen", &address.to_string());
            let named = "--san=127.0.0.1".to_owned();
            let is_admission = args.iter().any(|arg| arg.starts_with("--san="));
            if is_admission && !args.contains(&named) {
                args.push(named);
            }
        } else {
            set_flag(&mut args, "--listen", &metrics.to_string());
        }
        let process = Process::spawn(Spec {
            name: name.to_owned(),
            program: program.to_owned(),
            args,
            env,
            inherit_env: false,
            folder: Some(folder),
            log: plane.log_file(name),
        })?;
        let served = is_served.then_some(address);
        Ok(Component { process, metrics, served })
    }

    /// Writes the files of mounted `ConfigMap`s; returns which path stands for which.
    fn write_mounts(&self, folder: &Path, container: &Container) -> Result<Vec<(String, PathBuf)>> {
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        let mut mounts = Vec::new();
        for mount in container.volume_mounts.iter().flatten() {
            let mut volumes = self.pod.volumes.iter().flatten();
            let volume = volumes.find(|volume| volume.name == mount.name);
            let Some(files) = volume.and_then(|volume| self.files_of(volume)) else { continue };
            let place = folder.join(&mount.name);
            fs::create_dir_all(&place).with_context(|| format!("making {}", place.display()))?;
            for (key, value) in files {
                let file = place.join(key);
                fs::write(&file, value).with_context(|| format!("writing {}", file.display()))?;
            }
            mounts.push((mount.mount_path.clone(), place));
        }
        Ok(mounts)
    }

    /// The files of a volume, if it has any here.
    fn files_of(&self, volume: &Volume) -> Option<BTreeMap<String, Vec<u8>>> {
        if let Some(source) = &volume.config_map {
            let data = self.configmaps.get(&source.name)?.data.iter().flatten();
            return Some(data.map(|(key, value)| (key.clone(), value.clone().into())).collect());
        }
        let name = volume.secret.as_ref()?.secret_name.as_ref()?;
        let data = self.secrets.get(name)?.data.iter().flatten();
        Some(data.map(|(key, value)| (key.clone(), value.0.clone())).collect())
    }

    fn environment(&self, pod: &str, container: &Container) -> BTreeMap<String, String> {
        let from_chart = container.env.iter().flatten();
        let mut env: BTreeMap<_, _> = from_chart
            .filter_map(|variable| Some((variable.name.clone(), self.value(pod, variable)?)))
            .collect();
        // As the kubelet does, in values, too.
        let known = env.clone();
        for value in env.values_mut() {
            *value = expand(value, &known);
        }
        for key in PASSED_ON {
            if let Ok(value) = std::env::var(key) {
                env.insert(key.to_owned(), value);
            }
        }
        let kubeconfig = self.account.kubeconfig.display().to_string();
        env.insert("KUBECONFIG".to_owned(), kubeconfig);
        env
    }

    /// The value of a variable, as the kubelet would find it.
    fn value(&self, pod: &str, variable: &EnvVar) -> Option<String> {
        if let Some(value) = &variable.value {
            return Some(value.clone());
        }
        let field = variable.value_from.as_ref()?.field_ref.as_ref()?.field_path.as_str();
        match field {
            "metadata.name" => Some(format!("lapse-{pod}")),
            "metadata.namespace" => Some(self.namespace.clone()),
            "spec.serviceAccountName" => self.pod.service_account_name.clone(),
            "spec.nodeName" => Some("localhost".to_owned()),
            "status.podIP" | "status.hostIP" => Some("127.0.0.1".to_owned()),
            _ => None,
        }
    }
}

/// A Secret, once somebody has written something into it: a pod that mounts it would start with what is there, and look
/// again.
async fn filled(plane: &Plane, namespace: &str, name: &str) -> Result<Secret> {
    let admin = plane.admin().await?;
    let secrets: Api<Secret> = Api::namespaced(admin.client, namespace);
    eventually(&format!("Secret {name} to be filled"), SOON, async || {
        let secret = secrets.get(name).await?;
        Ok(secret.data.as_ref().is_some_and(|data| !data.is_empty()).then_some(secret))
    })
    .await
}

/// Replaces `$(NAME)`, as the kubelet does.
fn expand(arg: &str, env: &BTreeMap<String, String>) -> String {
    env.iter().fold(arg.to_owned(), |arg, (key, value)| arg.replace(&format!("$({key})"), value))
}

/// Replaces the paths that a pod would have by the folders that stand for them.
fn relocate(mut args: Vec<String>, mounts: &[(String, PathBuf)]) -> Vec<String> {
    for (path, folder) in mounts {
        for arg in &mut args {
            let (flag, value) = arg.split_once('=').unwrap_or(("", arg.as_str()));
            let Some(rest) = value.strip_prefix(path.as_str()) else {
                continue;
            };
            if rest.is_empty() || rest.starts_with('/') {
                let separator = if flag.is_empty() { "" } else { "=" };
                *arg = format!("{flag}{separator}{}{rest}", folder.display());
            }
        }
    }
    args
}

/// Gives a flag another value, whether written `--flag=value` or `--flag value`. Returns whether it
/// was there.
fn set_flag(args: &mut [String], flag: &str, value: &str) -> bool {
    let joined = format!("{flag}=");
    for index in 0..args.len() {
        if args[index].starts_with(&joined) {
            args[index] = format!("{joined}{value}");
            return true;
        }
        if args[index] == flag && index + 1 < args.len() {
            value.clone_into(&mut args[index + 1]);
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(args: &[&str]) -> Vec<String> {
        args.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn flags_are_set_in_both_spellings() {
        let mut args = strings(&["run", "--listen=0.0.0.0:9443", "--metrics-listen", ":9090"]);
        assert!(set_flag(&mut args, "--listen", "127.0.0.1:1"));
        assert!(set_flag(&mut args, "--metrics-listen", "127.0.0.1:2"));
        assert!(!set_flag(&mut args, "--san", "x"));
        assert_eq!(
            args,
            strings(&["run", "--listen=127.0.0.1:1", "--metrics-listen", "127.0.0.1:2"])
        );
    }

    #[test]
    fn mounted_paths_are_replaced_and_similar_ones_are_not() {
        let args = strings(&["--settings=/etc/lapse/settings.yaml", "/etc/lapse", "/etc/lapsed/x"]);
        let mounts = [("/etc/lapse".to_owned(), PathBuf::from("/run/c"))];
        let expected = strings(&["--settings=/run/c/settings.yaml", "/run/c", "/etc/lapsed/x"]);
        assert_eq!(relocate(args, &mounts), expected);
    }

    #[test]
    fn variables_are_expanded_in_arguments() {
        let env = BTreeMap::from([("POD_NAME".to_owned(), "lapse-controller-0".to_owned())]);
        assert_eq!(expand("--identity=$(POD_NAME)", &env), "--identity=lapse-controller-0");
    }
}
