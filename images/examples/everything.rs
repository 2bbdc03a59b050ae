//! Does nothing. A build that asks for it, too, has the dependencies as those of tests have them.

fn main() {}
