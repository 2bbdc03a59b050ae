//! Who holds privileges that never end, and that no Grant explains.

use lapse_cluster::standing_subjects;
use lapse_crds::SubjectKind;
use lapse_engine::standing::{StandingHolder, StandingSubjects};

use super::finding::{Check, Examined, Finding, Many};
use crate::session::Session;

/// The cluster roles that count beside those that allow everything.
const PRIVILEGED: [&str; 2] = ["cluster-admin", "admin"];

pub(super) async fn examine(session: &Session) -> Examined {
    let right = "list on clusterroles, clusterrolebindings and rolebindings in the whole cluster";
    let named = PRIVILEGED.map(ToOwned::to_owned);
    let looked = standing_subjects(&session.client, &named, session.limit);
    let standing = Check::Standing.look("list roles and bindings", right, looked).await?;
    Ok(told(&standing))
}

fn told(standing: &StandingSubjects) -> Vec<Finding> {
    let check = Check::Standing;
    let holders: Vec<StandingHolder> =
        standing.holders().filter(|holder| !holder.is_of_kubernetes()).collect();
    if holders.is_empty() {
        return vec![check.ok("nobody but Kubernetes itself is a standing administrator")];
    }
    let mut found = Many::default();
    found.extend(holders.iter().map(held));
    found.named(check, |more| {
        let action = "the metric lapse_subjects_standing counts all of them";
        (format!("{more} more are standing administrators"), action)
    })
}

fn held(holder: &StandingHolder) -> Finding {
    let (check, subject, bindings) = (Check::Standing, &holder.subject, holder.bindings.join(", "));
    let place = if holder.everywhere { "the whole cluster" } else { "namespaces" };
    let message = format!("{subject} is a standing administrator of {place}, by {bindings}");
    let everybody = ["system:authenticated", "system:unauthenticated", "system:serviceaccounts"];
    if subject.kind == SubjectKind::Group && everybody.contains(&&*subject.name) {
        return check.problem(message, "nobody chose who is in that group: delete the binding now");
    }
    check.warning(message, "let them request it under a JitPolicy, and delete the binding")
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::rbac::v1::{RoleRef, Subject};
    use lapse_engine::standing::{PrivilegedRoles, StandingBinding};

    use super::super::finding::{NAMED, shown};
    use super::*;

    fn standing(subjects: &[(&str, &str)]) -> StandingSubjects {
        let roles = PrivilegedRoles::named(["admin".to_owned()]);
        let role = RoleRef {
            kind: "ClusterRole".to_owned(),
            name: "admin".to_owned(),
            ..RoleRef::default()
        };
        let subject = |(kind, name): &(&str, &str)| Subject {
            kind: (*kind).to_owned(),
            name: (*name).to_owned(),
            ..Subject::default()
        };
        let subjects: Vec<Subject> = subjects.iter().map(subject).collect();
        let mut standing = StandingSubjects::default();
        let (name, namespace, role, subjects) = ("b", None, &role, &*subjects);
        standing.bound(&roles, StandingBinding { namespace, name, role, subjects });
        standing
    }

    #[test]
    fn who_holds_what_never_ends_is_named_and_everybody_is_a_problem() {
        let found = told(&standing(&[
            ("User", "olga"),
            ("Group", "system:authenticated"),
            ("Group", "system:masters"),
        ]));
        insta::assert_snapshot!(shown(&found));
    }

    #[test]
    fn many_are_counted() {
        let names: Vec<String> = (0..25).map(|n| format!("user-{n:02}")).collect();
        let all: Vec<_> = names.iter().map(|name| ("User", &**name)).collect();
        let found = told(&standing(&all));
        assert_eq!(found.len(), NAMED + 1);
        assert!(found[NAMED].message.starts_with("5 more"), "{found:?}");
        let none = told(&StandingSubjects::default());
        insta::assert_snapshot!(shown([&found[NAMED], &none[0]]), @r"
        Standing warning: 5 more are standing administrators
          → the metric lapse_subjects_standing counts all of them
        Standing OK: nobody but Kubernetes itself is a standing administrator
        ");
    }
}
