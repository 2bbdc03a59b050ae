//! The names that a place of the command line may hold.

use std::ffi::OsStr;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use clap_complete::CompletionCandidate;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::ListParams;
use kube::config::Kubeconfig;
use kube::core::Resource;
use kube::{Api, ResourceExt as _};
use lapse_crds::{AccessRequest, Endpoint, RequestPhase};
use serde::de::DeserializeOwned;

use super::super::found;
use super::fitting::{Fitting, Named, within};
use super::typed::Typed;
use crate::fault::Fault;
use crate::kubeconfig::{self, Found};
use crate::offers;
use crate::pages::Pages;
use crate::role;
use crate::session::Session;

/// How long somebody who completes waits for names at most.
pub(super) const LIMIT: Duration = Duration::from_secs(2);

/// Of what the names are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Names {
    /// All requests.
    Requests,
    /// Those that wait for people.
    Waiting,
    /// Those that are not over.
    Open,
    /// Those of the caller that are not over.
    Own,
    /// Those of the caller whose access is held.
    Held,
    /// Emergencies that await their review.
    ToReview,
    /// The roles that policies offer the caller.
    Roles,
    /// The policies that offer the caller anything.
    Offering,
    /// All policies.
    Policies,
    Endpoints,
    Namespaces,
    /// Of the kubeconfig, as the following two.
    Contexts,
    Clusters,
    Users,
}

impl Names {
    /// What an argument of a command holds, if those are names. Arguments that all commands take are of each of them.
    pub(super) fn at(command: &str, arg: &str) -> Option<Self> {
        Some(match (command, arg) {
            (_, "context") => Self::Contexts,
            (_, "cluster") => Self::Clusters,
            (_, "user") => Self::Users,
            (_, "namespace" | "installation") | ("can-i" | "request" | "run", "namespaces") => {
                Self::Namespaces
            }
            ("can-i" | "request" | "run", "role") => Self::Roles,
            ("can-i" | "request" | "run", "policy") => Self::Offering,
            ("can-i" | "request" | "run", "endpoint") => Self::Endpoints,
            ("status" | "explain", "name") => Self::Requests,
            ("approve", "names") => Self::Waiting,
            ("deny", "names") => Self::Open,
            ("end", "names") => Self::Own,
            ("extend", "name") => Self::Held,
            ("review", "names") => Self::ToReview,
            ("replay", "without") => Self::Policies,
            _ => return None,
        })
    }

    /// Those that begin so and are not typed already, as far as they are found in time.
    pub(super) fn candidates(self, typed: &Arc<Typed>, begin: &OsStr) -> Vec<CompletionCandidate> {
        // What begins with a dash is a flag, and no name.
        let Some(begin) = begin.to_str().filter(|begin| !begin.starts_with('-')) else {
            return Vec::new();
        };
        let (typed, begin) = (Arc::clone(typed), begin.to_owned());
        let found = within(LIMIT, move |to| {
            let mut fitting = Fitting::new(begin, typed.names.clone(), to);
            self.look(&typed, &mut fitting);
        });
        found.into_iter().map(Named::candidate).collect()
    }

    fn look(self, typed: &Typed, fitting: &mut Fitting) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        if let Ok(runtime) = runtime.enable_all().build() {
            // Nobody is told why there are no names: that would stand in the middle of what is typed.
            let _ = runtime.block_on(self.all(typed, fitting));
        }
    }

    async fn all(self, typed: &Typed, fitting: &mut Fitting) -> Result<(), Fault> {
        match self {
            Self::Contexts => {
                let contexts = kubeconfig(typed)?.contexts;
                fitting.add(contexts.into_iter().map(|context| Named::only(context.name)));
            }
            Self::Clusters => {
                let clusters = kubeconfig(typed)?.clusters;
                fitting.add(clusters.into_iter().map(|cluster| Named::only(cluster.name)));
            }
            Self::Users => {
                let users = kubeconfig(typed)?.auth_infos;
                fitting.add(users.into_iter().map(|user| Named::only(user.name)));
            }
            other => {
                let session = Session::open_silently(&typed.global).await?;
                other.of_cluster(&session, fitting).await?;
            }
        }
        Ok(())
    }

    async fn of_cluster(self, session: &Session, fitting: &mut Fitting) -> Result<(), Fault> {
        let client = || session.client.clone();
        match self {
            // These are of the kubeconfig.
            Self::Contexts | Self::Clusters | Self::Users => Ok(()),
            Self::Namespaces => objects::<Namespace>(session, Api::all(client()), fitting).await,
            Self::Endpoints => objects::<Endpoint>(session, Api::all(client()), fitting).await,
            Self::Policies => objects(session, session.policies(), fitting).await,
            Self::Offering => {
                let offers = offers::to_me(session).await?.offers.into_iter();
                let offering = |offered: lapse_engine::policy::Offered| Named {
                    about: offered.targets.join("; "),
                    name: offered.policy,
                };
                fitting.add(offers.map(offering));
                Ok(())
            }
            Self::Roles => {
                let roles = offers::roles(&offers::to_me(session).await?.offers);
                fitting.add(roles.iter().map(|role| Named::only(role::written(role, &roles))));
                Ok(())
            }
            Self::Requests
            | Self::Waiting
            | Self::Open
            | Self::Own
            | Self::Held
            | Self::ToReview => self.requests(session, fitting).await,
        }
    }

    /// Those of the namespace. What the API server can select by it is asked to.
    async fn requests(self, session: &Session, fitting: &mut Fitting) -> Result<(), Fault> {
        let over = RequestPhase::ALL.into_iter().filter(|phase| phase.is_terminal());
        let open: Vec<String> = over.map(|phase| format!("status.phase!={phase}")).collect();
        let open = open.join(",");
        let fields = match self {
            Self::Waiting => format!("status.phase={}", RequestPhase::Pending),
            Self::Held => {
                let me = session.me().await?.username;
                format!("spec.requester.username={me},status.phase={}", RequestPhase::Active)
            }
            Self::Own => format!("spec.requester.username={},{open}", session.me().await?.username),
            Self::Open => open,
            _ => String::new(),
        };
        let is_meant = |request: &AccessRequest| match self {
            Self::Waiting => found::is_waiting(request),
            Self::ToReview => found::awaits_review(request),
            _ => true,
        };
        listed(session, session.requests(), &fields, fitting, |request: &AccessRequest| {
            is_meant(request).then(|| Named::request(request))
        })
        .await
    }
}

fn kubeconfig(typed: &Typed) -> Result<Kubeconfig, Fault> {
    match kubeconfig::read(typed.global.kubeconfig.as_deref())? {
        Found::Config(found) => Ok(*found),
        Found::Nothing(missing) => Err(Fault::Config(missing)),
    }
}

/// All objects of a kind, by their names alone.
async fn objects<K>(session: &Session, api: Api<K>, fitting: &mut Fitting) -> Result<(), Fault>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    listed(session, api, "", fitting, |object: &K| Some(Named::only(object.name_any()))).await
}

/// The objects of a list, page by page, as long as more are wanted and more can fit: the API server lists them by name.
async fn listed<K>(
    session: &Session,
    api: Api<K>,
    fields: &str,
    fitting: &mut Fitting,
    named: impl Fn(&K) -> Option<Named>,
) -> Result<(), Fault>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let params = ListParams::default().fields(fields);
    let mut pages = Pages::of(session, "listing names", api, params).passing_over();
    while let Some(page) = pages.next().await? {
        fitting.add(page.iter().filter_map(&named));
        if fitting.is_full() || page.last().is_some_and(|last| fitting.is_past(&last.name_any())) {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use clap::CommandFactory as _;
    use serde_json::json;

    use super::*;
    use crate::args::Cli;
    use crate::testing::{page, request, session};

    #[test]
    fn every_place_that_holds_names_is_one_of_the_command_line() {
        let command = Cli::command();
        let of = |command: &clap::Command| -> Vec<(String, String)> {
            let name = command.get_name().to_owned();
            let args = command.get_arguments();
            args.map(|arg| (name.clone(), arg.get_id().to_string())).collect()
        };
        let places = command.get_subcommands().flat_map(of).chain(of(&command));
        let known = places.filter_map(|(command, arg)| {
            Some(format!("{command} {arg}: {:?}", Names::at(&command, &arg)?))
        });
        insta::assert_snapshot!(known.collect::<Vec<_>>().join("\n"), @r"
        can-i role: Roles
        can-i namespaces: Namespaces
        can-i endpoint: Endpoints
        can-i policy: Offering
        request role: Roles
        request namespaces: Namespaces
        request endpoint: Endpoints
        request policy: Offering
        status name: Requests
        approve names: Waiting
        deny names: Open
        end names: Own
        extend name: Held
        review names: ToReview
        explain name: Requests
        run role: Roles
        run namespaces: Namespaces
        run endpoint: Endpoints
        run policy: Offering
        replay without: Policies
        replay installation: Namespaces
        doctor installation: Namespaces
        kubectl-jit namespace: Namespaces
        kubectl-jit context: Contexts
        kubectl-jit cluster: Clusters
        kubectl-jit user: Users
        ");
    }

    /// What is offered of requests `r-0000` to `r-1999`, to whoever has typed this; and how many pages were asked for.
    async fn offered(begin: &str, typed: &[&str]) -> (Vec<String>, usize) {
        let pages = Arc::new(AtomicUsize::new(0));
        let asked_for = Arc::clone(&pages);
        let session = session(30, move |asked| {
            asked_for.fetch_add(1, Ordering::Relaxed);
            let first = asked.parameter("continue").map_or(0, |next| next.parse().unwrap());
            let target = json!({"kubernetes": {"role": {"kind": "ClusterRole", "name": "edit"}}});
            let requests = (first..first + 500).map(|n| request(&format!("r-{n:04}"), &target));
            let next = if first < 1500 { (first + 500).to_string() } else { String::new() };
            Some(page(&requests.collect::<Vec<_>>(), &next))
        });
        let (to, found) = mpsc::channel();
        let typed = typed.iter().map(ToString::to_string).collect();
        let mut fitting = Fitting::new(begin.to_owned(), typed, to);
        Names::Requests.of_cluster(&session, &mut fitting).await.unwrap();
        drop(fitting);
        let names = found.into_iter().flatten().map(|named| named.name).collect();
        (names, pages.load(Ordering::Relaxed))
    }

    #[tokio::test]
    async fn a_name_is_found_beyond_the_first_page() {
        assert_eq!(offered("r-1234", &[]).await, (vec!["r-1234".to_owned()], 3));
        assert_eq!(offered("r-1999", &[]).await, (vec!["r-1999".to_owned()], 4));
        let (names, pages) = offered("r-049", &["r-0490", "r-0499"]).await;
        assert_eq!((names.len(), pages), (8, 2), "the next page could begin with more");
        assert_eq!(offered("s", &[]).await, (Vec::new(), 4));
        let (names, pages) = offered("", &[]).await;
        assert_eq!((names.len(), pages), (500, 1), "nobody reads more");
    }
}
