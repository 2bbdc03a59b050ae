use super::*;

fn at(ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(1_800_000_000_000 + ms).unwrap()
}

fn session(grant: &str, process: u32, started: i64, opened: i64) -> Session {
    let (started_at, opened_at) = (at(started), at(opened));
    Session {
        note: process.to_string(),
        grant: grant.into(),
        uid: 1000,
        process,
        started_at,
        opened_at,
        terminal: None,
        is_logged: false,
    }
}

fn called(called_at: i64, logged_at: i64) -> Called {
    Called { at: at(logged_at), called_at: at(called_at), ..Called::default() }
}

#[expect(clippy::unnecessary_wraps, reason = "it is compared with what may be found")]
fn found(grant: &str, process: u32, is_child: bool) -> Option<By> {
    Some(By { grant: Some(grant.into()), process: Some(process), is_child, session: None })
}

/// What is said of a call, apart from its session.
fn of(calls: &mut Calls, uid: u32, called: &Called, now: DateTime<Utc>) -> Option<By> {
    calls.of(uid, called, now).map(|by| By { session: None, ..by })
}

fn of_end(calls: &mut Calls, uid: u32, called_at: DateTime<Utc>) -> By {
    By { session: None, ..calls.of_end(uid, "", called_at) }
}

/// As sudo 1.9.16 logs it.
fn with_id(id: &str, called: Called) -> Called {
    Called { id: id.to_owned(), ..called }
}

#[test]
fn what_has_a_time_of_its_own_belongs_to_the_call_that_has_not_ended() {
    let mut calls = Calls::default();
    calls.open(session("a", 7, 0, 40));
    let bash = calls.of(1000, &with_id("1", called(5, 20)), at(100)).unwrap();
    assert_eq!((bash.session, bash.is_child), (Some(at(5)), false));
    for (started, now) in [(60, 70), (900, 5901)] {
        let child = calls.of(1000, &with_id("2", called(started, started)), at(now)).unwrap();
        assert_eq!(child, By { is_child: true, ..bash.clone() });
    }
    let early = calls.of(1000, &with_id("3", called(950, 950)), at(1000));
    assert_eq!(early, None, "it may be a call whose session is opened later");
    let end = calls.of_end(1000, "1", at(4));
    assert_eq!(end.session, Some(at(5)), "by its ID, whatever time its end says");
    let late = calls.of(1000, &with_id("4", called(1000, 1000)), at(7000)).unwrap();
    assert_eq!((late.grant, late.is_child), (None, false), "it has ended");
}

#[test]
fn which_of_several_calls_started_something_is_not_made_up() {
    let mut calls = Calls::default();
    for (grant, process, start) in [("a", 7, 0), ("a", 8, 300), ("b", 9, 600)] {
        calls.open(session(grant, process, start, start + 40));
        let id = process.to_string();
        calls.of(1000, &with_id(&id, called(start + 5, start + 20)), at(start + 100)).unwrap();
        let child = calls.of(1000, &with_id("c", called(start + 200, start + 200)), at(9000));
        let child = child.unwrap();
        let known = (child.grant.as_deref(), child.process, child.is_child);
        let expected = match process {
            7 => (Some("a"), Some(7), true),
            8 => (Some("a"), None, true),
            _ => (None, None, true),
        };
        assert_eq!(known, expected);
    }
    // One was killed, and another has ended.
    assert_eq!(calls.forget(at(60_000), |process| process != 7).len(), 1);
    calls.of_end(1000, "9", at(605));
    let child = calls.of(1000, &with_id("d", called(1000, 1000)), at(9000)).unwrap();
    assert_eq!((child.process, child.session), (Some(8), Some(at(305))));
}

/// Somebody whose shell as root goes on while the agent is upgraded, or while the disk is full and all is read anew.
#[test]
fn what_goes_on_while_an_agent_starts_anew_is_told_with_its_right() {
    let mut anew = Calls::default();
    anew.open(Session { is_logged: true, ..session("a", 7, 0, 40) });
    let child = with_id("2", called(900, 900));
    assert_eq!(of(&mut anew, 1000, &child, at(5901)), found("a", 7, true));
    assert_eq!(of(&mut anew, 1001, &child, at(5901)), Some(By::default()), "of another user");
    // Whatever of its call is read after that, it is one.
    let call = anew.of(1000, &with_id("1", called(5, 20)), at(6000)).unwrap();
    assert_eq!((call.is_child, call.session), (false, Some(at(5))));
    let child = anew.of(1000, &with_id("3", called(950, 950)), at(6000)).unwrap();
    assert_eq!(child, By { is_child: true, ..call });
    // It ends, and the end says when it was called.
    let mut anew = Calls::default();
    anew.open(Session { is_logged: true, ..session("a", 7, 0, 40) });
    assert_eq!(of_end(&mut anew, 1000, at(5)), found("a", 7, false).unwrap());
    let late = of(&mut anew, 1000, &with_id("4", called(1000, 1000)), at(7000));
    assert_eq!(late, Some(By::default()));
}

#[test]
fn who_calls_more_than_is_remembered_has_none_of_another_forgotten() {
    let mut calls = Calls::default();
    let shell = Session { is_logged: true, ..session("a", 7, 0, 40) };
    calls.open(shell.clone());
    for process in 10_000..12_000 {
        calls.open(Session { uid: 1001, process, ..shell.clone() });
    }
    assert_eq!(calls.open.len(), MOST);
    let child = with_id("2", called(900, 900));
    assert_eq!(of(&mut calls, 1000, &child, at(5901)), found("a", 7, true));
}

#[test]
fn a_command_is_told_with_the_right_that_it_was_called_by() {
    let mut calls = Calls::default();
    assert_eq!(of(&mut calls, 1000, &called(5, 20), at(100)), None, "its session is opened later");
    calls.open(session("a", 7, 0, 40));
    calls.open(session("b", 8, 300, 340));
    assert_eq!(of(&mut calls, 1000, &called(5, 20), at(100)), found("a", 7, false));
    assert_eq!(of(&mut calls, 1000, &called(305, 320), at(400)), found("b", 8, false));
    assert_eq!(of(&mut calls, 1000, &called(5, 5000), at(6000)), found("a", 7, true));
    assert_eq!(of_end(&mut calls, 1000, at(305)), found("b", 8, true).unwrap());
    assert_eq!(of(&mut calls, 1001, &called(5, 20), at(100)), None, "of another user");
    assert_eq!(calls.unlogged(at(60_000)), []);
}

#[test]
fn an_agent_that_starts_anew_finds_what_belongs_together() {
    let mut calls = Calls::default();
    calls.open(Session { is_logged: true, ..session("a", 7, 0, 40) });
    assert_eq!(of(&mut calls, 1000, &called(5, 5000), at(6000)), found("a", 7, true));
    assert_eq!(of_end(&mut calls, 1000, at(5)), found("a", 7, true).unwrap());
    let mut anew = Calls::default();
    anew.open(Session { is_logged: true, ..session("a", 7, 0, 40) });
    assert_eq!(of_end(&mut anew, 1000, at(5)), found("a", 7, false).unwrap());
    assert_eq!(of(&mut anew, 1000, &called(5, 20), at(100)), found("a", 7, false));
}

#[test]
fn what_is_called_at_the_same_time_is_told_apart_as_far_as_it_can_be() {
    let mut calls = Calls::default();
    for process in 1..=3 {
        calls.open(session("a", process, i64::from(process), 100));
    }
    for call in 4..=6 {
        let by = of(&mut calls, 1000, &called(call, 50), at(200)).unwrap();
        assert_eq!((by.grant.as_deref(), by.is_child), (Some("a"), false));
    }
    assert_eq!(calls.unlogged(at(60_000)), [], "each session has its call");
    // By two rights at once: nobody can say.
    let mut calls = Calls::default();
    calls.open(session("a", 1, 0, 100));
    calls.open(session("b", 2, 1, 100));
    assert_eq!(of(&mut calls, 1000, &called(2, 50), at(200)), Some(By::default()));
    // One that waits for a password does not take what others call meanwhile.
    let mut calls = Calls::default();
    calls.open(session("a", 1, 0, 9000));
    calls.open(session("b", 2, 5000, 5050));
    assert_eq!(of(&mut calls, 1000, &called(5005, 5010), at(9500)), found("b", 2, false));
    assert_eq!(of(&mut calls, 1000, &called(5, 8990), at(9500)), found("a", 1, false));
}

/// Sudo 1.9.16 says of what a shell starts when that was, and not by which call.
#[test]
fn what_a_shell_starts_is_not_by_the_right_for_which_a_password_is_typed_elsewhere() {
    let on = |terminal: &str, called: Called| Called { terminal: Some(terminal.into()), ..called };
    let there = |terminal: &str, session: Session| {
        let terminal = Some(terminal.to_owned());
        Session { terminal, ..session }
    };
    let mut calls = Calls::default();
    calls.open(there("pts/1", session("a", 7, 0, 40)));
    let shell = on("/dev/pts/1", with_id("1", called(5, 20)));
    assert_eq!(of(&mut calls, 1000, &shell, at(100)), found("a", 7, false));
    calls.open(there("/dev/pts/2", session("b", 8, 1000, 5000)));
    let child = on("/dev/pts/1", with_id("2", called(3000, 3000)));
    assert_eq!(of(&mut calls, 1000, &child, at(8000)), found("a", 7, true));
    let typed = on("/dev/pts/2", with_id("3", called(1005, 4990)));
    assert_eq!(of(&mut calls, 1000, &typed, at(8000)), found("b", 8, false));
    // And what both start is told apart.
    let mut started =
        |id: &str, called: Called| of(&mut calls, 1000, &with_id(id, called), at(20_000));
    assert_eq!(started("4", on("/dev/pts/1", called(6000, 6000))), found("a", 7, true));
    assert_eq!(started("5", on("/dev/pts/2", called(6001, 6001))), found("b", 8, true));
    let unknown = By { is_child: true, ..By::default() };
    assert_eq!(started("6", called(6002, 6002)), Some(unknown.clone()));
    assert_eq!(started("7", on("/dev/pts/3", called(6003, 6003))), Some(unknown));
}

#[test]
fn what_was_never_let_go_on_is_by_no_right() {
    let mut calls = Calls::default();
    assert_eq!(of(&mut calls, 1000, &called(5, 20), at(5019)), None);
    assert_eq!(of(&mut calls, 1000, &called(5, 20), at(5020)), Some(By::default()));
    let child = of(&mut calls, 1000, &called(5, 5010), at(5020)).unwrap();
    assert!(child.is_child && child.grant.is_none(), "its children are not waited for");
}

#[test]
fn a_session_without_a_log_is_noticed_once() {
    let mut calls = Calls::default();
    calls.open(session("a", 7, 0, 40));
    assert_eq!(calls.unlogged(at(5000)), []);
    assert_eq!(calls.unlogged(at(10_041)).len(), 1);
    assert_eq!(calls.unlogged(at(10_041)), []);
    assert_eq!(calls.forget(at(60_000), |process| process == 7), []);
    assert_eq!(calls.forget(at(30), |_| false), []);
    assert_eq!(calls.forget(at(60_000), |_| false)[0].note, "7");
    for process in 0..=u32::try_from(MOST).unwrap() {
        calls.open(session("a", process, 0, 40));
    }
    assert_eq!(calls.forget(at(0), |_| true)[0].note, "0");
    assert_eq!(calls.sessions.len(), MOST);
}
