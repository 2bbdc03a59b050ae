//! Standard error, where people are told how things go.

use std::fmt::Display;
use std::io::Write as _;

/// Tells people something on a line of its own. A terminal that is gone is no reason to leave anything half done, as the panic of
/// `eprintln` would.
pub(crate) fn tell(line: &dyn Display) {
    let _ = writeln!(anstream::stderr().lock(), "{line}");
}
