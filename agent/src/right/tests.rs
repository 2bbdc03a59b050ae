use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use chrono::DateTime;
use lapse_crds::GrantSpec;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::seconds(seconds)
}

fn host() -> (tempfile::TempDir, Places) {
    let folder = tempfile::tempdir().unwrap();
    let places = Places::under(folder.path());
    for path in ["etc", "usr/bin", "home/al"] {
        fs::create_dir_all(folder.path().join(path)).unwrap();
    }
    fs::write(places.at("/etc/passwd"), "al:x:1000:1000::/:/bin/sh\ntoor:x:0:0::/:/bin/sh\n")
        .unwrap();
    fs::write(places.at("/etc/group"), "adm:x:4:bo\ndocker:x:998:\nal:x:1000:\n").unwrap();
    fs::write(places.at("/usr/bin/id"), "").unwrap();
    (folder, places)
}

/// An order that was signed at 0 s and ends at 600 s.
fn order(user: &str, elevation: &Value) -> VerifiedOrder {
    let mut endpoint = json!({"name": "web-1", "uid": "u-1", "localUser": user});
    endpoint.as_object_mut().unwrap().extend(elevation.as_object().unwrap().clone());
    let spec = json!({
        "request": {"namespace": "ops", "name": "fix", "uid": "r-1"},
        "policy": {"name": "web", "uid": "p-1", "generation": 1},
        "subject": {"kind": "User", "name": "alice"},
        "target": {"endpoint": endpoint},
        "startsAt": at(0).to_rfc3339(),
        "expiresAt": at(600).to_rfc3339(),
        "rulesHash": "none",
    });
    let spec: GrantSpec = serde_json::from_value(spec).unwrap();
    let target = spec.target.endpoint.clone().unwrap();
    VerifiedOrder { grant: "g".into(), spec, target, local_user: user.into(), admitted_at: at(0) }
}

fn now(seconds: i64) -> Reading {
    Reading { wall: at(seconds), boottime_ms: 0, boot_id: "a".into() }
}

#[test]
fn an_order_is_what_its_host_knows() {
    let (_folder, places) = host();
    let right = right_of(&places, &order("al", &json!({"group": "adm"})), &now(1)).unwrap();
    assert_eq!((right.uid, right.expires_at), (1000, at(600)));
    assert_eq!(right.elevation, Elevation::Group { name: "adm".into(), gid: 4 });
    let commands = json!({"commands": [{"path": "/usr/bin/id"}]});
    let right = right_of(&places, &order("al", &commands), &now(1)).unwrap();
    assert!(matches!(right.elevation, Elevation::Commands(commands) if commands.len() == 1));
    let program = json!({"path": "/usr/bin/id", "args": ["-u"]});
    let application = json!({"application": "who", "program": program});
    let right = right_of(&places, &order("al", &application), &now(1)).unwrap();
    assert_eq!(right.elevation.to_string(), "application who");
    assert!(
        matches!(right.elevation, Elevation::Application { program, .. } if program.args == ["-u"])
    );
    let account = json!({"account": {"action": "Raise", "groups": ["adm"]}});
    let right = right_of(&places, &order("al", &account), &now(1)).unwrap();
    assert_eq!(right.elevation.to_string(), "account Raise with adm");
    let groups = vec![LocalGroup { name: "adm".into(), gid: 4 }];
    assert!(matches!(right.elevation, Elevation::Account { groups: found, .. } if found == groups));
    // There is nobody yet, and nothing of them to be looked at.
    let account = json!({"account": {"action": "Provision", "groups": ["adm"]}});
    let right = right_of(&places, &order("pat", &account), &now(1)).unwrap();
    assert_eq!((right.user.as_str(), right.uid), ("pat", UNMADE));
    assert_eq!(check(&places, &right), Ok(()));
}

#[rstest]
#[case::everything("al", json!({"admin": {}}), true)]
#[case::a_group("al", json!({"group": "adm"}), false)]
#[case::a_group_of_root("al", json!({"group": "docker"}), true)]
#[case::raised("al", json!({"account": {"action": "Raise", "groups": ["adm"]}}), false)]
#[case::raised_to_root("al", json!({"account": {"action": "Raise", "groups": ["adm", "docker"]}}), true)]
#[case::provisioned("pat", json!({"account": {"action": "Provision"}}), false)]
#[case::provisioned_as_root("pat", json!({"account": {"action": "Provision", "groups": ["docker"]}}), true)]
#[case::as_it_was_before("al", json!({"account": {"action": "Enable"}}), false)]
fn who_may_act_as_root_is_contained_as_the_order_says(
    #[case] user: &str,
    #[case] what: Value,
    #[case] is_root: bool,
) {
    let (_folder, places) = host();
    let mut order = order(user, &what);
    let contained = |order: &VerifiedOrder| right_of(&places, order, &now(1)).unwrap().containment;
    // One of a release that says nothing of that: it is looked at when it has ended.
    let nothing = Containment { guard: Guard::Off, reverts: false };
    assert_eq!(contained(&order), is_root.then_some(nothing));
    let session = json!({"guard": "Audit", "changes": "Revert"});
    order.spec.session = Some(serde_json::from_value(session).unwrap());
    let all = Containment { guard: Guard::Audit, reverts: true };
    assert_eq!(contained(&order), is_root.then_some(all));
}

#[rstest]
#[case::no_user("nobody-here", json!({"admin": {}}), "there is no local user nobody-here")]
#[case::root("toor", json!({"admin": {}}), "the local user toor has the user ID 0")]
#[case::no_group("al", json!({"group": "wheel"}), "there is no local group wheel")]
#[case::own_group("al", json!({"group": "al"}), "al is the primary group of al")]
#[case::no_program("al", json!({"commands": [{"path": "/usr/bin/none"}]}), "/usr/bin/none: there is no such program")]
#[case::no_program_of_an_application("al", json!({"application": "none", "program": {"path": "/usr/bin/none"}}), "/usr/bin/none: there is no such program")]
#[case::no_group_of_an_account("al", json!({"account": {"action": "Raise", "groups": ["adm", "wheel"]}}), "there is no local group wheel")]
#[case::own_group_of_an_account("al", json!({"account": {"action": "Raise", "groups": ["al"]}}), "al is the primary group of al")]
#[case::folder("al", json!({"commands": [{"path": "/usr/bin"}]}), "/usr/bin: it is not a file")]
fn what_a_host_does_not_have_is_said(#[case] user: &str, #[case] what: Value, #[case] said: &str) {
    let (_folder, places) = host();
    let error = right_of(&places, &order(user, &what), &now(1)).unwrap_err().to_string();
    assert!(error.starts_with(said), "{error}");
}

/// Whoever may change a program, a folder on its way or where a link leads to, says what is run as root.
#[test]
fn a_program_that_others_may_change_is_refused() {
    let (folder, places) = host();
    let refused = |path: &str| {
        let what = json!({"commands": [{"path": path}]});
        right_of(&places, &order("al", &what), &now(1)).unwrap_err().to_string()
    };
    let open = |path: &str, mode: u32| {
        fs::set_permissions(folder.path().join(path), fs::Permissions::from_mode(mode)).unwrap();
    };
    open("usr/bin/id", 0o757);
    assert!(refused("/usr/bin/id").contains("can be written by everybody"));
    open("usr/bin/id", 0o755);
    open("usr/bin", 0o777);
    assert!(refused("/usr/bin/id").contains("can be written by everybody"));
    open("usr/bin", 0o755);
    open("home/al", 0o777);
    fs::write(folder.path().join("home/al/tool"), "").unwrap();
    std::os::unix::fs::symlink("../../home/al/tool", folder.path().join("usr/bin/tool")).unwrap();
    assert!(refused("/usr/bin/tool").contains("can be written by everybody"));
    // A link that can be turned, on the way to a program that nobody can change.
    open("home/al", 0o777);
    std::os::unix::fs::symlink("../../usr/bin/id", folder.path().join("home/al/turned")).unwrap();
    std::os::unix::fs::symlink("/home/al/turned", folder.path().join("usr/bin/safe")).unwrap();
    open("usr/bin/id", 0o755);
    assert!(refused("/usr/bin/safe").contains("home/al can be written by everybody"));
    open("usr/bin/id", 0o775);
    assert!(refused("/usr/bin/id").contains("access list"));
    open("usr/bin/id", 0o755);
    if nix::unistd::geteuid().is_root() {
        std::os::unix::fs::chown(folder.path().join("usr/bin/id"), Some(1000), None).unwrap();
        assert!(refused("/usr/bin/id").contains("belongs to the user ID 1000"));
    }
}

#[rstest]
#[case::in_time(599, Ok(600))]
#[case::over(600, Err("it had expired when it arrived"))]
#[case::a_clock_that_is_behind_takes_from_the_right(-10, Ok(590))]
#[case::a_clock_far_behind(-61, Err("the clock of this host is 61 s behind"))]
#[case::old(86_400 * 7 + 1, Err("it was signed more than 7 days ago"))]
fn an_order_is_good_for_its_time(#[case] seconds: i64, #[case] expected: Result<i64, &str>) {
    let (_folder, places) = host();
    let right = right_of(&places, &order("al", &json!({"admin": {}})), &now(seconds));
    match expected {
        Ok(end) => assert_eq!(right.unwrap().expires_at, at(end)),
        Err(said) => assert!(right.unwrap_err().to_string().starts_with(said)),
    }
}

#[test]
fn a_number_that_is_somebody_elses_now_holds_nothing() {
    let (_folder, places) = host();
    let right = right_of(&places, &order("al", &json!({"admin": {}})), &now(1)).unwrap();
    assert_eq!(check(&places, &right), Ok(()));
    fs::write(
        places.at("/etc/passwd"),
        "al:x:1005:1000::/:/bin/sh\ncarol:x:1000:1000::/:/bin/sh\n",
    )
    .unwrap();
    assert!(matches!(check(&places, &right), Err(RightError::OtherUser { .. })));
}
