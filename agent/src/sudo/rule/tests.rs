use rstest::rstest;

use super::*;

const SUDO_RS: Dialect =
    Dialect { not_after: false, patterns: false, services: false, escapes: false, logs: false };
const SUDO: Dialect = Dialect { not_after: true, patterns: true, escapes: true, ..SUDO_RS };

fn command(path: &str, args: &[&str], pattern: Option<&str>) -> Command {
    Command {
        path: path.into(),
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        args_pattern: pattern.map(str::to_owned),
    }
}

fn text(dialect: Dialect, uid: u32, commands: Option<&[Command]>) -> Result<String, RuleError> {
    let expires_at = DateTime::UNIX_EPOCH + chrono::TimeDelta::days(20_000);
    let log = Some(Log { path: "/run/lapse/sudo/0a", children: false });
    Rule { uid, expires_at, commands, log }.text(dialect)
}

#[rstest]
#[case::admin(None, "#1000 ALL=(root) NOTAFTER=20241003235959Z NOPASSWD: ALL\n")]
#[case::no_arguments(Some(command("/usr/bin/id", &[], None)), "#1000 ALL=(root) NOTAFTER=20241003235959Z NOPASSWD: /usr/bin/id \"\"\n")]
#[case::exact(Some(command("/usr/bin/ls", &["-l", "/root"], None)), "#1000 ALL=(root) NOTAFTER=20241003235959Z NOPASSWD: /usr/bin/ls -l /root\n")]
#[case::pattern(Some(command("/usr/bin/ls", &[], Some("^-l /srv/[a-z]+$"))), "#1000 ALL=(root) NOTAFTER=20241003235959Z NOPASSWD: /usr/bin/ls ^-l /srv/[a-z]+$\n")]
fn a_rule_says_the_order(#[case] given: Option<Command>, #[case] expected: &str) {
    let commands = given.map(|command| vec![command]);
    assert_eq!(text(SUDO, 1000, commands.as_deref()).unwrap(), expected);
}

#[test]
fn sessions_of_the_user_are_opened_by_services_of_lapse() {
    let dialect = Dialect { services: true, ..SUDO };
    let expected = "Defaults:#1000 pam_service=lapse-sudo, pam_login_service=lapse-sudo-i, pam_session\n\
                    #1000 ALL=(root) NOTAFTER=20241003235959Z NOPASSWD: ALL\n";
    assert_eq!(text(dialect, 1000, None).unwrap(), expected);
}

#[test]
fn what_the_user_does_is_logged() {
    let dialect = Dialect { logs: true, ..SUDO };
    let logged = "Defaults:#1000 log_allowed, log_denied, log_exit_status, log_format=json, ignore_logfile_errors, ";
    let rest =
        "logfile=/run/lapse/sudo/0a\n#1000 ALL=(root) NOTAFTER=20241003235959Z NOPASSWD: ALL\n";
    assert_eq!(text(dialect, 1000, None).unwrap(), format!("{logged}{rest}"));
    let expires_at = DateTime::UNIX_EPOCH + chrono::TimeDelta::days(20_000);
    let log = Some(Log { path: "/run/lapse/sudo/0a", children: true });
    let rule = Rule { uid: 1000, expires_at, commands: None, log };
    assert_eq!(rule.text(dialect).unwrap(), format!("{logged}log_subcmds, {rest}"));
}

#[test]
fn what_sudo_rs_does_not_know_is_not_written() {
    assert_eq!(text(SUDO_RS, 1000, None).unwrap(), "#1000 ALL=(root) NOPASSWD: ALL\n");
    for (args, pattern) in [(vec!["a=b"], None), (vec![], Some("^a$"))] {
        let commands = [command("/usr/bin/id", &args, pattern)];
        assert!(text(SUDO_RS, 1000, Some(&commands)).is_err());
    }
}

#[rstest]
#[case("a,b", r"a\,b")]
#[case("ALL", "ALL")]
#[case("a:b", r"a\:b")]
#[case("a=b", r"a\=b")]
#[case("*", r"\*")]
#[case("a?", r"a\?")]
#[case("[ab]", r"\[ab\]")]
#[case("!x", r"\!x")]
#[case("#1", r"\#1")]
#[case("^a$", r"\^a$")]
#[case("~{}()<>|;&'`", "~{}()<>|;&'`")]
fn what_means_something_in_a_rule_is_escaped(#[case] argument: &str, #[case] expected: &str) {
    assert_eq!(escaped(argument, SUDO).unwrap(), expected);
}

#[rstest]
#[case("")]
#[case("\"\"")]
#[case("a\\b")]
#[case("a b")]
#[case("a\nALL=(root) ALL")]
#[case("a\tb")]
#[case("\u{fc}")]
#[case("a\u{0}")]
fn what_cannot_be_said_is_refused(#[case] argument: &str) {
    assert!(escaped(argument, SUDO).is_err());
}

#[rstest]
#[case("ALL")]
#[case("sudoedit")]
#[case("/usr/bin/")]
#[case("/usr/../bin/id")]
#[case("/usr/bin/*")]
#[case("/usr/bin/.id")]
#[case("/usr/bin/id, ALL")]
#[case("/usr/bin/id\nALL")]
#[case("!/usr/bin/id")]
#[case("^/usr/bin/.*$")]
#[case("//id")]
fn what_is_no_program_is_refused(#[case] path: &str) {
    let commands = [command(path, &[], None)];
    assert_eq!(text(SUDO, 1000, Some(&commands)), Err(RuleError::Path(path.to_owned())));
}

#[rstest]
#[case::not_anchored("a", false)]
#[case::sides("^a|b$", false)]
#[case::sides_in_a_group("^(a|b)$", true)]
#[case::closed_too_early("^a)|(b$", false)]
#[case::a_bar_in_a_class("^[a|b]$", true)]
#[case::a_bracket_in_a_class("^[]|]$", true)]
#[case::negated("^[^/]+$", true)]
#[case::escaped_end("^a\\$", false)]
#[case::escaped_dot("^a\\.b$", true)]
#[case::perl("^\\d+$", false)]
#[case::flags("^(?i)a$", false)]
#[case::another_command("^a$, ALL, /bin/x ^$", false)]
#[case::a_line("^a\nb$", false)]
#[case::open_group("^(a$", false)]
#[case::a_backslash_in_a_class("^[\\]a]$", false)]
#[case::open_class("^[a$", false)]
fn an_expression_bounds_all_arguments(#[case] pattern: &str, #[case] is_good: bool) {
    assert_eq!(check_pattern(pattern).is_ok(), is_good, "{:?}", check_pattern(pattern));
}

#[test]
fn root_and_nothing_are_refused() {
    assert_eq!(text(SUDO, 0, None), Err(RuleError::Root));
    assert_eq!(text(SUDO, 1000, Some(&[])), Err(RuleError::Nothing));
}
