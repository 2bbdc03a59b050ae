//! One program that an agent runs as root.

use std::fmt;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// An environment variable of a program.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Variable {
    /// The name of the variable. Not one by which other code would run as root, such as `LD_PRELOAD`, `PATH` or
    /// `BASH_ENV`.
    #[schemars(schema_with = "schema::variable_name")]
    pub name: String,
    /// Its value: printable ASCII.
    #[schemars(schema_with = "schema::variable_value")]
    pub value: String,
}

/// A program that may be run as root by the agent itself, with exactly these arguments and this environment. Nobody can
/// give it others, and everything that it starts ends with the access.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = Rule::new("!(has(self.sha256) && has(self.__package__))")
        .message("set sha256 (exactly this file) or package (the file as that package installed it), not both")
)]
pub struct Application {
    /// The name by which it is requested, and by which Deny policies deny it, whatever else they say of it.
    #[schemars(schema_with = "schema::application_name")]
    pub name: String,
    /// The program, by its absolute path. Nobody but root may be able to change it: the agent checks that each time.
    #[schemars(schema_with = "schema::program_path")]
    pub path: String,
    /// The SHA-256 of the program's file, as `sha256:` and 64 hexadecimal digits; another file is not run. Not with
    /// `package`. Absent: any file that root alone can change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::sha256")]
    pub sha256: Option<String>,
    /// The package of the distribution that the program belongs to: the file must be as that package installed it. Not
    /// with `sha256`. Absent: any file that root alone can change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::package_name")]
    pub package: Option<String>,
    /// Its arguments, exactly. No shell reads them. Absent: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::application_arguments")]
    pub args: Vec<String>,
    /// Its environment, besides what the agent sets for every program. Absent: nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 32),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub env: Vec<Variable>,
}

// No part of `Application`, although it has the same fields: `kubectl explain` tells who writes a policy what each may hold,
// and who reads a Grant what it held. One struct would have one text for both.
/// The program of an application, as its policy said when access was granted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Program {
    /// The program, by its absolute path.
    #[schemars(schema_with = "schema::program_path")]
    pub path: String,
    /// The SHA-256 that its file must have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::sha256")]
    pub sha256: Option<String>,
    /// The package whose file it must be, unchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::package_name")]
    pub package: Option<String>,
    /// Its arguments, exactly.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::application_arguments")]
    pub args: Vec<String>,
    /// Its environment, besides what the agent sets for every program.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 32),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub env: Vec<Variable>,
}

impl From<&Application> for Program {
    fn from(application: &Application) -> Self {
        // Destructured without `..`: a field that is added to applications must reach the agent.
        let Application { name: _, path, sha256, package, args, env } = application.clone();
        Self { path, sha256, package, args, env }
    }
}

/// As a shell would be told to run it. What has a space in it is quoted.
impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |word: &str| {
            if word.contains(' ') { format!("{word:?}") } else { word.to_owned() }
        };
        for Variable { name, value } in &self.env {
            write!(f, "{name}={} ", quoted(value))?;
        }
        f.write_str(&self.path)?;
        self.args.iter().try_for_each(|argument| write!(f, " {}", quoted(argument)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_written_as_it_is_run() {
        let application = Application {
            name: "dump".into(),
            path: "/usr/bin/dump".into(),
            sha256: None,
            package: Some("dump".into()),
            args: vec!["-f".into(), "a b".into()],
            env: vec![Variable { name: "LEVEL".into(), value: "0".into() }],
        };
        let program = Program::from(&application);
        assert_eq!(program.to_string(), r#"LEVEL=0 /usr/bin/dump -f "a b""#);
        assert_eq!(program.package, application.package);
    }
}
