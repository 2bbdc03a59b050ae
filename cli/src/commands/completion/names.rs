//! The names that a place of the command line may hold.

use std::ffi::OsStr;
use std::fmt::Debug;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use clap_complete::CompletionCandidate;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::ListParams;
use kube::config::Kubeconfig;
use kube::{Api, ResourceExt as _};
use lapse_crds::{AccessRequest, Endpoint, RequestPhase};
use serde::de::DeserializeOwned;

use super::super::found;
use super::typed::Typed;
use crate::fault::Fault;
use crate::offers;
use crate::output::plain;
use crate::role;
use crate::session::Session;
use crate::story;

/// How long somebody who completes waits for names at most.
pub(super) const LIMIT: Duration = Duration::from_secs(2);
/// How many of a kind are asked for: more than anybody reads.
const MOST: u32 = 500;
/// How many characters of what a name stands for are shown.
const WIDTH: usize = 80;
/// The phases of requests about which nothing can be done any more.
const OVER: [RequestPhase; 5] = [
    RequestPhase::Denied,
    RequestPhase::Withdrawn,
    RequestPhase::TimedOut,
    RequestPhase::Failed,
    RequestPhase::Ended,
];

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

/// A name, and what it stands for in a few words.
struct Named {
    name: String,
    about: String,
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

    /// Those that begin so and are not typed already; none if they cannot be had in time.
    pub(super) fn candidates(self, typed: &Arc<Typed>, begin: &OsStr) -> Vec<CompletionCandidate> {
        // What begins with a dash is a flag, and no name.
        let Some(begin) = begin.to_str().filter(|begin| !begin.starts_with('-')) else {
            return Vec::new();
        };
        let asked = Arc::clone(typed);
        let found = within(LIMIT, move || self.looked_up(&asked)).unwrap_or_default();
        let fits = |named: &Named| {
            let Named { name, .. } = named;
            // What steers a terminal is completed by nobody.
            name.starts_with(begin) && !typed.names.contains(name) && plain(name) == *name
        };
        found.into_iter().filter(fits).map(Named::candidate).collect()
    }

    fn looked_up(self, typed: &Typed) -> Option<Vec<Named>> {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().build().ok()?.block_on(self.all(typed)).ok()
    }

    async fn all(self, typed: &Typed) -> Result<Vec<Named>, Fault> {
        match self {
            Self::Contexts => Ok(names(kubeconfig(typed)?.contexts, |context| context.name)),
            Self::Clusters => Ok(names(kubeconfig(typed)?.clusters, |cluster| cluster.name)),
            Self::Users => Ok(names(kubeconfig(typed)?.auth_infos, |user| user.name)),
            other => other.of_cluster(&Session::open_silently(&typed.global).await?).await,
        }
    }

    async fn of_cluster(self, session: &Session) -> Result<Vec<Named>, Fault> {
        let client = || session.client.clone();
        match self {
            // These are of the kubeconfig.
            Self::Contexts | Self::Clusters | Self::Users => Ok(Vec::new()),
            Self::Namespaces => {
                let api: Api<Namespace> = Api::all(client());
                Ok(names(page(session, api, "").await?, |namespace| namespace.name_any()))
            }
            Self::Endpoints => {
                let api: Api<Endpoint> = Api::all(client());
                Ok(names(page(session, api, "").await?, |endpoint| endpoint.name_any()))
            }
            Self::Policies => {
                let policies = page(session, session.policies(), "").await?;
                Ok(names(policies, |policy| policy.name_any()))
            }
            Self::Offering => {
                let offers = offers::to_me(session).await?.offers.into_iter();
                let offering = |offered: lapse_engine::policy::Offered| Named {
                    about: offered.targets.join("; "),
                    name: offered.policy,
                };
                Ok(offers.map(offering).collect())
            }
            Self::Roles => {
                let roles = offers::roles(&offers::to_me(session).await?.offers);
                Ok(names(&roles, |role| role::written(role, &roles)))
            }
            Self::Requests
            | Self::Waiting
            | Self::Open
            | Self::Own
            | Self::Held
            | Self::ToReview => self.requests(session).await,
        }
    }

    /// Those of the namespace. What the API server can select by it is asked to.
    async fn requests(self, session: &Session) -> Result<Vec<Named>, Fault> {
        let open = OVER.map(|phase| format!("status.phase!={phase}")).join(",");
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
        let mut found = page(session, session.requests(), &fields).await?;
        match self {
            Self::Waiting => found.retain(found::is_waiting),
            Self::ToReview => found.retain(found::awaits_review),
            _ => {}
        }
        Ok(found.iter().map(Named::request).collect())
    }
}

impl Named {
    fn request(request: &AccessRequest) -> Self {
        let about = format!("{}: {}", story::requester(request), story::target(request));
        Self { name: request.name_any(), about }
    }

    fn candidate(self) -> CompletionCandidate {
        let about: String = plain(&self.about).chars().take(WIDTH).collect();
        let about = Some(about).filter(|about| !about.is_empty());
        CompletionCandidate::new(self.name).help(about.map(Into::into))
    }
}

fn names<T>(all: impl IntoIterator<Item = T>, name: impl Fn(T) -> String) -> Vec<Named> {
    all.into_iter().map(|one| Named { name: name(one), about: String::new() }).collect()
}

fn kubeconfig(typed: &Typed) -> Result<Kubeconfig, Fault> {
    let read = match &typed.global.kubeconfig {
        Some(file) => Kubeconfig::read_from(file),
        None => Kubeconfig::read(),
    };
    read.map_err(|error| Fault::Config(error.to_string()))
}

/// The first objects of a list, and no others.
async fn page<K>(session: &Session, api: Api<K>, fields: &str) -> Result<Vec<K>, Fault>
where
    K: Clone + Debug + DeserializeOwned,
{
    let params = ListParams::default().fields(fields).limit(MOST);
    Ok(session.call("listing names", api.list(&params)).await?.items)
}

/// What is found in time. A thread is left behind where it is not, as a program that hands out credentials may hang.
fn within<T: Send + 'static>(
    limit: Duration,
    look: impl FnOnce() -> Option<T> + Send + 'static,
) -> Option<T> {
    let (found, answer) = mpsc::channel();
    thread::spawn(move || found.send(look()));
    answer.recv_timeout(limit).ok().flatten()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::args::Cli;

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
        assert!(OVER.iter().all(|phase| phase.is_terminal()));
    }

    #[test]
    fn who_completes_does_not_wait_for_what_hangs() {
        let none = within(Duration::from_millis(10), || {
            thread::park();
            Some(())
        });
        assert_eq!(none, None);
        assert_eq!(within(LIMIT, || Some(7)), Some(7));
        assert_eq!(within(LIMIT, || None::<u8>), None);
    }

    #[test]
    fn what_others_wrote_stays_on_its_line() {
        let named =
            Named { name: "fix".to_owned(), about: format!("a\nb\u{1b}{}", "x".repeat(99)) };
        let candidate = named.candidate();
        let about = candidate.get_help().unwrap().to_string();
        assert!(about.starts_with("a b\u{fffd}x") && about.chars().count() == WIDTH, "{about}");
    }
}
