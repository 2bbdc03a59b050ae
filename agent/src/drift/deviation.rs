//! Something that is not as it was, and what undoes it. Pure.

use lapse_crds::DriftKind;

use super::entry::Entry;
use crate::places::Id;
use crate::unfollowed::{FileId, Owner};

/// Something that is not as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Deviation {
    /// What it is.
    pub(super) kind: DriftKind,
    /// Where.
    pub(super) path: String,
    /// What was done, in words that follow the path.
    pub(super) change: String,
    /// Whether the guard looks after it.
    pub(super) is_guarded: bool,
    /// What undoes it.
    pub(super) repair: Repair,
}

/// What undoes a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Repair {
    /// What was there is put back.
    Put(Entry),
    /// What is there is removed.
    Take,
    /// It is whose it was, and those may write it who might.
    Permit(Owner),
    /// The program of the agent is put back from memory.
    Program(Owner),
    /// The timers of this right are made anew.
    Arm(Id),
    /// Lines of the accounts are changed, and all others stay.
    Edits(Vec<Edit>),
    /// The program runs as whoever starts it.
    Strip(FileId),
    /// The program loses its capabilities.
    Incapacitate(FileId),
    /// Nothing undoes it, for this reason.
    Nothing(&'static str),
}

/// A change of a line in one of the files with the accounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Edit {
    /// A line becomes another one, or goes.
    Line {
        /// Of which file.
        path: &'static str,
        /// The line.
        line: String,
        /// What it becomes.
        becomes: Option<String>,
    },
    /// A field of what has this name becomes this.
    Field {
        /// Of which file.
        path: &'static str,
        /// The name.
        name: String,
        /// The field.
        field: usize,
        /// What it becomes.
        value: String,
    },
    /// A member leaves the list in a field of what has this name.
    Without {
        /// Of which file.
        path: &'static str,
        /// The name.
        name: String,
        /// The field.
        field: usize,
        /// The member.
        member: String,
    },
}

impl Edit {
    /// The file that it changes.
    pub(super) fn path(&self) -> &'static str {
        match self {
            Self::Line { path, .. } | Self::Field { path, .. } | Self::Without { path, .. } => path,
        }
    }

    /// What a line becomes; `None` if it goes.
    fn of_line(&self, line: &str) -> Option<String> {
        let with = |name: &str, field: usize, change: &dyn Fn(&str) -> String| {
            let mut fields: Vec<String> = line.split(':').map(str::to_owned).collect();
            if fields.first().is_some_and(|first| first == name)
                && let Some(found) = fields.get_mut(field)
            {
                *found = change(found);
            }
            Some(fields.join(":"))
        };
        match self {
            Self::Line { line: wanted, becomes, .. } if line == wanted => becomes.clone(),
            Self::Line { .. } => Some(line.to_owned()),
            Self::Field { name, field, value, .. } => with(name, *field, &|_| value.clone()),
            Self::Without { name, field, member, .. } => with(name, *field, &|list| {
                let stay = list.split(',').filter(|known| known != member);
                stay.collect::<Vec<_>>().join(",")
            }),
        }
    }

    /// The text of a file with the change.
    pub(super) fn apply(&self, text: &str) -> String {
        let lines = text.lines().filter_map(|line| self.of_line(line));
        lines.map(|line| line + "\n").collect()
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn line(line: &str, becomes: Option<&str>) -> Edit {
        let (line, becomes) = (line.to_owned(), becomes.map(str::to_owned));
        Edit::Line { path: "/etc/group", line, becomes }
    }

    fn field(field: usize, value: &str) -> Edit {
        let (name, value) = ("sudo".to_owned(), value.to_owned());
        Edit::Field { path: "/etc/group", name, field, value }
    }

    fn without(member: &str) -> Edit {
        let (name, member) = ("sudo".to_owned(), member.to_owned());
        Edit::Without { path: "/etc/group", name, field: 3, member }
    }

    #[rstest]
    #[case::goes(line("ops:x:5:bo", None), "sudo:x:27:al,bo\nsudoers:x:28:bo\n")]
    #[case::becomes(
        line("ops:x:5:bo", Some("ops:x:5:")),
        "sudo:x:27:al,bo\nsudoers:x:28:bo\nops:x:5:\n"
    )]
    #[case::changed_meanwhile(
        line("ops:x:5:", None),
        "sudo:x:27:al,bo\nsudoers:x:28:bo\nops:x:5:bo\n"
    )]
    #[case::field(field(2, "9"), "sudo:x:9:al,bo\nsudoers:x:28:bo\nops:x:5:bo\n")]
    #[case::no_field(field(7, "9"), "sudo:x:27:al,bo\nsudoers:x:28:bo\nops:x:5:bo\n")]
    #[case::member(without("bo"), "sudo:x:27:al\nsudoers:x:28:bo\nops:x:5:bo\n")]
    #[case::no_member(without("b"), "sudo:x:27:al,bo\nsudoers:x:28:bo\nops:x:5:bo\n")]
    fn one_line_changes_and_all_others_stay(#[case] edit: Edit, #[case] expected: &str) {
        let text = "sudo:x:27:al,bo\nsudoers:x:28:bo\nops:x:5:bo";
        assert_eq!(edit.apply(text), expected);
        assert_eq!(edit.apply(&edit.apply(text)), expected, "twice is as good as once");
    }
}
