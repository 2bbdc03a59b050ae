//! What the mode says of itself.

use std::fmt::Write as _;

use crate::client::status::{left, origin};
use crate::local::protocol::Held;

/// What is shown on entering it: its three parts, as what they are.
pub(super) fn banner(endpoint: &str, held: &Held, is_kept: bool) -> String {
    let Held { grant, since, expires_at, seconds_left, user, what, .. } = held;
    let origin = origin(held).map(|origin| format!("{origin}; ")).unwrap_or_default();
    let (since, until) = (since.format("%H:%M:%S UTC"), expires_at.format("%H:%M:%S UTC"));
    let leaving = if is_kept {
        "The access goes on when you leave this shell"
    } else {
        "Leaving this shell (exit) ends the access"
    };
    let mut text = String::new();
    // What cannot be written to memory is written nowhere.
    let _ = writeln!(text, "Just-in-time access on {endpoint}, in three parts:");
    let _ = writeln!(text, "  1. Approval: {origin}Grant {grant}, held since {since}.");
    let _ = writeln!(
        text,
        "  2. The mode: {what}, for {user}, until {until} ({} left). This shell is yours and not root's: elevate by sudo.",
        left(*seconds_left)
    );
    let _ = writeln!(
        text,
        "  3. The children: what sudo starts, which ends with the access; `lapse status` lists it. {leaving}."
    );
    text
}

/// What a prompt begins with.
pub(super) fn prompt(seconds_left: u32) -> String {
    let (hours, minutes) = (seconds_left / 3600, seconds_left / 60 % 60);
    let left = match seconds_left {
        0..120 => format!("{seconds_left}s"),
        120..3600 => format!("{minutes}m"),
        _ => format!("{hours}h{minutes}m"),
    };
    format!("(lapse {left}) ")
}

/// What is said when the access ends while somebody is inside.
pub(super) fn ended() -> String {
    "Lapse: your access has ended; this shell goes on as an ordinary one.".to_owned()
}

/// What is asked of who leaves.
pub(super) fn question(held: &Held, running: usize) -> String {
    let until = held.expires_at.format("%H:%M:%S UTC");
    let running = match running {
        0 => String::new(),
        1 => ", and one process runs with it".to_owned(),
        several => format!(", and {several} processes run with it"),
    };
    format!("Your access lasts until {until}{running}. End it now? [Y/n] ")
}

/// Whether somebody agrees. Who says nothing does.
pub(super) fn is_yes(answer: &str) -> bool {
    !matches!(answer.trim().to_lowercase().as_str(), "n" | "no")
}

/// What is said of an access that goes on.
pub(super) fn kept(held: &Held) -> String {
    let Held { grant, expires_at, .. } = held;
    let until = expires_at.format("%H:%M:%S UTC");
    format!("Your access goes on until {until}: `lapse end {grant}` ends it.")
}

/// What is said to who has nothing to use in it.
pub(super) fn nothing(endpoint: &str, grant: Option<&str>) -> String {
    match grant {
        None => format!(
            "you hold no sudo on Endpoint {endpoint}. Request it, for example with `kubectl jit request --endpoint {endpoint} \
             --admin --for 1h --reason '…'`, and try again when `lapse status` shows it"
        ),
        Some(grant) => format!(
            "you hold no sudo on Endpoint {endpoint} by the Grant {grant}: `lapse status` shows what you hold"
        ),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::client::status::tests::held;

    #[test]
    fn its_parts_are_shown_as_what_they_are() {
        let mut said = banner("web-1", &held("shop-fix-5d8f1c2a3b"), false);
        let earlier = Held { request: None, ..held("g") };
        said.push_str(&banner("web-1", &earlier, true));
        for text in [
            question(&earlier, 0),
            question(&earlier, 1),
            question(&earlier, 3),
            kept(&earlier),
            ended(),
        ] {
            said.push_str(text.trim_end());
            said.push('\n');
        }
        insta::assert_snapshot!(said, @r"
        Just-in-time access on web-1, in three parts:
          1. Approval: request shop/fix, ticket INC0012345, approved by bob, olga; Grant shop-fix-5d8f1c2a3b, held since 08:00:00 UTC.
          2. The mode: sudo, for al, until 09:00:00 UTC (58m29s left). This shell is yours and not root's: elevate by sudo.
          3. The children: what sudo starts, which ends with the access; `lapse status` lists it. Leaving this shell (exit) ends the access.
        Just-in-time access on web-1, in three parts:
          1. Approval: Grant g, held since 08:00:00 UTC.
          2. The mode: sudo, for al, until 09:00:00 UTC (58m29s left). This shell is yours and not root's: elevate by sudo.
          3. The children: what sudo starts, which ends with the access; `lapse status` lists it. The access goes on when you leave this shell.
        Your access lasts until 09:00:00 UTC. End it now? [Y/n]
        Your access lasts until 09:00:00 UTC, and one process runs with it. End it now? [Y/n]
        Your access lasts until 09:00:00 UTC, and 3 processes run with it. End it now? [Y/n]
        Your access goes on until 09:00:00 UTC: `lapse end g` ends it.
        Lapse: your access has ended; this shell goes on as an ordinary one.
        ");
    }

    #[rstest]
    #[case("\n", true)]
    #[case("", true)]
    #[case("Y\n", true)]
    #[case("n\n", false)]
    #[case(" No \n", false)]
    fn who_leaves_ends_it_unless_they_say_no(#[case] answer: &str, #[case] expected: bool) {
        assert_eq!(is_yes(answer), expected);
    }

    #[rstest]
    #[case(5, "(lapse 5s) ")]
    #[case(119, "(lapse 119s) ")]
    #[case(120, "(lapse 2m) ")]
    #[case(3_600, "(lapse 1h0m) ")]
    fn a_prompt_says_how_long(#[case] seconds: u32, #[case] expected: &str) {
        assert_eq!(prompt(seconds), expected);
    }
}
