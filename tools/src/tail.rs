//! The last lines of what a build says: what an error shows.

use std::collections::VecDeque;

/// The last lines, at most so many.
pub(crate) struct Tail {
    most: usize,
    lines: VecDeque<String>,
}

impl Tail {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, lines: VecDeque::new() }
    }

    pub(crate) fn push(&mut self, line: String) {
        self.lines.push_back(line);
        if self.lines.len() > self.most {
            self.lines.pop_front();
        }
    }

    pub(crate) fn text(self) -> String {
        Vec::from(self.lines).join("\n")
    }
}
