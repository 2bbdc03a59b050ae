//! The kubeconfig, read as kubectl reads it: a file that is named, or the files of `KUBECONFIG`, or that of the home directory.
//!
//! Files that `KUBECONFIG` lists and that do not exist are passed over, which kube by itself does not. What a file leaves empty it
//! does not say.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};

use crate::fault::Fault;
use crate::role::nearest;

/// What lists the files, separated by colons.
const LISTED: &str = "KUBECONFIG";
/// The namespace of a context that names none.
const DEFAULT_NAMESPACE: &str = "default";

/// What there is.
#[derive(Clone, Debug)]
pub(crate) enum Found {
    /// All files as one.
    Config(Box<Kubeconfig>),
    /// No file, in words.
    Nothing(String),
}

/// Reads this file, which must exist; without one, what the environment says.
pub(crate) fn read(file: Option<&Path>) -> Result<Found, Fault> {
    if let Some(file) = file {
        let read = Kubeconfig::read_from(file).map_err(|error| unreadable(file, &error))?;
        return Ok(Found::Config(Box::new(said(read))));
    }
    let listed = std::env::var_os(LISTED);
    match listed.as_deref().map(files_of).unwrap_or_default() {
        files if files.is_empty() => of_home(),
        files => merged(&files),
    }
}

/// The files of a list; none if it is empty.
fn files_of(listed: &OsStr) -> Vec<PathBuf> {
    std::env::split_paths(listed).filter(|file| !file.as_os_str().is_empty()).collect()
}

fn of_home() -> Result<Found, Fault> {
    match Kubeconfig::read() {
        Ok(read) => Ok(Found::Config(Box::new(said(read)))),
        Err(KubeconfigError::ReadConfig(error, file)) if error.kind() == ErrorKind::NotFound => {
            Ok(Found::Nothing(nothing(&[file])))
        }
        Err(KubeconfigError::FindPath) => Ok(Found::Nothing(nothing(&[]))),
        Err(KubeconfigError::Parse(error)) => {
            Err(Fault::Config(format!("reading the kubeconfig: {}", malformed(&error))))
        }
        Err(error) => Err(Fault::Config(error.to_string())),
    }
}

/// Several files as one: of what two of them say, the first counts.
fn merged(files: &[PathBuf]) -> Result<Found, Fault> {
    let mut all: Option<Kubeconfig> = None;
    for file in files {
        let next = match Kubeconfig::read_from(file) {
            Err(KubeconfigError::ReadConfig(error, _)) if error.kind() == ErrorKind::NotFound => {
                continue;
            }
            read => said(read.map_err(|error| unreadable(file, &error))?),
        };
        all = Some(match all {
            Some(before) => before.merge(next).map_err(|error| unreadable(file, &error))?,
            None => next,
        });
    }
    let found = all.map(|config| Found::Config(Box::new(config)));
    Ok(found.unwrap_or_else(|| Found::Nothing(nothing(files))))
}

/// What a file really says: `kubectl config` leaves an empty current context behind.
fn said(mut config: Kubeconfig) -> Kubeconfig {
    config.current_context = config.current_context.filter(|name| !name.is_empty());
    config
}

fn unreadable(file: &Path, error: &KubeconfigError) -> Fault {
    let why = match error {
        // It would name the file once more.
        KubeconfigError::ReadConfig(error, _) => error.to_string(),
        KubeconfigError::Parse(error) => malformed(error),
        error => error.to_string(),
    };
    Fault::Config(format!("reading kubeconfig {}: {why}", file.display()))
}

/// Where a file cannot be understood. What stands there is not shown, nor what stands around it: there are credentials.
fn malformed(error: &serde_saphyr::Error) -> String {
    let place = error.location();
    let place = place.map(|at| format!(" (line {}, column {})", at.line(), at.column()));
    format!("it is no kubeconfig{}", place.unwrap_or_default())
}

/// That there is no file, and where it could be.
fn nothing(files: &[PathBuf]) -> String {
    let name = "name one with --kubeconfig or KUBECONFIG";
    match files {
        [] => format!("there is no kubeconfig; {name}"),
        [file] => format!("there is no kubeconfig {}; {name}", file.display()),
        files => {
            let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
            format!("none of these kubeconfigs exists: {}; {name}", files.join(", "))
        }
    }
}

/// What a kubeconfig says of the cluster that is chosen there.
pub(crate) async fn chosen(
    kubeconfig: Kubeconfig,
    options: &KubeConfigOptions,
) -> Result<Config, Fault> {
    let contexts = kubeconfig.contexts.iter().map(|context| context.name.clone());
    let contexts: Vec<String> = contexts.collect();
    let found = Config::from_custom_kubeconfig(kubeconfig, options).await;
    let mut config = found.map_err(|error| Fault::Config(unusable(&error, &contexts)))?;
    if config.default_namespace.is_empty() {
        DEFAULT_NAMESPACE.clone_into(&mut config.default_namespace);
    }
    Ok(config)
}

fn unusable(error: &KubeconfigError, contexts: &[String]) -> String {
    match error {
        KubeconfigError::CurrentContextNotSet => {
            "the kubeconfig has no current context; give --context, or run `kubectl config use-context`"
                .to_owned()
        }
        KubeconfigError::LoadContext(name) => {
            let near = nearest(name, contexts.iter().map(String::as_str));
            let hint = near.map_or_else(
                || "`kubectl config get-contexts` lists those that there are".to_owned(),
                |near| format!("did you mean {near}?"),
            );
            format!("the kubeconfig has no context {name}; {hint}")
        }
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::{Value, json};

    use super::*;

    fn config(name: &str, current: &str) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": current,
            "clusters": [
                {"name": name, "cluster": {"server": format!("https://{name}:6443"), "certificate-authority": "ca.crt"}},
                {"name": "shared", "cluster": {"server": format!("https://shared-by-{name}:6443")}},
            ],
            "users": [{"name": name, "user": {"token": name}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": ""}}],
        })
    }

    /// A folder with two kubeconfigs, and the list of them between files that do not exist.
    fn folder() -> (tempfile::TempDir, Vec<PathBuf>) {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("first"), config("first", "").to_string()).unwrap();
        fs::write(at("second"), config("second", "second").to_string()).unwrap();
        let files = ["nowhere", "first", "gone/config", "second"].map(at);
        (folder, files.into())
    }

    fn of(found: Found) -> Kubeconfig {
        match found {
            Found::Config(config) => *config,
            Found::Nothing(why) => panic!("{why}"),
        }
    }

    #[test]
    fn files_that_do_not_exist_are_passed_over_and_the_first_that_says_something_counts() {
        let (folder, files) = folder();
        let config = of(merged(&files).unwrap());
        assert_eq!(config.current_context.as_deref(), Some("second"), "an empty one says nothing");
        let servers: Vec<_> = config
            .clusters
            .iter()
            .map(|named| (&*named.name, named.cluster.clone().unwrap().server.unwrap()))
            .collect();
        let server = |name, host: &str| (name, format!("https://{host}:6443"));
        let expected = [
            server("first", "first"),
            server("shared", "shared-by-first"),
            server("second", "second"),
        ];
        assert_eq!(servers, expected);
        // What it names is beside it, wherever somebody calls from.
        let authority = config.clusters[0].cluster.clone().unwrap().certificate_authority;
        assert_eq!(authority, Some(folder.path().join("ca.crt").display().to_string()));
    }

    #[test]
    fn a_list_is_separated_by_colons_and_may_be_empty() {
        let of = |text: &str| -> Vec<String> {
            let files = files_of(OsStr::new(text));
            files.iter().map(|file| file.display().to_string()).collect()
        };
        assert_eq!(of("a::b:"), ["a", "b"]);
        assert_eq!(of(":"), [""; 0]);
        assert_eq!(of(""), [""; 0]);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_told_by_its_name() {
        let (folder, mut files) = folder();
        let broken = folder.path().join("broken");
        fs::write(&broken, "clusters: 7\n").unwrap();
        files.push(broken.clone());
        let told = merged(&files).unwrap_err().to_string();
        assert!(told.contains(&format!("reading kubeconfig {}", broken.display())), "{told}");
        // And not with what it says, nor with what stands around that.
        for text in
            ["users:\n- name: me\n  user:\n    token: s3cret\n   oops: [\n", "users: s3cret\n"]
        {
            fs::write(&broken, text).unwrap();
            let told = merged(&files).unwrap_err().to_string();
            assert!(
                !told.contains("s3cret") && told.contains("it is no kubeconfig (line "),
                "{told}"
            );
        }
        // Whoever names one file means that file.
        let told = read(Some(Path::new("/nonexistent/config"))).unwrap_err().to_string();
        insta::assert_snapshot!(told, @"no cluster to talk to: reading kubeconfig /nonexistent/config: No such file or directory (os error 2)");
    }

    #[test]
    fn no_file_is_told_with_where_it_could_be() {
        let told = |files: &[&str]| {
            let files: Vec<PathBuf> = files.iter().map(PathBuf::from).collect();
            match merged(&files).unwrap() {
                Found::Nothing(why) => why,
                Found::Config(config) => panic!("{config:?}"),
            }
        };
        let all =
            [told(&[]), told(&["/nonexistent/a"]), told(&["/nonexistent/a", "/nonexistent/b"])];
        insta::assert_snapshot!(all.join("\n"), @r"
        there is no kubeconfig; name one with --kubeconfig or KUBECONFIG
        there is no kubeconfig /nonexistent/a; name one with --kubeconfig or KUBECONFIG
        none of these kubeconfigs exists: /nonexistent/a, /nonexistent/b; name one with --kubeconfig or KUBECONFIG
        ");
    }

    #[tokio::test]
    async fn a_context_that_there_is_not_is_told_with_the_nearest() {
        let (_folder, files) = folder();
        let config = of(merged(&files[..2]).unwrap());
        let told = async |name: Option<&str>| {
            let context = name.map(ToOwned::to_owned);
            let options = KubeConfigOptions { context, ..KubeConfigOptions::default() };
            chosen(config.clone(), &options).await.map_err(|fault| fault.to_string()).unwrap_err()
        };
        let all = [told(Some("frist")).await, told(Some("zzz")).await, told(None).await];
        insta::assert_snapshot!(all.join("\n"), @r"
        no cluster to talk to: the kubeconfig has no context frist; did you mean first?
        no cluster to talk to: the kubeconfig has no context zzz; `kubectl config get-contexts` lists those that there are
        no cluster to talk to: the kubeconfig has no current context; give --context, or run `kubectl config use-context`
        ");
    }

    #[tokio::test]
    async fn an_empty_namespace_is_the_default_one() {
        let mut text = config("first", "first");
        text["clusters"][0]["cluster"] = json!({"server": "https://first:6443"});
        let config: Kubeconfig = serde_json::from_value(text).unwrap();
        let chosen = chosen(config, &KubeConfigOptions::default()).await.unwrap();
        assert_eq!(chosen.default_namespace, "default");
    }
}
