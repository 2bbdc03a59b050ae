//! Lapse's agent on a host, installed as people install it: by its package.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use lapse_images::build::{Arch, linked};
use lapse_images::deb;
use tokio::sync::OnceCell;

use super::Host;
use crate::plane::{User, install, workspace};

/// The package of this workspace's agent, built once in a process.
static PACKAGE: OnceCell<PathBuf> = OnceCell::const_new();

/// The file of the agent's package, built the first time.
///
/// # Errors
/// If it cannot be built.
pub async fn package() -> Result<PathBuf> {
    let build = async || {
        let built = tokio::task::spawn_blocking(|| {
            let root = workspace::root();
            let programs = linked(root, !cfg!(debug_assertions), &[deb::AGENT])?;
            let folder = workspace::target().join("hosts").join("package");
            let version = env!("CARGO_PKG_VERSION");
            deb::package(root, &programs.join(deb::AGENT), version, Arch::native(), &folder)
        });
        built.await.context("building the package of the agent")?
    };
    PACKAGE.get_or_try_init(build).await.cloned()
}

impl Host {
    /// Installs the package of the agent. Until the host enrols, nothing of it runs.
    ///
    /// # Errors
    /// If it cannot be built, or `dpkg` refuses it.
    pub async fn install_agent(&self) -> Result<()> {
        self.install(&package().await?).await
    }

    /// Installs this package of the agent, also in the place of one of another release.
    ///
    /// # Errors
    /// If it is not there, or `dpkg` refuses it.
    pub async fn install(&self, package: &Path) -> Result<()> {
        let name = "lapse-agent.deb";
        fs::copy(package, self.share().join(name)).context("handing the package to the host")?;
        self.sh(&format!("dpkg --install /mnt/{name}")).await?;
        Ok(())
    }

    /// Enrols the host as the agent of an Endpoint, as its administrator would, and starts the agent.
    ///
    /// # Errors
    /// If the gateway cannot be reached by the name `gateway`, or refuses.
    pub async fn enrol(&self, admin: &User, endpoint: &str, token: &str) -> Result<()> {
        let maps: Api<ConfigMap> = Api::namespaced(admin.client.clone(), install::NAMESPACE);
        let trust = maps.get("lapse-endpoint-trust").await.context("reading the pin")?;
        let pin =
            trust.data.and_then(|data| data.get("pin").cloned()).context("there is no pin")?;
        let gateway = super::GATEWAY;
        self.sh(&format!(
            "printf %s '{token}' | lapse-agent enrol --gateway https://{gateway}:8443 --endpoint '{endpoint}' --pin '{pin}' \
             && systemctl restart lapse-agent"
        ))
        .await?;
        Ok(())
    }
}
