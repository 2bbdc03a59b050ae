//! From the command line to a request.

use chrono::{DateTime, Utc};
use kube::api::ObjectMeta;
use lapse_crds::{
    AccessRequest, AccessRequestSpec, AccountTarget, Admin, Command, EndpointTarget,
    KubernetesTarget, RoleRef, Target,
};

use crate::args::{Ask, AskFor, parse_start};
use crate::fault::Fault;
use crate::role;

/// The most characters of a name that is made up; the API server adds five.
const STEM: usize = 50;

/// The request that the command line asks for. `offered` are the roles that policies offer whoever asks, if they are
/// known: another one is refused here, with the name that is nearest.
pub(crate) fn request(
    ask: &Ask,
    name: Option<&str>,
    namespace: &str,
    offered: Option<&[RoleRef]>,
    now: DateTime<Utc>,
) -> Result<AccessRequest, Fault> {
    // Where it is made is proven when it is sent.
    let Ask { what, duration, reason, ticket, policy, emergency, at, from_host: _ } = ask;
    let start = at.as_deref().map(|at| parse_start(at, now)).transpose().map_err(Fault::Usage)?;
    let spec = AccessRequestSpec {
        policy: policy.clone(),
        target: target(what, offered)?,
        duration: *duration,
        start_time: start,
        ticket: ticket.clone(),
        reason: reason.clone(),
        emergency: *emergency,
        extends: None,
        origin: None,
        requester: None,
    };
    Ok(named(spec, name, namespace))
}

/// A request with its name, or with what its name begins with.
pub(crate) fn named(spec: AccessRequestSpec, name: Option<&str>, namespace: &str) -> AccessRequest {
    let stem = stem(&spec);
    let metadata = ObjectMeta {
        name: name.map(ToOwned::to_owned),
        generate_name: name.is_none().then(|| format!("{stem}-")),
        namespace: Some(namespace.to_owned()),
        ..ObjectMeta::default()
    };
    AccessRequest { metadata, spec, status: None }
}

fn target(what: &AskFor, offered: Option<&[RoleRef]>) -> Result<Target, Fault> {
    let AskFor { role, rules, namespaces, cluster_wide, endpoint, .. } = what;
    if what.is_for_several() {
        return Err(Fault::Usage(
            "this is for one host; `kubectl jit request` makes a request for each of several"
                .to_owned(),
        ));
    }
    if let [host] = endpoint.as_slice() {
        return Ok(Target { kubernetes: None, endpoint: Some(on_host(what, host)?) });
    }
    let role = match role {
        Some(text) => Some(offered_role(text, offered)?),
        None => None,
    };
    let kubernetes = KubernetesTarget {
        role,
        rules: rules.iter().flat_map(|rules| rules.0.clone()).collect(),
        namespaces: namespaces.clone(),
        cluster_wide: *cluster_wide,
    };
    if kubernetes.role.is_none() && kubernetes.rules.is_empty() {
        return Err(Fault::Usage(
            "say what you request: a ROLE such as edit, --rules, or --endpoint; `kubectl jit policies` lists what you \
             may request"
                .to_owned(),
        ));
    }
    Ok(Target { kubernetes: Some(kubernetes), endpoint: None })
}

fn offered_role(text: &str, offered: Option<&[RoleRef]>) -> Result<RoleRef, Fault> {
    let role = role::meant(text, offered.unwrap_or_default());
    match offered {
        Some(offered) if !offered.contains(&role) => {
            let names = offered.iter().map(|role| role.name.as_str());
            let nearest = role::nearest(&role.name, names);
            let hint =
                nearest.map_or_else(String::new, |nearest| format!(" did you mean {nearest}?"));
            Err(Fault::NoAccess(format!(
                "no policy offers you {role};{hint} `kubectl jit policies` lists what you may request"
            )))
        }
        _ => Ok(role),
    }
}

fn on_host(what: &AskFor, host: &str) -> Result<EndpointTarget, Fault> {
    let commands = what.commands.iter().map(|line| command(line)).collect::<Result<_, _>>()?;
    let (account, group) = match (what.account, what.groups.as_slice()) {
        (Some(action), groups) => {
            let groups = groups.to_vec();
            (Some(AccountTarget { action, groups, authorized_keys: Vec::new() }), None)
        }
        (None, []) => (None, None),
        (None, [group]) => (None, Some(group.clone())),
        (None, _) => {
            return Err(Fault::Usage(
                "a request is for one group; request each by itself, or all with --account raise"
                    .to_owned(),
            ));
        }
    };
    Ok(EndpointTarget {
        name: host.to_owned(),
        local_user: what.local_user.clone(),
        admin: what.admin.then_some(Admin {}),
        commands,
        group,
        application: what.application.clone(),
        account,
        ..EndpointTarget::default()
    })
}

/// A command with exact arguments, separated by spaces: no shell reads it.
fn command(line: &str) -> Result<Command, Fault> {
    let mut words = line.split_whitespace().map(ToOwned::to_owned);
    match words.next() {
        Some(path) if path.starts_with('/') => {
            Ok(Command { path, args: words.collect(), args_pattern: None })
        }
        _ => Err(Fault::Usage(format!(
            "--command {line:?} does not begin with an absolute path; write it as '/usr/bin/systemctl restart nginx'"
        ))),
    }
}

/// What the name of a request begins with: what is asked for, as far as names may say it.
fn stem(spec: &AccessRequestSpec) -> String {
    let kubernetes = spec.target.kubernetes.as_ref();
    let role = kubernetes.and_then(|target| target.role.as_ref()).map(|role| role.name.as_str());
    let host = spec.target.endpoint.as_ref().map(|target| target.name.as_str());
    let wanted = spec.extends.as_deref().or(role).or(host).unwrap_or("rules");
    let allowed = |character: char| match character {
        'a'..='z' | '0'..='9' => character,
        'A'..='Z' => character.to_ascii_lowercase(),
        _ => '-',
    };
    let stem: String = wanted.chars().take(STEM).map(allowed).collect();
    match stem.trim_matches('-') {
        "" => "access".to_owned(),
        stem => stem.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use rstest::rstest;

    use super::*;
    use crate::args::{Cli, Command as Verb};

    fn asked(line: &str) -> Result<AccessRequest, Fault> {
        let words = ["kubectl-jit", "request"].into_iter().chain(line.split('|'));
        let Verb::Request { ask, name, .. } = Cli::try_parse_from(words).unwrap().command else {
            panic!("no request")
        };
        let offered = ["edit", "view", "role/deployer"].map(|text| role::meant(text, &[]));
        request(&ask, name.as_deref(), "shop", Some(&offered), DateTime::UNIX_EPOCH)
    }

    #[rstest]
    #[case("edit", "edit-")]
    #[case("--endpoint|web-1|--admin", "web-1-")]
    #[case("--rules|get:pods", "rules-")]
    fn names_begin_with_what_is_asked_for(#[case] line: &str, #[case] begin: &str) {
        assert_eq!(asked(line).unwrap().metadata.generate_name.as_deref(), Some(begin));
    }

    #[rstest]
    #[case("lapse:Shop_Edit", "lapse-shop-edit")]
    #[case("::", "access")]
    fn stems_are_names(#[case] role: &str, #[case] expected: &str) {
        let mut request = asked("edit").unwrap();
        let target = request.spec.target.kubernetes.as_mut().unwrap();
        target.role = Some(role::meant(role, &[]));
        assert_eq!(stem(&request.spec), expected);
    }

    #[test]
    fn a_request_says_what_the_command_line_says() {
        let lines = [
            "deployer|--for|1h|--reason|Checkout fails|--ticket|INC1|--at|+2h|--name|fix",
            "--rules|get:pods,deployments.apps|--rules|patch:deployments.apps:checkout|--target-namespace|bank",
            "--endpoint|web-1|--command|/usr/bin/systemctl restart nginx|--local-user|al|--emergency",
            "--endpoint|web-1|--application|restart-web",
            "--endpoint|web-1|--account|raise|--group|adm|--group|ops",
            "--endpoint|web-1|--group|adm",
        ];
        let specs: Vec<String> = lines
            .iter()
            .map(|line| serde_saphyr::to_string(&asked(line).unwrap().spec).unwrap())
            .collect();
        insta::assert_snapshot!(specs.join("---\n"));
    }

    #[test]
    fn what_nobody_offers_is_refused_with_the_nearest_name() {
        let lines = [
            "edti",
            "cluster-admin",
            "--endpoint|web-1|--command|systemctl",
            "--endpoint|web-1|--group|adm|--group|ops",
            "--endpoint|web-1,web-2|--admin",
            "--endpoint-selector|role=web|--admin",
            "--cluster-wide",
        ];
        let told = lines.map(|line| asked(line).unwrap_err().to_string());
        insta::assert_snapshot!(told.join("\n"), @r#"
        no policy offers you ClusterRole edti; did you mean edit? `kubectl jit policies` lists what you may request
        no policy offers you ClusterRole cluster-admin; `kubectl jit policies` lists what you may request
        --command "systemctl" does not begin with an absolute path; write it as '/usr/bin/systemctl restart nginx'
        a request is for one group; request each by itself, or all with --account raise
        this is for one host; `kubectl jit request` makes a request for each of several
        this is for one host; `kubectl jit request` makes a request for each of several
        say what you request: a ROLE such as edit, --rules, or --endpoint; `kubectl jit policies` lists what you may request
        "#);
    }
}
