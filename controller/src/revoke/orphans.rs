//! Bindings of Lapse without a live grant go at once.

use futures::StreamExt as _;
use futures::channel::mpsc;
use kube::Client;
use lapse_cluster::{CallError, Reader, clock::Clock};
use lapse_crds::BindingKind;
use lapse_engine::Read;
use lapse_engine::grant::{BindingMeta, Verdict, verdict};
use tracing::{info, warn};

use crate::elevate::kubernetes::{self, BindingPlace};

/// Where bindings are named that seem to have no grant.
#[derive(Clone)]
pub(crate) struct Orphans(mpsc::UnboundedSender<BindingMeta>);

impl Orphans {
    pub(crate) fn new() -> (Self, mpsc::UnboundedReceiver<BindingMeta>) {
        let (sender, receiver) = mpsc::unbounded();
        (Self(sender), receiver)
    }

    /// Has a binding looked at.
    pub(crate) fn suspect(&self, binding: BindingMeta) {
        // A closed channel means that the process is stopping.
        let _ = self.0.unbounded_send(binding);
    }

    /// Looks at each binding that is named, until the channel closes. What fails here the sweep does.
    pub(crate) async fn run(
        reader: Reader,
        clock: Clock,
        mut suspects: mpsc::UnboundedReceiver<BindingMeta>,
        removed: impl Fn(),
    ) {
        while let Some(binding) = suspects.next().await {
            let grant = match &binding.grant {
                Some(name) => reader.grant(name).await,
                None => Read::Missing,
            };
            match verdict(&binding, &grant, clock.now()) {
                Verdict::Keep => {}
                Verdict::Remove(why) => match remove(reader.client(), &binding, &why).await {
                    Ok(()) => removed(),
                    Err(error) => warn!(%error, "the sweep will try again"),
                },
            }
        }
    }
}

/// Removes a binding that has no live grant.
pub(super) async fn remove(
    client: &Client,
    binding: &BindingMeta,
    why: &str,
) -> Result<(), CallError> {
    let place = BindingPlace {
        kind: binding.kind,
        namespace: binding.namespace.as_deref(),
        name: &binding.name,
    };
    kubernetes::delete(client, &place, &binding.uid).await?;
    let kind = match binding.kind {
        BindingKind::RoleBinding => "RoleBinding",
        BindingKind::ClusterRoleBinding => "ClusterRoleBinding",
    };
    info!(kind, namespace = ?binding.namespace, name = %binding.name, why, "removed a binding");
    Ok(())
}
