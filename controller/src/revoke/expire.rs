//! A right whose time is up loses its bindings at once, by what its Grant has recorded: nothing needs to be looked up
//! to know that. Everything else about its end follows.

use futures::StreamExt as _;
use futures::channel::mpsc;
use futures::future::join_all;
use lapse_cluster::objects::ObjectPlace;
use lapse_crds::{GrantPhase, RbacRef};
use tracing::warn;

use crate::elevate::kubernetes;
use crate::touched::Touched;

/// How many grants are taken at once.
const AT_ONCE: usize = 32;

/// Where grants are named whose time is up.
#[derive(Clone)]
pub(crate) struct Expiry(mpsc::UnboundedSender<String>);

impl Expiry {
    pub(crate) fn new() -> (Self, mpsc::UnboundedReceiver<String>) {
        let (sender, receiver) = mpsc::unbounded();
        (Self(sender), receiver)
    }

    /// The time of a grant is up.
    pub(crate) fn is_up(&self, name: &str) {
        // A closed channel means that the process is stopping.
        let _ = self.0.unbounded_send(name.to_owned());
    }

    /// Takes the bindings of each grant that is named, until the channel closes, and has the rest of its end seen to.
    pub(crate) async fn run(
        client: kube::Client,
        touched: Touched,
        expired: mpsc::UnboundedReceiver<String>,
    ) {
        let (client, touched) = (&client, &touched);
        expired
            .for_each_concurrent(AT_ONCE, async |name| {
                take(client, touched, &name).await;
                touched.ending(&name);
            })
            .await;
    }
}

async fn take(client: &kube::Client, touched: &Touched, name: &str) {
    let Some(known) = touched.index.grant(name) else { return };
    let Some(grant) = known.live().filter(|grant| grant.phase() == GrantPhase::Active) else {
        return;
    };
    // The clock is looked at here, too: what is taken does not come back.
    if touched.clock.now() < grant.expires_at.time() {
        return;
    }
    let bindings = grant.live.iter().flat_map(|live| &live.bindings);
    let taken = bindings.map(async |binding| {
        let RbacRef { kind, namespace, name, uid } = binding;
        let place = ObjectPlace { kind: *kind, namespace: namespace.as_deref(), name };
        kubernetes::delete(client, &place, uid).await
    });
    for outcome in join_all(taken).await {
        if let Err(error) = outcome {
            warn!(grant = %name, %error, "it will be tried again");
        }
    }
}
