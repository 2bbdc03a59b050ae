//! The reference of the command line, for people: every command with its arguments and flags, as the program knows them.

use std::fmt::Write as _;

use clap::{Arg, Command, CommandFactory as _};

use crate::args::Cli;
use crate::fault::EXIT_STATUS;

/// The page, as Markdown. docs/cli-reference.md is this.
pub(super) fn page() -> String {
    let mut root = Cli::command();
    // Names of programs and the flags that all commands take are passed on.
    root.build();
    let mut page = String::from(
        "# Command line reference\n\n\
         <!-- Generated from cli/src/args by `cargo run --bin kubectl-jit -- reference > docs/cli-reference.md`. -->\n\n\
         `kubectl jit COMMAND --help` shows the same; [kubectl jit](cli.md) says what to do with it. What is in **bold** is \
         required.\n\n## Flags of every command\n\n",
    );
    rows(&mut page, root.get_arguments().filter(|arg| arg.is_global_set()));
    for command in root.get_subcommands().filter(|command| !command.is_hide_set()) {
        section(&mut page, command);
    }
    let _ = write!(
        page,
        "\n## Exit status\n\n`run` exits as its command does.\n\n```text\n{EXIT_STATUS}\n```\n"
    );
    page
}

fn section(page: &mut String, command: &Command) {
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ");
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let _ = write!(page, "\n## {}\n\n{about}.\n\n```text\n{usage}\n```\n", command.get_name());
    let aliases: Vec<String> =
        command.get_visible_aliases().map(|alias| format!("`{alias}`")).collect();
    if !aliases.is_empty() {
        let _ = writeln!(page, "\nAlso: {}.", aliases.join(", "));
    }
    let own = |arg: &&Arg| !arg.is_global_set() && arg.get_id() != "help" && !arg.is_hide_set();
    if command.get_arguments().any(|arg| own(&arg)) {
        page.push('\n');
        rows(page, command.get_arguments().filter(own));
    }
    if let Some(more) = command.get_after_long_help() {
        let _ = write!(page, "\n```text\n{more}\n```\n");
    }
}

/// Arguments first, as they are typed; then the flags in the order of `--help`.
fn rows<'a>(page: &mut String, args: impl Iterator<Item = &'a Arg>) {
    let (arguments, flags): (Vec<&Arg>, Vec<&Arg>) = args.partition(|arg| arg.is_positional());
    page.push_str("| | |\n|---|---|\n");
    for arg in arguments.into_iter().chain(flags) {
        let names = cell(&names(arg));
        let names = if arg.is_required_set() { format!("**{names}**") } else { names };
        let _ = writeln!(page, "| {names} | {} |", cell(&told(arg)));
    }
}

/// `-n`, `--namespace NAMESPACE`; an argument by what stands in its place.
fn names(arg: &Arg) -> String {
    let takes_value = arg.get_action().takes_values();
    let value = arg.get_value_names().filter(|_| takes_value).and_then(|names| names.first());
    let value = value.map(ToString::to_string);
    if arg.is_positional() {
        let more =
            if arg.get_num_args().is_some_and(|range| range.max_values() > 1) { "..." } else { "" };
        return format!("`{}{more}`", value.unwrap_or_else(|| arg.get_id().to_string()));
    }
    let short = arg.get_short().map(|short| format!("`-{short}`"));
    let value = value.map(|value| format!(" {value}")).unwrap_or_default();
    let long = arg.get_long().map(|long| format!("`--{long}{value}`"));
    short.into_iter().chain(long).collect::<Vec<_>>().join(", ")
}

/// What it does, what it may be, and what it is otherwise.
fn told(arg: &Arg) -> String {
    let help = arg.get_long_help().or_else(|| arg.get_help());
    let mut parts: Vec<String> = help.map(|help| format!("{help}.")).into_iter().collect();
    let values: Vec<String> = arg
        .get_possible_values()
        .iter()
        .filter(|value| !value.is_hide_set())
        .map(|value| match value.get_help() {
            Some(help) => format!("`{}` ({help})", value.get_name()),
            None => format!("`{}`", value.get_name()),
        })
        .collect();
    if !values.is_empty() {
        parts.push(format!("One of {}.", values.join(", ")));
    }
    let default = arg.get_default_values().first().filter(|_| arg.get_action().takes_values());
    if let Some(default) = default {
        parts.push(format!("Default: `{}`.", default.to_string_lossy()));
    }
    parts.join("<br>")
}

/// A text as one cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_what_the_program_knows() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/cli-reference.md");
        let stored = std::fs::read_to_string(file).unwrap_or_default();
        let page = page();
        assert!(
            stored == page,
            "docs/cli-reference.md differs; run `cargo run --bin kubectl-jit -- reference > docs/cli-reference.md`"
        );
        for words in [
            "| `-n`, `--namespace NAMESPACE` |",
            "\n## approve\n",
            "\n## review\n",
            "| **`--outcome OUTCOME`** | What the review came to.<br>One of `justified`, `unjustified`. |",
            "| **`NAME...`** |",
            "Default: `30d`.",
            "\n130  interrupted (Ctrl-C)",
        ] {
            assert!(page.contains(words), "{words}: {page}");
        }
        assert!(!page.contains("## man") && !page.contains("`--help`"));
    }
}
