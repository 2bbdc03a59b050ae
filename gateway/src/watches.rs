//! What is followed in the cluster: orders, Endpoints, and what hosts are to trust.

use std::collections::HashSet;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, Resource, ResourceExt as _};
use lapse_cluster::watch::{FIRST_LIST, FirstLists, Follow, Restarts};
use lapse_cluster::{ENDPOINT_TRUST, GATEWAYS, Stored, clock, watch};
use lapse_crds::{AccessRequest, ENDPOINT_LABEL, Endpoint, Grant};
use serde::de::DeserializeOwned;
use tokio::sync::watch::Sender;
use tokio::time::sleep;
use tracing::warn;

use crate::attached::{Doubtful, EndCause};
use crate::book::{Book, SeenGrant};
use crate::endpoints;
use crate::requests::{Requests, SeenRequest};
use crate::roll::Lean;
use crate::shared::Shared;
use crate::watchman::Watchman;

/// What is followed.
pub(crate) struct Watches {
    pub(crate) shared: Arc<Shared>,
    /// The namespace of the installation.
    pub(crate) namespace: String,
    /// The namespace of the requests that people make on hosts, if the gateway carries any.
    pub(crate) host_requests: Option<String>,
    /// Who is told what hosts are to trust.
    pub(crate) trust: Sender<Option<String>>,
    /// Who is told where requests are carried to.
    pub(crate) carries: Sender<Option<String>>,
    pub(crate) restarts: Restarts,
    pub(crate) first_lists: FirstLists,
    /// Who is told which processes of the gateway live.
    pub(crate) watchman: Watchman,
}

/// How many watches [`Watches::run`] runs that hosts cannot be served without.
pub(crate) const WATCHES: usize = 4;

/// How many objects are listed at once.
const PAGE: u32 = 500;

/// How long after a look that failed it is looked again.
const AGAIN: Duration = Duration::from_secs(1);

fn stored<K>(
    client: &Client,
    labels: &str,
) -> impl Stream<Item = watcher::Result<Event<Stored<K>>>> + Send + use<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    watch::events(Api::all(client.clone()), watch::config().labels(labels).page_size(PAGE))
}

impl Watches {
    /// Follows everything until it is dropped.
    pub(crate) async fn run(self) {
        tokio::join!(
            self.grants(),
            self.endpoints(),
            self.trust(),
            self.gateways(),
            self.requests()
        );
    }

    fn follow<S>(&self, what: &'static str, events: S) -> Follow<S> {
        let (restarts, first_lists) = (self.restarts.clone(), self.first_lists.clone());
        Follow { what, events, restarts, patience: FIRST_LIST, first_lists }
    }

    /// The Grants that give rights on hosts.
    async fn grants(&self) {
        let shared = &self.shared;
        let follow = self.follow("Grants", || stored::<Grant>(&shared.client, ENDPOINT_LABEL));
        let on_event = |event: Event<Stored<Grant>>| match event {
            Event::Init => shared.book().begin(),
            Event::InitDone => shared.change(Book::done),
            Event::Apply(stored) | Event::InitApply(stored) => {
                shared.book().listed(&stored.name_any());
                match SeenGrant::read(&stored) {
                    Ok(Some(seen)) => shared.change(|book| book.apply(seen, clock::now())),
                    Ok(None) => {}
                    Err(error) => {
                        warn!(grant = %stored.name_any(), %error, "an order cannot be carried");
                    }
                }
            }
            Event::Delete(stored) => shared.change(|book| book.delete(&stored.name_any())),
        };
        follow.run(on_event, |_| shared.book().doubt()).await;
    }

    /// What people on hosts have requested. Nothing else waits for it: a gateway that may not list it serves hosts all the
    /// same, and carries no requests.
    async fn requests(&self) {
        let Some(namespace) = &self.host_requests else { return };
        let shared = &self.shared;
        let api: Api<Stored<AccessRequest>> = Api::namespaced(shared.client.clone(), namespace);
        let config = watch::config().page_size(PAGE);
        let first_lists = FirstLists::new(1);
        let follow = Follow {
            what: "requests of hosts",
            events: || watch::events(api.clone(), config.clone()),
            restarts: self.restarts.clone(),
            patience: FIRST_LIST,
            first_lists: first_lists.clone(),
        };
        let on_event = |event: Event<Stored<AccessRequest>>| match event {
            Event::Init => shared.requests().begin(),
            Event::InitDone => shared.change_requests(Requests::done),
            Event::Apply(stored) | Event::InitApply(stored) => {
                shared.requests().listed(&stored.name_any());
                match SeenRequest::read(&stored) {
                    Ok(Some(seen)) => {
                        shared.change_requests(|requests| requests.apply(seen, clock::now()));
                    }
                    Ok(None) => {}
                    Err(error) => {
                        warn!(request = %stored.name_any(), error, "a request cannot be read");
                    }
                }
            }
            Event::Delete(stored) => {
                shared.change_requests(|requests| requests.delete(&stored.name_any()));
            }
        };
        let once_listed = async {
            first_lists.all().await;
            self.carries.send_replace(Some(namespace.clone()));
        };
        tokio::join!(follow.run(on_event, |_| ()), once_listed);
    }

    /// The Endpoints: a connection ends with its Endpoint, and with a new enrolment.
    async fn endpoints(&self) {
        let shared = &self.shared;
        // The UIDs and the names that a list has shown so far.
        let mut listed: Option<(HashSet<String>, HashSet<String>)> = None;
        let follow = self.follow("Endpoints", || stored::<Endpoint>(&shared.client, ""));
        let on_event = |event: Event<Stored<Endpoint>>| match event {
            Event::Init => listed = Some(Default::default()),
            Event::InitDone => {
                if let Some((uids, names)) = listed.take() {
                    shared.roll().keep(|name| names.contains(name));
                    let beyond = shared.attached().beyond(|uid| uids.contains(uid));
                    tokio::spawn(confirm(shared.clone(), beyond));
                }
            }
            Event::Apply(stored) | Event::InitApply(stored) => {
                let (uid, name) = (stored.uid().unwrap_or_default(), stored.name_any());
                if let Some((uids, names)) = &mut listed {
                    uids.insert(uid.clone());
                    names.insert(name.clone());
                }
                match stored.read::<Lean>() {
                    Ok(lean) => {
                        let doubtful = shared.attached().seen(&name, &uid, lean.agent());
                        shared.roll().see(name, lean.standing());
                        if let Some(doubtful) = doubtful {
                            tokio::spawn(confirm(shared.clone(), vec![doubtful]));
                        }
                    }
                    Err(error) => {
                        warn!(endpoint = %stored.name_any(), error, "an Endpoint cannot be read");
                    }
                }
            }
            Event::Delete(stored) => {
                shared.roll().forget(&stored.name_any());
                shared.attached().deleted(&stored.uid().unwrap_or_default());
            }
        };
        // Who connects is read as of now, so what the watch shows late lets nobody in.
        follow.run(on_event, |_| ()).await;
    }

    /// Which processes of the gateway live.
    async fn gateways(&self) {
        let api: Api<ConfigMap> = Api::namespaced(self.shared.client.clone(), &self.namespace);
        let config = watch::config().fields(&format!("metadata.name={GATEWAYS}"));
        let follow = self.follow("gateways", || watch::events(api.clone(), config.clone()));
        let on_event = |event: Event<ConfigMap>| {
            if let Event::Apply(map) | Event::InitApply(map) = event {
                self.watchman.saw(&map.data.unwrap_or_default());
            }
        };
        follow.run(on_event, |_| ()).await;
    }

    /// What hosts are to trust.
    async fn trust(&self) {
        let api: Api<ConfigMap> = Api::namespaced(self.shared.client.clone(), &self.namespace);
        let config = watch::config().fields(&format!("metadata.name={ENDPOINT_TRUST}"));
        let follow = self.follow("what hosts trust", || watch::events(api.clone(), config.clone()));
        let on_event = |event: Event<ConfigMap>| {
            let (Event::Apply(map) | Event::InitApply(map)) = event else { return };
            let said = map.data.and_then(|mut data| data.remove("trust.json"));
            self.trust.send_if_modified(|known| {
                let is_new = said.is_some() && *known != said;
                if is_new {
                    *known = said;
                }
                is_new
            });
        };
        follow.run(on_event, |_| ()).await;
    }
}

/// Looks as of now whether there is a place for these connections, and ends those for which there is none.
async fn confirm(shared: Arc<Shared>, doubtful: Vec<Doubtful>) {
    for doubtful in doubtful {
        let name = &doubtful.identity.name;
        while shared.attached().is_there(&doubtful) {
            let turn = shared.reads.acquire().await;
            let live = endpoints::read(&shared.client, name).await;
            drop(turn);
            match live {
                Ok(Some(live)) if endpoints::is_of(&live, &doubtful.identity) => {
                    let connection = live.status.and_then(|status| status.connection);
                    if connection.is_some_and(|known| known.name != *doubtful.connection) {
                        shared.attached().end_stored(&doubtful, EndCause::Replaced);
                    }
                    break;
                }
                Ok(Some(live)) if live.metadata.uid.as_ref() == Some(&doubtful.identity.uid) => {
                    shared.attached().end(&doubtful, EndCause::Reenrolled);
                    break;
                }
                Ok(_) => {
                    shared.attached().end(&doubtful, EndCause::Deleted);
                    break;
                }
                Err(error) => {
                    warn!(endpoint = %name, %error, "whether a connection may stay is not known yet");
                    sleep(AGAIN).await;
                }
            }
        }
    }
}
