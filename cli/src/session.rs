//! The client: who we are, where, and what the API server warns of.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::header::WARNING;
use http::{HeaderMap, HeaderValue, Response};
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::api::PostParams;
use kube::client::ClientBuilder;
use kube::config::{ExecInteractiveMode, KubeConfigOptions};
use kube::core::Request;
use kube::{Api, Client, Config, Resource};
use lapse_cluster::Stored;
use lapse_cluster::clock::Clock;
use lapse_crds::{AccessDecision, AccessRequest, Identity, JitPolicy};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tower::BoxError;
use tower::layer::util::Stack;
use tower::timeout::TimeoutLayer;
use tower::timeout::error::Elapsed;
use tower::util::{MapErrLayer, MapResponseLayer};

use crate::args::Global;
use crate::fault::{Fault, Late};
use crate::kubeconfig::{self, Found};
use crate::stderr::tell;

/// Whom the audit log of the API server shows, and the manager of fields.
pub(crate) const PROGRAM: &str = "kubectl-jit";

/// How long to wait for a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// What the API server warned of and nobody was told yet.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<Vec<String>>>);

impl Warnings {
    fn note(&self, headers: &HeaderMap) {
        let said =
            headers.get_all(WARNING).iter().filter_map(|value| text_of(value.to_str().ok()?));
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(said);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The text of a header `Warning: 299 - "text"` (RFC 7234, section 5.5).
fn text_of(header: &str) -> Option<String> {
    let quoted = header.strip_prefix("299 ")?.split_once(' ')?.1.strip_prefix('"')?;
    let mut text = String::new();
    let mut characters = quoted.chars();
    loop {
        match characters.next()? {
            '"' => return Some(text),
            '\\' => text.push(characters.next()?),
            other => text.push(other),
        }
    }
}

/// A cluster, a namespace there, and somebody.
#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) client: Client,
    /// Where the API server is to be, for people.
    server: String,
    /// Where requests are made and looked for.
    pub(crate) namespace: String,
    /// Our clock, compared with the API server's at every answer.
    pub(crate) clock: Clock,
    /// How long one call may take.
    pub(crate) limit: Duration,
    warnings: Warnings,
    /// Whether somebody is typing, in the middle of which nothing may be told.
    is_silent: bool,
}

impl Session {
    /// Opens the cluster that the command line and the kubeconfig name.
    pub(crate) async fn open(global: &Global) -> Result<Self, Fault> {
        Self::with(config(global).await?, global)
    }

    /// Opens it for somebody who is typing: no program that hands out credentials may ask them anything.
    pub(crate) async fn open_silently(global: &Global) -> Result<Self, Fault> {
        let mut config = config(global).await?;
        if let Some(exec) = &mut config.auth_info.exec {
            exec.interactive_mode = Some(ExecInteractiveMode::Never);
        }
        Ok(Self { is_silent: true, ..Self::with(config, global)? })
    }

    fn with(mut config: Config, global: &Global) -> Result<Self, Fault> {
        config.connect_timeout = Some(CONNECT);
        let agent = format!("{PROGRAM}/{}", env!("CARGO_PKG_VERSION"));
        if let Ok(agent) = HeaderValue::from_str(&agent) {
            config.headers.push((http::header::USER_AGENT, agent));
        }
        if let Some(user) = &global.as_user {
            config.auth_info.impersonate = Some(user.clone());
            config.auth_info.impersonate_groups =
                Some(global.as_groups.clone()).filter(|groups| !groups.is_empty());
        }
        let namespace =
            global.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let server = named(&config.cluster_url);
        let warnings = Warnings::default();
        let clock = Clock::default();
        let (noted, observed) = (warnings.clone(), clock.clone());
        let noting = MapResponseLayer::new(move |response: Response<_>| {
            noted.note(response.headers());
            let date = response.headers().get(http::header::DATE);
            if let Some(date) = date.and_then(|date| date.to_str().ok()) {
                observed.observe(date);
            }
            response
        });
        let builder = ClientBuilder::try_from(config).map_err(|error| Fault::of_config(&error))?;
        let limit = Duration::from_secs(global.request_timeout);
        let client = builder.with_layer(&beginning(limit)).with_layer(&noting).build();
        Ok(Self { client, server, namespace, clock, limit, warnings, is_silent: false })
    }

    /// One of a test, in namespace `shop`.
    #[cfg(test)]
    pub(crate) fn testing(client: Client, limit: Duration) -> Self {
        let (namespace, clock, warnings) =
            ("shop".to_owned(), Clock::default(), Warnings::default());
        let server = "https://cluster.example:6443".to_owned();
        Self { client, server, namespace, clock, limit, warnings, is_silent: false }
    }

    /// The requests of the namespace.
    pub(crate) fn requests(&self) -> Api<AccessRequest> {
        self.requests_of(&self.namespace)
    }

    /// The requests of another namespace.
    pub(crate) fn requests_of(&self, namespace: &str) -> Api<AccessRequest> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// The requests of the namespace, or of all.
    pub(crate) fn requests_in(&self, all_namespaces: bool) -> Api<AccessRequest> {
        if all_namespaces { Api::all(self.client.clone()) } else { self.requests() }
    }

    /// The same as they are stored, of whatever release of Lapse they are.
    pub(crate) fn stored_requests_in(&self, all_namespaces: bool) -> Api<Stored<AccessRequest>> {
        let client = self.client.clone();
        if all_namespaces { Api::all(client) } else { Api::namespaced(client, &self.namespace) }
    }

    /// Where the API server is to be, for people.
    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    /// Where that is, in words.
    pub(crate) fn place(&self, all_namespaces: bool) -> String {
        if all_namespaces {
            "any namespace".to_owned()
        } else {
            format!("namespace {}", self.namespace)
        }
    }

    /// The decisions of a namespace.
    pub(crate) fn decisions(&self, namespace: &str) -> Api<AccessDecision> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// The policies of the cluster.
    pub(crate) fn policies(&self) -> Api<JitPolicy> {
        Api::all(self.client.clone())
    }

    /// Makes a call, for at most as long as `--request-timeout` says. `what` is what is tried: "listing requests".
    pub(crate) async fn call<T>(
        &self,
        what: impl Into<String>,
        call: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, Fault> {
        let what = what.into();
        match tokio::time::timeout(self.limit, call).await {
            Ok(answer) => answer.map_err(|error| self.fault(what, error)),
            Err(_) => Err(Fault::Unanswered { what, seconds: self.limit.as_secs() }),
        }
    }

    /// Creates an object. A field that the API server does not know is refused: were it dropped, as the API server would by
    /// itself, an older Lapse would store something else than what was asked for. And the API server gives up when we do, so
    /// that nothing is stored long after nobody waits for it.
    pub(crate) async fn create<K>(
        &self,
        what: impl Into<String>,
        api: &Api<K>,
        params: &PostParams,
        object: &K,
    ) -> Result<K, Fault>
    where
        K: Resource + DeserializeOwned + Serialize,
    {
        let create = async {
            let data = serde_json::to_vec(object).map_err(kube::Error::SerdeError)?;
            let request = Request::new(api.resource_url()).create(params, data);
            let (mut parts, body) = request.map_err(kube::Error::BuildRequest)?.into_parts();
            let (uri, limit) = (&parts.uri, self.limit.as_secs());
            let uri = format!("{uri}&fieldValidation=Strict&timeout={limit}s").parse::<http::Uri>();
            parts.uri = uri.map_err(|error| kube::Error::HttpError(error.into()))?;
            self.client.request(http::Request::from_parts(parts, body)).await
        };
        self.call(what, create).await
    }

    /// Why a call failed.
    pub(crate) fn fault(&self, what: impl Into<String>, error: kube::Error) -> Fault {
        Fault::of_server(&self.server, what, error)
    }

    /// Who the API server takes us for.
    pub(crate) async fn me(&self) -> Result<Identity, Fault> {
        let api: Api<SelfSubjectReview> = Api::all(self.client.clone());
        let asked = SelfSubjectReview::default();
        let params = PostParams::default();
        let answer = self.call("asking who you are", api.create(&params, &asked)).await?;
        let user = answer.status.and_then(|status| status.user_info).unwrap_or_default();
        Ok(Identity {
            username: user.username.unwrap_or_default(),
            uid: user.uid,
            groups: user.groups.unwrap_or_default(),
            ..Identity::default()
        })
    }

    /// Whether nothing may be told.
    pub(crate) fn is_silent(&self) -> bool {
        self.is_silent
    }

    /// What the API server warned of since the last time.
    pub(crate) fn warnings(&self) -> Vec<String> {
        self.warnings.take()
    }

    /// Tells people what the API server warned of, as kubectl does.
    pub(crate) fn tell_warnings(&self) {
        self.warnings().iter().for_each(|warning| warn(warning));
    }

    /// Tells people what else they are to know.
    pub(crate) fn warn(&self, warning: &str) {
        if !self.is_silent {
            warn(warning);
        }
    }
}

/// Has every answer begin in time. [`Session::call`] has it end, too; a watch goes on, and so has no other limit than this.
pub(crate) fn beginning(
    limit: Duration,
) -> Stack<TimeoutLayer, MapErrLayer<impl Fn(BoxError) -> BoxError + Clone>> {
    let late = move |error: BoxError| -> BoxError {
        if error.is::<Elapsed>() { Box::new(Late(limit.as_secs())) } else { error }
    };
    Stack::new(TimeoutLayer::new(limit), MapErrLayer::new(late))
}

/// Where an API server is, for people: without a password that its URL may have.
fn named(url: &http::Uri) -> String {
    let (scheme, host) = (url.scheme_str().unwrap_or("https"), url.host().unwrap_or_default());
    let port = url.port_u16().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{scheme}://{host}{port}{}", url.path().trim_end_matches('/'))
}

/// Warns as kubectl does.
pub(crate) fn warn(warning: &str) {
    let style = anstyle::AnsiColor::Yellow.on_default().bold();
    tell(&format_args!("{style}Warning:{style:#} {warning}"));
}

async fn config(global: &Global) -> Result<Config, Fault> {
    let Global { kubeconfig, context, cluster, user, .. } = global;
    let options = KubeConfigOptions {
        context: context.clone(),
        cluster: cluster.clone(),
        user: user.clone(),
    };
    let missing = match kubeconfig::read(kubeconfig.as_deref())? {
        Found::Config(found) => return kubeconfig::chosen(*found, &options).await,
        Found::Nothing(missing) => missing,
    };
    // In a pod there is no file, as for kubectl.
    match Config::incluster() {
        Ok(config) if context.is_none() && cluster.is_none() && user.is_none() => Ok(config),
        _ => Err(Fault::Config(missing)),
    }
}

#[cfg(test)]
mod tests {
    use kube::api::WatchParams;
    use rstest::rstest;

    use super::*;
    use crate::testing::session;

    #[tokio::test(start_paused = true)]
    async fn a_watch_begins_within_the_time_of_a_call() {
        let session = session(5, |_| None);
        let watched = session.requests().watch(&WatchParams::default(), "0").await;
        let fault = Fault::api("watching requests", watched.err().unwrap());
        assert_eq!(fault.to_string(), "watching requests: no answer within 5 s");
    }

    #[rstest]
    #[case("https://cluster.example:6443", "https://cluster.example:6443")]
    #[case("https://cluster.example/k8s/", "https://cluster.example/k8s")]
    #[case("https://[::1]:6443/", "https://[::1]:6443")]
    #[case("https://al:s3cret@cluster.example/", "https://cluster.example")]
    fn a_server_is_named_without_its_password(#[case] url: &str, #[case] expected: &str) {
        assert_eq!(named(&url.parse().unwrap()), expected);
    }

    #[rstest]
    #[case(r#"299 - "you approved it""#, Some("you approved it"))]
    #[case(r#"299 - "a \"word\" and a \\""#, Some(r#"a "word" and a \"#))]
    #[case(r#"199 - "other""#, None)]
    #[case("299 - bare", None)]
    #[case(r#"299 - "open"#, None)]
    fn warnings_are_quoted(#[case] header: &str, #[case] text: Option<&str>) {
        assert_eq!(text_of(header).as_deref(), text);
    }
}
