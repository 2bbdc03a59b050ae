//! What keeps this host from carrying out orders, from wherever it comes: one does not hide another.

/// How long what is said of them may be, in characters: the schema of an Endpoint takes no more.
const LONGEST: usize = 1024;

/// What keeps this host from carrying out orders. Each part is said by one place alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems {
    /// What the host lacks, if it can do nothing.
    pub lack: Option<String>,
    /// Why what is published of whom to trust is not believed.
    pub disbelief: Option<String>,
    /// What came of the last look at all orders.
    pub round: Option<String>,
    /// What is done with sudo and not recorded.
    pub unrecorded: Option<String>,
}

impl Problems {
    /// All of it, in words.
    #[must_use]
    pub fn said(&self) -> Option<String> {
        let Self { lack, disbelief, round, unrecorded } = self;
        let all = [lack, disbelief, round, unrecorded];
        let all: Vec<&str> = all.into_iter().flatten().map(|s| &**s).collect();
        (!all.is_empty()).then(|| all.join("; ").chars().take(LONGEST).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_hides_another() {
        let mut problems = Problems::default();
        assert_eq!(problems.said(), None);
        problems.round = Some("the clock was set back".into());
        problems.disbelief = Some("its keys are unknown".into());
        assert_eq!(problems.said().unwrap(), "its keys are unknown; the clock was set back");
        problems.round = None;
        assert_eq!(problems.said().unwrap(), "its keys are unknown");
        problems.lack = Some("x".repeat(2000));
        assert_eq!(problems.said().unwrap().len(), LONGEST);
    }
}
