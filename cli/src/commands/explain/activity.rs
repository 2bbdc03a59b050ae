//! What was called by a right on a host, as far as its Endpoint shows it.

use kube::Api;
use lapse_crds::{AccessRequest, Activity, Endpoint};

use crate::fault::Fault;
use crate::output::{Table, plain, say};
use crate::session::Session;

/// Shows the last commands. Who may not read Endpoints is shown none.
pub(super) async fn show(session: &Session, request: &AccessRequest) -> Result<(), Fault> {
    let grant = request.status.as_ref().and_then(|status| status.grant.as_ref());
    let (Some(target), Some(grant)) = (&request.spec.target.endpoint, grant) else { return Ok(()) };
    let api: Api<Endpoint> = Api::all(session.client.clone());
    let endpoint = match session.call("reading an Endpoint", api.get_opt(&target.name)).await {
        Err(fault) if fault.is_forbidden() => return Ok(()),
        endpoint => endpoint?,
    };
    let shown = endpoint.and_then(|endpoint| endpoint.status).unwrap_or_default().activity;
    for line in lines(&target.name, &grant.name, &shown)? {
        say(&line)?;
    }
    Ok(())
}

fn lines(endpoint: &str, grant: &str, shown: &[Activity]) -> Result<Vec<String>, Fault> {
    let own: Vec<&Activity> =
        shown.iter().filter(|called| called.grant.as_deref() == Some(grant)).collect();
    if own.is_empty() {
        return Ok(Vec::new());
    }
    let mut table = Table::new(&["  TIME", "USER", "EXIT", "COMMAND"]);
    for Activity { at, user, command, exit, .. } in own {
        let exit = exit.map(|exit| exit.to_string()).unwrap_or_default();
        table.row([format!("  {}", at.to_the_second()), plain(user), exit, plain(command)]);
    }
    let heading = format!("\nThe last commands on {endpoint} (what they started is in the record)");
    Ok(std::iter::once(heading).chain(table.lines()?).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_commands_of_this_grant_are_shown() {
        let activity: Vec<Activity> = serde_json::from_value(json!([
            {"at": "2026-01-01T00:00:00.000000Z", "grant": "shop-fix-0a", "user": "al", "session": "1.2", "exit": 0,
                "command": "/usr/bin/systemctl restart nginx"},
            {"at": "2026-01-01T00:00:01.000000Z", "grant": "other", "user": "bo", "session": "1.3", "command": "/bin/x"},
            {"at": "2026-01-01T00:00:02.000000Z", "grant": "shop-fix-0a", "user": "al", "session": "1.4", "command": "/bin/bash"},
        ]))
        .unwrap();
        let told = lines("web-1", "shop-fix-0a", &activity).unwrap().join("\n");
        insta::assert_snapshot!(told, @r"

        The last commands on web-1 (what they started is in the record)
          TIME                   USER   EXIT   COMMAND
          2026-01-01T00:00:00Z   al     0      /usr/bin/systemctl restart nginx
          2026-01-01T00:00:02Z   al            /bin/bash
        ");
        assert!(lines("web-1", "none", &activity).unwrap().is_empty());
    }
}
