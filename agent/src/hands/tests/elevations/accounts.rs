//! What becomes of accounts, line by line.

use super::*;

#[test]
fn a_disabled_account_is_enabled_until_the_day_after_the_end_and_disabled_as_it_was() {
    let (_folder, fake, hands) = host();
    hands.remember(&order(&fake, "g", &enable(), 60)).unwrap();
    hands.round().unwrap();
    let given = format!("al:$y$x:1:0:99999:7::{}:", DAY + 1);
    assert_eq!(line(&fake, "/etc/shadow", "al"), Some(given.clone()));
    // A password that its owner changes is theirs.
    let text = fs::read_to_string(places(&fake).at("/etc/shadow")).unwrap();
    fs::write(places(&fake).at("/etc/shadow"), text.replace("al:$y$x", "al:$y$new")).unwrap();
    fake.pass(60);
    hands.round().unwrap();
    let expected = "al:!$y$new:1:0:99999:7::100:".to_owned();
    assert_eq!(line(&fake, "/etc/shadow", "al"), Some(expected));
    assert_eq!(fake.logged_off(), 1, "sessions end, too");
}

#[rstest]
#[case::in_force(
    "al:$y$x:1:0:99999:7:::",
    "the local user al is not disabled: there is nothing to enable"
)]
#[case::not_yet_expired(
    "al:!:1:0:99999:7::20001:",
    "the local user al is not disabled: there is nothing to enable"
)]
#[case::locked_alone(
    "al:!$y$x:1:0:99999:7:::",
    "the password of al is locked, and the account has not expired: keys, su and jobs work all the same, so it could not be disabled again. Disable it (chage --expiredate 0 al), then request again"
)]
#[case::without_a_line(
    "bo:!:1::::::",
    "the local user al is not in /etc/shadow: it cannot be disabled, and so not enabled"
)]
fn what_is_not_disabled_is_not_enabled(#[case] shadow: &str, #[case] said: &str) {
    let (_folder, fake, hands) = host();
    fs::write(places(&fake).at("/etc/shadow"), format!("{shadow}\n")).unwrap();
    hands.remember(&order(&fake, "g", &enable(), 60)).unwrap();
    hands.round().unwrap();
    let record = &hands.round().unwrap().records[0];
    assert_eq!((record.stage, record.failed), (Stage::Over, true));
    assert_eq!(record.message.as_deref(), Some(said));
    let left = fs::read_to_string(places(&fake).at("/etc/shadow")).unwrap();
    assert_eq!(left, format!("{shadow}\n"));
    assert_eq!(fake.logged_off(), 0, "nobody's sessions end for what was not given");
}

/// Who had no password has none, and logs in by a key.
#[test]
fn an_account_without_a_password_is_enabled_without_one() {
    let (_folder, fake, hands) = host();
    let shadow = "al:!:1:0:99999:7::100:";
    fs::write(places(&fake).at("/etc/shadow"), format!("{shadow}\n")).unwrap();
    hands.remember(&order(&fake, "g", &enable(), 60)).unwrap();
    hands.round().unwrap();
    assert_eq!(line(&fake, "/etc/shadow", "al"), Some(format!("al:!:1:0:99999:7::{}:", DAY + 1)));
    fake.pass(60);
    hands.round().unwrap();
    assert_eq!(line(&fake, "/etc/shadow", "al").as_deref(), Some(shadow));
}

#[test]
fn an_account_that_is_made_is_whole_and_goes_whole() {
    let (_folder, fake, hands) = host();
    hands.remember(&order(&fake, "g", &provision(), 60)).unwrap();
    let record = hands.round().unwrap().records.remove(0);
    assert_eq!(record.right.unwrap().uid, FIRST, "from now on it is somebody's right");
    let made = format!("pat:x:{FIRST}:{FIRST}::/home/pat:/bin/bash");
    assert_eq!(line(&fake, "/etc/passwd", "pat"), Some(made));
    let shadow = format!("pat:!:1:0:99999:7::{}:", DAY + 1);
    assert_eq!(line(&fake, "/etc/shadow", "pat"), Some(shadow));
    assert_eq!(fake.members("adm"), ["bo", "pat"]);
    assert_eq!(fake.members("ops"), ["pat"]);
    let keys = fs::read_to_string(places(&fake).at("/home/pat/.ssh/authorized_keys")).unwrap();
    assert_eq!(keys, "key");
    fake.pass(60);
    hands.round().unwrap();
    assert_eq!(line(&fake, "/etc/passwd", "pat"), None);
    // The next one is somebody else.
    hands.remember(&order(&fake, "h", &provision(), 60)).unwrap();
    let round = hands.round().unwrap();
    let uids: Vec<u32> =
        round.records.iter().map(|record| record.right.as_ref().unwrap().uid).collect();
    assert!(uids.contains(&(FIRST + 1)), "{uids:?}");
}

/// What is looked after from before they are there is theirs by the number that they are given.
#[test]
fn who_is_made_and_watched_is_known_by_their_number() {
    let (_folder, fake, hands) = host();
    let groups = "adm:x:4:bo\ndocker:x:6:\nops:x:5:\n";
    fs::write(places(&fake).at("/etc/group"), groups).unwrap();
    let made = account(AccountAction::Provision, &[("adm", 4), ("docker", 6)]);
    hands.remember(&order(&fake, "g", &made, 60)).unwrap();
    let record = hands.round().unwrap().records.remove(0);
    assert_eq!(record.stage, Stage::Active, "{:?}", record.message);
    assert_eq!(fake.members("docker"), ["pat"]);
    let period = fs::read(places(&fake).drift().join("period.json")).unwrap();
    let period: serde_json::Value = serde_json::from_slice(&period).unwrap();
    assert_eq!(period["watched"][0]["user"], "pat");
    assert_eq!(period["watched"][0]["uid"], FIRST);
}

#[rstest]
#[case::a_user(
    "/etc/passwd",
    "pat:x:1002:1002::/:/bin/sh",
    "there is a local user pat on this host already, which Lapse has not made: request Enable or Raise, or correct spec.users of the Endpoint"
)]
#[case::a_group(
    "/etc/group",
    "pat:x:1002:",
    "there is a local group pat on this host already, and the account would have one of that name: remove it, or correct spec.users of the Endpoint"
)]
#[case::a_home(
    "/home/pat",
    "",
    "/home/pat is there already, and would become the account's: move it away, then request again"
)]
fn what_is_there_already_is_not_taken_over(
    #[case] path: &str,
    #[case] line: &str,
    #[case] said: &str,
) {
    let (_folder, fake, hands) = host();
    let file = places(&fake).at(path);
    let text = fs::read_to_string(&file).unwrap_or_default();
    fs::write(&file, format!("{text}{line}\n")).unwrap();
    let before = seen(&places(&fake));
    hands.remember(&order(&fake, "g", &provision(), 60)).unwrap();
    hands.round().unwrap();
    let record = &hands.round().unwrap().records[0];
    assert_eq!((record.stage, record.failed), (Stage::Over, true));
    assert_eq!(record.message.as_deref(), Some(said));
    assert_eq!(seen(&places(&fake)), before, "it is left as it is");
}

#[test]
fn what_is_no_name_of_a_user_is_none() {
    let (_folder, fake, hands) = host();
    let mut record = order(&fake, "g", &provision(), 60);
    record.right.as_mut().unwrap().user = "../etc".into();
    hands.remember(&record).unwrap();
    hands.round().unwrap();
    let message = hands.round().unwrap().records[0].message.clone().unwrap();
    let said = "\"../etc\" cannot be the name of a user: lower case letters, digits, _ and -, a letter or _ first, at most 32 of \
                them. Correct spec.users of the Endpoint";
    assert_eq!(message, said);
}

/// Two that overlap: whichever ends first takes nothing from the other, and the last one leaves the host as it was.
#[rstest]
fn orders_that_overlap_take_nothing_from_one_another(#[values(60, 90)] second: i64) {
    for elevation in [enable(), provision(), raise()] {
        let (_folder, fake, hands) = host();
        let before = seen(&places(&fake)).into_values().collect::<Vec<_>>();
        hands.remember(&order(&fake, "a", &elevation, 75)).unwrap();
        hands.round().unwrap();
        let first = ["/etc/passwd", "/etc/shadow", "/etc/group"]
            .map(|file| fs::read_to_string(places(&fake).at(file)).unwrap());
        hands.remember(&order(&fake, "b", &elevation, second)).unwrap();
        let round = hands.round().unwrap();
        let is_active = round.records.iter().all(|record| record.stage == Stage::Active);
        assert!(is_active, "{}: {:?}", named(&elevation), round.records);
        fake.pass(second.min(75));
        let round = hands.round().unwrap();
        assert_eq!(round.records.iter().filter(|record| record.is_open()).count(), 1);
        let now = ["/etc/passwd", "/etc/shadow", "/etc/group"]
            .map(|file| fs::read_to_string(places(&fake).at(file)).unwrap());
        assert_eq!(now, first, "{}: the other goes on", named(&elevation));
        assert_eq!(fake.logged_off(), 0, "{}", named(&elevation));
        fake.pass(30);
        hands.round().unwrap();
        let left: Vec<String> = seen(&places(&fake)).into_values().collect();
        assert_eq!(left, before, "{}", named(&elevation));
    }
}

/// One for the group, and one for the account: each is a reason to be in it.
#[test]
fn a_group_and_an_account_that_overlap_take_nothing_from_one_another() {
    for (first, second) in [(group(), raise()), (raise(), group())] {
        let (_folder, fake, hands) = host();
        hands.remember(&order(&fake, "a", &first, 60)).unwrap();
        hands.round().unwrap();
        hands.remember(&order(&fake, "b", &second, 90)).unwrap();
        hands.round().unwrap();
        fake.pass(60);
        hands.round().unwrap();
        assert_eq!(fake.members("ops"), ["al"], "one of the two goes on");
        fake.pass(30);
        hands.round().unwrap();
        assert!(fake.members("ops").is_empty() && fake.members("adm") == ["bo"]);
    }
}

#[test]
fn an_account_is_raised_and_in_exactly_its_groups_again() {
    let (_folder, fake, hands) = host();
    fs::write(places(&fake).at("/etc/group"), "adm:x:4:al,bo\nops:x:5:\n").unwrap();
    hands.remember(&order(&fake, "g", &raise(), 60)).unwrap();
    let record = hands.round().unwrap().records.remove(0);
    assert_eq!(record.undo.unwrap().was_in, [4]);
    assert_eq!(fake.members("ops"), ["al"]);
    fake.pass(60);
    hands.round().unwrap();
    assert_eq!(fake.members("adm"), ["al", "bo"]);
    assert!(fake.members("ops").is_empty());
}
