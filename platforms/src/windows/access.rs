//! Who may change a file, as its access list has it. Pure. It goes by what is allowed alone: a denial that somebody relies on is
//! not looked at, so what is said to be safe is.

use super::sid::Sid;

/// Writing to a file, or adding a file to a folder.
const WRITE_DATA: u32 = 0x0000_0002;
/// Writing to the end of a file, or adding a folder to one.
const APPEND_DATA: u32 = 0x0000_0004;
/// Removing what is in a folder.
const DELETE_CHILD: u32 = 0x0000_0040;
/// Removing or renaming it.
const DELETE: u32 = 0x0001_0000;
/// Changing its access list.
const WRITE_DAC: u32 = 0x0004_0000;
/// Becoming its owner.
const WRITE_OWNER: u32 = 0x0008_0000;
/// Everything.
const GENERIC_ALL: u32 = 0x1000_0000;
/// All that writes.
const GENERIC_WRITE: u32 = 0x4000_0000;

/// Exchanging what lies at a place.
const EXCHANGE: u32 = DELETE_CHILD | DELETE | WRITE_DAC | WRITE_OWNER | GENERIC_ALL | GENERIC_WRITE;
/// Changing what it holds, too. In the folder of a program that would be enough: Windows looks there for its libraries first.
const CHANGE: u32 = EXCHANGE | WRITE_DATA | APPEND_DATA;

/// Who may do what with a file or a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Whose it is.
    pub owner: Sid,
    /// What its list says; `None`: there is no list, so everybody may do everything.
    pub entries: Option<Vec<Entry>>,
}

/// An entry of an access list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// It allows something.
    Allows {
        /// To whom.
        sid: Sid,
        /// What.
        mask: u32,
        /// Whether it is for what is made inside alone, and says nothing of the folder itself.
        inherit_only: bool,
    },
    /// It denies something.
    Denies,
    /// It is of a kind that is not known here.
    Unknown,
}

/// What of a path is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The file, and the folder that it lies in.
    Own,
    /// A folder above that.
    Above,
}

fn is_trusted(sid: &Sid) -> bool {
    [Sid::system(), Sid::administrators(), Sid::trusted_installer()].contains(sid)
}

/// Who, besides the system and its administrators, may change what lies at a place; in words.
#[must_use]
pub fn changed_by(access: &Access, part: Part) -> Option<String> {
    if !is_trusted(&access.owner) {
        return Some(format!("belongs to {}", access.owner));
    }
    let Some(entries) = &access.entries else {
        return Some("has no access list, so everybody may change it".to_owned());
    };
    let changes = match part {
        Part::Own => CHANGE,
        Part::Above => EXCHANGE,
    };
    entries.iter().find_map(|entry| match entry {
        Entry::Allows { sid, mask, inherit_only: false }
            if mask & changes != 0 && !is_trusted(sid) =>
        {
            Some(format!("can be changed by {sid}"))
        }
        Entry::Unknown => Some("has an entry in its access list that is not understood".to_owned()),
        Entry::Allows { .. } | Entry::Denies => None,
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn allows(sid: &str, mask: u32, inherit_only: bool) -> Entry {
        Entry::Allows { sid: Sid::read(sid).unwrap(), mask, inherit_only }
    }

    const READS: u32 = 0x0012_00A9;
    const ALL: u32 = 0x001F_01FF;

    /// What a new installation has for its programs.
    fn usual() -> Vec<Entry> {
        vec![
            allows("S-1-5-18", ALL, false),
            allows("S-1-5-32-544", ALL, false),
            allows("S-1-5-32-545", READS, false),
            allows("S-1-3-0", GENERIC_ALL, true),
        ]
    }

    #[rstest]
    #[case::as_installed(None, Part::Own, None)]
    #[case::a_user_writes(
        Some(allows("S-1-5-32-545", WRITE_DATA, false)),
        Part::Own,
        Some("can be changed by S-1-5-32-545")
    )]
    #[case::a_user_adds_folders(
        Some(allows("S-1-5-11", APPEND_DATA, false)),
        Part::Own,
        Some("can be changed by S-1-5-11")
    )]
    #[case::a_user_adds_folders_above(
        Some(allows("S-1-5-11", APPEND_DATA, false)),
        Part::Above,
        None
    )]
    #[case::a_user_renames_above(
        Some(allows("S-1-5-11", DELETE_CHILD, false)),
        Part::Above,
        Some("can be changed by S-1-5-11")
    )]
    #[case::for_what_is_made_inside(Some(allows("S-1-5-11", ALL, true)), Part::Own, None)]
    #[case::a_denial(Some(Entry::Denies), Part::Own, None)]
    #[case::what_is_not_known(
        Some(Entry::Unknown),
        Part::Above,
        Some("has an entry in its access list that is not understood")
    )]
    fn who_may_change_it_is_known(
        #[case] more: Option<Entry>,
        #[case] part: Part,
        #[case] expected: Option<&str>,
    ) {
        let entries = usual().into_iter().chain(more).collect();
        let access = Access { owner: Sid::trusted_installer(), entries: Some(entries) };
        assert_eq!(changed_by(&access, part).as_deref(), expected);
    }

    #[test]
    fn its_owner_could_change_its_list() {
        let owner = Sid::read("S-1-5-21-1-2-3-1001").unwrap();
        let access = Access { owner, entries: Some(usual()) };
        let expected = "belongs to S-1-5-21-1-2-3-1001";
        assert_eq!(changed_by(&access, Part::Above).as_deref(), Some(expected));
        let access = Access { owner: Sid::system(), entries: None };
        let expected = "has no access list, so everybody may change it";
        assert_eq!(changed_by(&access, Part::Own).as_deref(), Some(expected));
    }
}
