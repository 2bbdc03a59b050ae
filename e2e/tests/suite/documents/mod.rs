//! Every command that README.md, `docs/` and the chart's README show between fences is run on a playground, in the order of
//! the documents, and so is every YAML tried there. `settings.rs` says what a block finds, and names the few commands that
//! are not run, with the reason: whatever it does not name runs, and has to succeed.

mod blocks;
mod playground;
mod settings;
mod shown;

use std::collections::BTreeSet;
use std::fmt::Write as _;

pub(crate) use self::blocks::Block;
use self::blocks::plain;
use self::playground::Playground;
use self::settings::{BEFORE, ELSEWHERE, OMITTED, PARSED, REPLACED};

/// The commands of a block as a script, and where they come from.
struct Script {
    from: String,
    text: String,
}

impl Script {
    /// Of each block that has commands which are run; and which entries of the tables were used.
    fn all(blocks: &[Block]) -> (Vec<Self>, BTreeSet<String>) {
        let mut used = BTreeSet::new();
        let scripts = blocks.iter().filter_map(|block| Self::of(block, &mut used)).collect();
        (scripts, used)
    }

    fn of(block: &Block, used: &mut BTreeSet<String>) -> Option<Self> {
        let commands = block.commands();
        let (document, first) = (block.document.as_str(), plain(commands.first()?));
        let is_here = |of: &str, section: &str| {
            of == document && (section.is_empty() || section == block.section)
        };
        if let Some((of, section, _)) = ELSEWHERE.iter().find(|(of, part, _)| is_here(of, part)) {
            used.insert(format!("{of}: {section}"));
            return None;
        }
        let mut text = String::new();
        let mut is_empty = true;
        if let Some((of, begins, before)) =
            BEFORE.iter().find(|(of, begins, _)| (*of, *begins) == (document, &first))
        {
            used.insert(format!("{of}: before {begins}"));
            writeln!(text, "{before}").unwrap();
        }
        for command in commands {
            let name = plain(&command);
            let is_named = |of: &str, named: &str| (of, named) == (document, name.as_str());
            if OMITTED.iter().any(|(of, named, _)| is_named(of, named)) {
                used.insert(format!("{document}: {name}"));
            } else if PARSED.iter().any(|(of, named)| is_named(of, named)) {
                used.insert(format!("{document}: {name}"));
                is_empty = false;
                writeln!(text, "{} --help", name.trim_end_matches(" &")).unwrap();
            } else {
                is_empty = is_empty && (name.is_empty() || name.starts_with('#'));
                writeln!(text, "{}", replaced(&command, used)).unwrap();
            }
        }
        let from = format!("{document}:{}", block.line);
        (!is_empty).then_some(Self { from, text })
    }
}

fn replaced(command: &str, used: &mut BTreeSet<String>) -> String {
    REPLACED.iter().fold(command.to_owned(), |command, (placeholder, value)| {
        if command.contains(placeholder) {
            used.insert(format!("replaced {placeholder}"));
        }
        command.replace(placeholder, value)
    })
}

/// All that the tables name.
fn named() -> BTreeSet<String> {
    let elsewhere = ELSEWHERE.iter().map(|(of, section, _)| format!("{of}: {section}"));
    let omitted = OMITTED.iter().map(|(of, command, _)| format!("{of}: {command}"));
    let parsed = PARSED.iter().map(|(of, command)| format!("{of}: {command}"));
    let before = BEFORE.iter().map(|(of, begins, _)| format!("{of}: before {begins}"));
    let replaced = REPLACED.iter().map(|(placeholder, _)| format!("replaced {placeholder}"));
    elsewhere.chain(omitted).chain(parsed).chain(before).chain(replaced).collect()
}

#[test]
fn the_tables_name_nothing_that_no_document_has() {
    let (scripts, used) = Script::all(&Block::all());
    let named = named();
    let unused: Vec<_> = named.difference(&used).collect();
    assert!(unused.is_empty(), "no document has {unused:#?}");
    assert!(scripts.len() > 25, "{} scripts", scripts.len());
}

#[test]
fn a_command_that_no_table_names_is_run() {
    let block = Block {
        document: "docs/cli.md".to_owned(),
        section: "Any".to_owned(),
        line: 7,
        kind: "sh".to_owned(),
        text: "kubectl jit init   # asks\nkubectl get gr/GRANT\n".to_owned(),
    };
    let (scripts, _) = Script::all(&[block]);
    assert_eq!(scripts[0].from, "docs/cli.md:7");
    assert_eq!(scripts[0].text, "kubectl get gr/$grant\n");
}

#[tokio::test]
async fn what_the_documents_show_works() {
    let playground = Playground::start().await;
    let blocks = Block::all();
    let mut failures = shown::refused(&playground, &blocks).await;
    for script in Script::all(&blocks).0 {
        if let Err(said) = playground.run(&script.text).await {
            failures.push(format!("{}:\n{}\n{said}", script.from, script.text));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}
