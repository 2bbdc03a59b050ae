//! The local users and groups of macOS, by the tools of Open Directory. They are asked for the local node alone: what comes
//! from a directory on the network is not looked at.

use std::path::Path;

use serde_json::Value;

use crate::tools::{Tools, succeed};

/// The node that has the host's own users and groups.
const NODE: &str = "/Local/Default";
const DSCL: &str = "/usr/bin/dscl";
const DSEDITGROUP: &str = "/usr/sbin/dseditgroup";
const PLUTIL: &str = "/usr/bin/plutil";

/// What is kept of people or of groups, and the attribute with their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Users,
    Groups,
}

impl Kind {
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Users => ("/Users", "UniqueID"),
            Self::Groups => ("/Groups", "PrimaryGroupID"),
        }
    }
}

/// Who is in a group itself. The directory has them twice, and either counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Members {
    pub(super) names: Vec<String>,
    pub(super) guids: Vec<String>,
}

/// The directory.
#[derive(Clone, Copy)]
pub(super) struct Directory<'a>(pub(super) &'a dyn Tools);

impl Directory<'_> {
    fn call(
        &self,
        what: &str,
        (program, arguments): (&str, &[&str]),
        input: &str,
    ) -> Result<String, String> {
        succeed(self.0, what, (Path::new(program), arguments), input)
    }

    /// All of a kind, each with its name and its number.
    pub(super) fn list(&self, kind: Kind) -> Result<Vec<(String, String)>, String> {
        let (path, attribute) = kind.names();
        let call = (DSCL, &[NODE, "-list", path, attribute][..]);
        let listed = self.call(&format!("listing {path}"), call, "")?;
        let rows = listed.lines().filter_map(|line| line.trim_end().rsplit_once(' '));
        Ok(rows.map(|(name, number)| (name.trim().to_owned(), number.to_owned())).collect())
    }

    /// The number of a user or a group of this name.
    pub(super) fn number_of(&self, kind: Kind, name: &str) -> Result<Option<String>, String> {
        let all = self.list(kind)?;
        Ok(all.into_iter().find(|(own, _)| own == name).map(|(_, number)| number))
    }

    /// What the user or the group of this number is called now.
    pub(super) fn name_of(&self, kind: Kind, number: &str) -> Result<Option<String>, String> {
        let all = self.list(kind)?;
        Ok(all.into_iter().find(|(_, own)| own == number).map(|(name, _)| name))
    }

    /// What is kept of one, or one attribute of it. Written as a property list and read as JSON: what is meant for people is
    /// not read.
    fn read(&self, path: &str, attribute: Option<&str>) -> Result<Value, String> {
        let what = format!("reading {path}");
        let arguments: Vec<&str> =
            ["-plist", NODE, "-read", path].into_iter().chain(attribute).collect();
        let listed = self.call(&what, (DSCL, &arguments), "")?;
        let converted =
            self.call(&what, (PLUTIL, &["-convert", "json", "-o", "-", "-"]), &listed)?;
        serde_json::from_str(&converted).map_err(|error| format!("{what}: {error}"))
    }

    /// Who is in the group of this name.
    pub(super) fn members(&self, group: &str) -> Result<Members, String> {
        let found = self.read(&format!("/Groups/{group}"), None)?;
        let (names, guids) = (texts(&found, "GroupMembership"), texts(&found, "GroupMembers"));
        Ok(Members { names, guids })
    }

    /// What the directory knows the user of this name by.
    pub(super) fn guid_of(&self, user: &str) -> Result<String, String> {
        let path = format!("/Users/{user}");
        let found = self.read(&path, Some("GeneratedUID"))?;
        let guid = texts(&found, "GeneratedUID").into_iter().next();
        guid.ok_or_else(|| format!("{path} has no GeneratedUID"))
    }

    /// Puts a user into a group (`-a`) or takes them out of it (`-d`).
    pub(super) fn edit(&self, option: &str, user: &str, group: &str) -> Result<(), String> {
        let what = format!("changing the group {group}");
        let arguments = ["-o", "edit", "-n", NODE, option, user, "-t", "user", group];
        self.call(&what, (DSEDITGROUP, &arguments), "").map(drop)
    }
}

/// The values of an attribute. One that is not there has none.
fn texts(found: &Value, attribute: &str) -> Vec<String> {
    let values = found.get(format!("dsAttrTypeStandard:{attribute}")).and_then(Value::as_array);
    let texts = values.into_iter().flatten().filter_map(Value::as_str);
    texts.map(str::to_owned).collect()
}
