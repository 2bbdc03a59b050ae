//! Every message that a person can meet stands whole in a test: in a snapshot, or as what a test expects. Whoever adds one
//! without an example is told so here.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod sources;

use std::fs;
use std::iter::Peekable;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use proc_macro2::{Delimiter, Group, Ident, TokenStream, TokenTree, token_stream};
use regex::Regex;

/// A text with fewer words is part of another, or a name.
const WORDS: usize = 3;

/// Files whose texts are no messages to people, or are shown to them elsewhere, with the reason.
const ELSEWHERE: [(&str, &str); 17] = [
    ("cluster/src/rights", "charts/lapse/README.md shows them, which is generated and compared"),
    ("cluster/src/connect.rs", "a program without a cluster says it as it ends"),
    ("cluster/src/index", "faults in what Lapse itself wrote, for the log"),
    ("cluster/src/objects.rs", "faults in what Lapse itself wrote, for the log"),
    ("cluster/src/observe", "faults in what Lapse itself wrote, for the log"),
    ("cluster/src/process", "names of metrics and of types of content"),
    ("cluster/src/reader", "faults in what Lapse itself wrote, for the log"),
    ("controller/src/metrics", "descriptions of metrics: docs/operations.md has them"),
    ("controller/src/metrics.rs", "descriptions of metrics: docs/operations.md has them"),
    ("controller/src/revoke", "for the log"),
    ("controller/src/run.rs", "what a program says as it ends, for the log"),
    ("controller/src/drain", "an uninstallation shows them: uninstall.rs"),
    ("crds/src/bin", "a tool of the project"),
    ("webhook/src/keys", "for the log"),
    ("webhook/src/metrics.rs", "descriptions of metrics: docs/operations.md has them"),
    ("webhook/src/run.rs", "what a program says as it ends, for the log"),
    ("webhook/src/server", "answers to what is not the API server"),
];

/// Single texts that are no messages to people, or that need more than a test can bring about, with the reason.
const SINGLE: [(&str, &str); 56] = [
    (
        "What credentialID was called by older releases. Nothing is stamped here any more.",
        "documentation",
    ),
    ("recovery attempt limit", "what the parser says, and is left out"),
    ("the expression gave no boolean", "the check of types refuses it before"),
    ("only values, operators and functions are supported", "the scan refuses it before"),
    ("bytes are not supported", "the scan refuses it before"),
    ("the grants are not known", "they are found or failed"),
    ("the rules of the role are not known", "the check of the target refuses it before"),
    ("it panicked; the log says where", "for the log"),
    ("no stable state after {0} rounds", "for the log"),
    ("The {kind} cannot be read, and grants nothing: {why}", "suite poison"),
    ("the {kind} {NAME} has no webhook {webhook}: install the chart again", "for the log"),
    (
        "the webhook {webhook} calls neither a service nor a usable URL: install the chart again",
        "for the log",
    ),
    ("too many wait", "for the log"),
    ("no role is looked at to say no", "whoever may not say no by this alone is judged in full"),
    (
        "no policy is known to decide about it",
        "whoever may not say no by this alone is judged in full",
    ),
    ("JitPolicy {name} is not known", "whoever may not say no by this alone is judged in full"),
    ("JitPolicy {} says nothing of it", "whoever may not say no by this alone is judged in full"),
    (
        "the API server did not say in time what the caller may",
        "whoever may not say no by this alone is judged in full",
    ),
    ("left to the schema", "for the log"),
    ("judged and stamped", "for the log"),
    ("marked what is started", "for the log"),
    ("took the mark off a copy", "for the log"),
    ("recorded which pod is entered", "for the log"),
    ("could not record which pod is entered", "for the log"),
    ("Drawing a random number: {error}", "the system has none"),
    ("the keys changed {TRIES} times while they were being read", "for the log"),
    ("Grant {grant} has another UID", "suite stolen: to who stole a token"),
    ("no such object follows from a Grant", "suite stolen: to who stole a token"),
    ("the Grant was deleted", "suite stolen: to who stole a token"),
    ("its marker is another's", "suite stolen: to who stole a token"),
    ("no such Grant follows from AccessRequest {}/{}", "suite stolen: to who stole a token"),
    ("{what}: there is none", "suite stolen: to who stole a token"),
    (
        "request {name} names no requester or no target, so nothing can be decided. Delete it and create it again",
        "what older releases never stored",
    ),
    (
        "request {name} cannot be decided: {error}. Delete it and create it again",
        "its signature is worth nothing, of which suite attacks",
    ),
    (
        "by its labels ClusterRole {role} takes over its rules, and with them whoever holds that. Exclude ClusterRoles \
         named lapse:* from whatever adds labels",
        "suite beside",
    ),
    ("the policy cannot be read: {error}", "the schema refuses it before"),
    ("the watch ended", "the next one goes on where it was"),
    (
        "namespace: lapse-system\nbindableRoles: []\ngrantableRules: []\nallowClusterWide: true\nprotectedNamespaces: [kube-*]\nduration: {min: 5m, max: 24h}\ncontroller: {serviceAccount: lapse-controller, endsWorkloads: true}\nhasGateway: true\nhostRequests: default\n",
        "settings that are assumed, as YAML",
    ),
    ("the assumed settings: {error}", "they are of the program, and are read by its tests"),
    ("create on subjectaccessreviews", "whoever may see the rest may ask this, too"),
    ("ask what others may do", "whoever may see the rest may ask this, too"),
    (
        "ClusterRole system:discovery",
        "a cluster lets everybody ask it, and does not answer only when it is down",
    ),
    (
        "ask what the cluster serves",
        "a cluster lets everybody ask it, and does not answer only when it is down",
    ),
    (
        "read Service {name} in namespace {namespace}",
        "whoever reads the settings may read this, too",
    ),
    (
        "see the log of the controllers; `kubectl delete` the binding to end the access now (docs/runbooks.md)",
        "suite cli/doctor looks for what it goes with",
    ),
    (
        "list on rolebindings and clusterrolebindings in the whole cluster",
        "suite cli/doctor: who may not list Grants is told of those first",
    ),
    (
        "ClusterRole system:basic-user",
        "a cluster lets everybody ask it, and does not answer only when it is down",
    ),
    (
        "ask what you may do",
        "a cluster lets everybody ask it, and does not answer only when it is down",
    ),
    ("a date out of range", "certificates of the years after 9999"),
    (
        "list admission policies, their bindings and webhook configurations",
        "suite cli/doctor: who may not read the settings is told of those first",
    ),
    (
        "get and list on all of admissionregistration.k8s.io",
        "suite cli/doctor: who may not read the settings is told of those first",
    ),
    (
        "create requests in namespace {namespace}, with which the webhook is tested",
        "suite cli/doctor: everybody of its namespaces may",
    ),
    (
        "\n## Exit status\n\n`run` exits as its command does.\n\n```text\n{EXIT_STATUS}\n```\n",
        "docs/cli-reference.md",
    ),
    (
        "There are {} more, for which the answer has no room.",
        "takes more policies than a dry run answers with",
    ),
    ("give a command after --", "the parser says so before"),
    ("there is a problem", "suite cli/doctor shows several"),
];

/// Macros whose texts go to the log, or to nobody.
const UNSEEN: [&str; 12] = [
    "info",
    "debug",
    "warn",
    "error",
    "trace",
    "info_span",
    "debug_span",
    "error_span",
    "assert",
    "debug_assert",
    "unreachable",
    "compile_error",
];

fn is_test(path: &str) -> bool {
    let names = ["tests", "testing", "messages", "simulation", "fuzz", "benches"];
    path.split('/').any(|part| names.contains(&part.trim_end_matches(".rs")))
}

/// The texts of some code: those of its tests, or those of all the rest.
struct Texts {
    of_tests: bool,
    found: Vec<String>,
}

impl Texts {
    fn of(code: &str, of_tests: bool) -> Vec<String> {
        let mut texts = Self { of_tests, found: Vec::new() };
        texts.walk(code.parse().unwrap(), false);
        texts.found
    }

    fn walk(&mut self, tokens: TokenStream, in_test: bool) {
        let mut tokens = tokens.into_iter().peekable();
        let mut is_test_item = false;
        while let Some(token) = tokens.next() {
            match token {
                TokenTree::Punct(mark) if mark.as_char() == '#' => {
                    is_test_item |= self.attribute(&mut tokens, in_test);
                }
                TokenTree::Ident(name) if !in_test && hides(&name, tokens.peek()) => {
                    let is_macro = tokens.next_if(|t| matches!(t, TokenTree::Punct(_))).is_some();
                    if is_macro || matches!(tokens.peek(), Some(TokenTree::Group(_))) {
                        tokens.next();
                    }
                }
                TokenTree::Group(group) => {
                    self.walk(group.stream(), in_test || is_test_item);
                    is_test_item &= group.delimiter() != Delimiter::Brace;
                }
                TokenTree::Literal(literal) if self.of_tests == (in_test || is_test_item) => {
                    if let Ok(text) = syn::parse_str::<syn::LitStr>(&literal.to_string()) {
                        self.found.push(text.value());
                    }
                }
                TokenTree::Punct(mark) if mark.as_char() == ';' => is_test_item = false,
                _ => {}
            }
        }
    }

    /// Reads an attribute; whether it makes a test of what follows.
    fn attribute(&mut self, tokens: &mut Peekable<token_stream::IntoIter>, in_test: bool) -> bool {
        tokens.next_if(|token| matches!(token, TokenTree::Punct(mark) if mark.as_char() == '!'));
        let Some(TokenTree::Group(group)) = tokens.next() else { return false };
        let text = group.stream().to_string();
        // Those of errors and of rules of the definitions are told to people.
        if in_test || ["error", "x_kube", "case"].iter().any(|name| text.starts_with(name)) {
            self.walk(inner(&group), in_test);
        }
        text.starts_with("cfg") && text.contains("test")
    }
}

/// What stands in the parentheses of an attribute.
fn inner(group: &Group) -> TokenStream {
    let groups = group.stream().into_iter().filter_map(|token| match token {
        TokenTree::Group(group) => Some(group.stream()),
        _ => None,
    });
    groups.collect()
}

/// Whether what follows is for the log or for nobody.
fn hides(name: &Ident, next: Option<&TokenTree>) -> bool {
    let name = name.to_string();
    match next {
        Some(TokenTree::Punct(mark)) => mark.as_char() == '!' && UNSEEN.contains(&name.as_str()),
        Some(TokenTree::Group(_)) => name == "expect",
        _ => false,
    }
}

static FILLED: LazyLock<Regex> = LazyLock::new(|| regex(r"\{[^{}]*\}|^spec\.[a-zA-Z.]+ "));
static WORD: LazyLock<Regex> = LazyLock::new(|| regex("[A-Za-z]{2,}"));
static CALL: LazyLock<Regex> =
    LazyLock::new(|| regex("^[a-z]+ing (the |a |its |their )?[A-Za-z{]"));

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).unwrap()
}

/// What is fixed in a text, between what is filled in. kubectl puts a colon after the path of a field.
fn fixed(text: &str) -> Vec<String> {
    let text = text.replace("{{", "\u{1}").replace("}}", "\u{2}");
    let parts =
        FILLED.split(&text).map(|part| flat(&part.replace('\u{1}', "{").replace('\u{2}', "}")));
    parts.filter(|part| !part.is_empty()).collect()
}

fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn is_message(text: &str) -> bool {
    let words: usize = fixed(text).iter().map(|part| WORD.find_iter(part).count()).sum();
    // The name of a call, which stands before what the API server answered.
    let is_call = CALL.is_match(text);
    // A rule in CEL has a message of its own.
    let is_rule = text.contains("self.") || text.contains("(self)");
    words >= WORDS && text.trim().contains(' ') && !is_call && !is_rule
}

/// Whether a text is shown whole, in this order, in one line or one expected text.
fn is_shown(text: &str, shown: &[String]) -> bool {
    let parts = fixed(text);
    shown.iter().any(|line| {
        let mut rest = line.as_str();
        parts.iter().all(|part| match rest.find(part.as_str()) {
            Some(at) => {
                rest = &rest[at + part.len()..];
                true
            }
            None => false,
        })
    })
}

#[test]
fn every_message_has_an_example() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let crates = ["crds", "engine", "cluster", "controller", "webhook", "cli"];
    let mut folders: Vec<PathBuf> = crates.map(|name| workspace.join(name).join("src")).into();
    folders.push(workspace.join("e2e/tests"));
    // What the command line says of itself is generated from it.
    let reference = fs::read_to_string(workspace.join("docs/cli-reference.md")).unwrap();
    let mut shown: Vec<String> = reference.split("```").map(flat).collect();
    let mut messages: Vec<(String, String)> = Vec::new();
    for path in folders.iter().flat_map(|folder| sources::files(folder)) {
        let name = path.strip_prefix(workspace).unwrap().to_string_lossy().into_owned();
        let Ok(text) = fs::read_to_string(&path) else { continue };
        let extension = path.extension().unwrap_or_default();
        if extension == "snap" {
            shown.extend(text.lines().map(flat));
        } else if extension == "rs" && (name.starts_with("e2e") || is_test(&name)) {
            let mut texts = Texts { of_tests: true, found: Vec::new() };
            texts.walk(text.parse().unwrap(), true);
            shown.extend(texts.found.iter().map(|text| flat(text)));
        } else if extension == "rs" {
            shown.extend(Texts::of(&text, true).iter().map(|text| flat(text)));
            messages.extend(Texts::of(&text, false).into_iter().map(|text| (name.clone(), text)));
        }
    }
    assert!(messages.len() > 1000 && shown.len() > 1000, "nothing was read");
    let is_elsewhere = |file: &str, text: &str| {
        ELSEWHERE.iter().any(|(folder, _)| file.starts_with(folder))
            || SINGLE.iter().any(|(single, _)| *single == text)
    };
    let missing: Vec<String> = messages
        .iter()
        .filter(|(file, text)| is_message(text) && !is_elsewhere(file, text))
        .filter(|(_, text)| !is_shown(text, &shown))
        .map(|(file, text)| format!("{file}: {text:?}"))
        .collect();
    assert!(
        missing.is_empty(),
        "{} messages are in no test; add an example beside those of its place:\n{}",
        missing.len(),
        missing.join("\n")
    );
    for (single, _) in SINGLE {
        assert!(messages.iter().any(|(_, text)| text == single), "nobody says {single:?} any more");
    }
    for (folder, _) in ELSEWHERE {
        assert!(workspace.join(folder).exists(), "there is no {folder} any more");
    }
}

#[test]
fn what_has_no_example_is_found() {
    let code = r#"
        //! Not a message at all.
        #[error("this {0} cannot be read")]
        struct E(String);
        #[expect(dead_code, reason = "not a message at all")]
        fn f() {
            info!("not a message at all");
            f.expect("not a message at all");
            g(format!("there is {{no}} {thing} called {}", 1));
        }
        #[cfg(test)]
        mod tests {
            #[case("this {} cannot be expected")]
            fn f() { assert!(e == "this thing cannot be read"); }
        }
    "#;
    let said = ["this {0} cannot be read", "there is {{no}} {thing} called {}"];
    assert_eq!(Texts::of(code, false), said);
    assert_eq!(Texts::of(code, true), ["this {} cannot be expected", "this thing cannot be read"]);
    let shown: Vec<String> = Texts::of(code, true);
    assert!(is_shown(said[0], &shown) && !is_shown(said[1], &shown));
    assert!(is_shown(said[1], &["there is {no} role called edit".to_owned()]));
    assert!(said.iter().all(|text| is_message(text)));
    assert!(!is_message("listing the Roles of {namespace}") && !is_message("spec.{field}"));
}
