//! What people are told where they are logged on: that a right begins, ends soon, or has ended. It is a message of the session,
//! not a toast: a service can show it, and it needs no program that runs as the user.

use super::calls::Calls;
use super::sid::Sid;

/// The longest title and text, in characters: what is longer is cut.
const LONGEST: (usize, usize) = (64, 512);

/// Tells a user something in all sessions in which they are logged on; in how many. What cannot be shown is not shown: nothing
/// waits for it.
pub fn tell(calls: &dyn Calls, user: &Sid, title: &str, text: &str) -> usize {
    let plain = |text: &str, most: usize| -> String {
        let shown = text.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c });
        shown.take(most).collect()
    };
    let (title, text) = (plain(title, LONGEST.0), plain(text, LONGEST.1));
    let sessions = calls.sessions(user).unwrap_or_default();
    sessions.into_iter().filter(|session| calls.tell(*session, &title, &text).is_ok()).count()
}
