//! A second API server on the data of the first, as highly available control planes have.

use anyhow::Result;

use super::kubeconfig::{self, Credentials};
use super::process::Process;
use super::{Plane, servers};

impl Plane {
    /// Starts another API server on the same data, which it reaches at this address of the store; waits until it is
    /// ready, and returns its address, too. For a plane without nodes.
    ///
    /// # Errors
    /// If it does not become ready.
    pub async fn another_apiserver(&self, store: &str) -> Result<(Process, String)> {
        let files = servers::Files::written(self.folder());
        let (process, server) =
            servers::apiserver(&self.tools, &files, servers::ANOTHER, store, false)?;
        let admin = Credentials::Certificate(self.authority.client("admin", &["system:masters"])?);
        let text = kubeconfig::render(&server, &self.ca(), &[("admin", admin)])?;
        servers::wait_for_apiserver(&process, &kubeconfig::client(&text).await?).await?;
        Ok((process, server))
    }
}
