//! What the documents show between fences.

use std::fs;
use std::path::Path;

use lapse_e2e::plane::workspace;
use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag, TagEnd};

/// The documents with commands for users, in the order in which these are run: those that take Lapse away come last.
pub(super) fn documents() -> Vec<String> {
    let entries = fs::read_dir(workspace::root().join("docs")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let is_page = |name: &String| Path::new(name).extension().is_some_and(|end| end == "md");
    let mut pages: Vec<_> = names.filter(is_page).map(|name| format!("docs/{name}")).collect();
    pages.sort_by_key(|page| (page == "docs/operations.md", page.clone()));
    ["README.md", "charts/lapse/README.md"].map(String::from).into_iter().chain(pages).collect()
}

/// A block between fences.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    pub(super) document: String,
    /// The last heading before it, of the second level.
    pub(super) section: String,
    /// The line that it begins in.
    pub(super) line: usize,
    /// What the fence says that it is.
    pub(crate) kind: String,
    pub(crate) text: String,
}

impl Block {
    pub(super) fn all() -> Vec<Self> {
        let read = |document: String| {
            let text = fs::read_to_string(workspace::root().join(&document)).unwrap();
            Self::read(&document, &text)
        };
        documents().into_iter().flat_map(read).collect()
    }

    /// Those of a text, in their order.
    pub(crate) fn read(document: &str, text: &str) -> Vec<Self> {
        let (mut blocks, mut section, mut is_heading) = (Vec::<Self>::new(), String::new(), false);
        let mut open: Option<Self> = None;
        for (event, range) in Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter() {
            match event {
                Event::Start(Tag::Heading { level: HeadingLevel::H2, .. }) => {
                    section.clear();
                    is_heading = true;
                }
                Event::End(TagEnd::Heading(_)) => is_heading = false,
                Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(kind))) => {
                    open = Some(Self {
                        document: document.to_owned(),
                        section: section.clone(),
                        line: text[..range.start].matches('\n').count() + 1,
                        kind: kind.into_string(),
                        text: String::new(),
                    });
                }
                Event::End(TagEnd::CodeBlock) => blocks.extend(open.take()),
                Event::Text(text) => match &mut open {
                    Some(block) => block.text.push_str(&text),
                    None if is_heading => section.push_str(&text),
                    None => {}
                },
                _ => {}
            }
        }
        blocks
    }

    /// Its commands, each with the lines that continue it: all of a script, and of a session what follows a prompt.
    pub(super) fn commands(&self) -> Vec<String> {
        let is_session = self.text.lines().any(|line| line.starts_with("$ "));
        let lines: Vec<&str> = match &*self.kind {
            "" | "console" if is_session => {
                self.text.lines().filter_map(|line| line.strip_prefix("$ ")).collect()
            }
            "sh" | "bash" | "shell" => self.text.lines().collect(),
            _ => return Vec::new(),
        };
        let mut commands: Vec<String> = Vec::new();
        let mut goes_on = false;
        for line in lines {
            match commands.last_mut() {
                Some(last) if goes_on => {
                    last.push('\n');
                    last.push_str(line);
                }
                _ => commands.push(line.to_owned()),
            }
            goes_on = line.ends_with('\\');
        }
        commands
    }
}

/// A command as a table names it: without its comment, and with one space between words.
pub(super) fn plain(command: &str) -> String {
    let (command, _) = command.split_once(" #").unwrap_or((command, ""));
    command.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn blocks_are_found_with_their_commands() {
    let text = "# A\n## B `c`\n```sh\none \\\n  more   # why\ntwo\n```\n1. x\n   ```yaml\n   a: 1\n   ```\n\
                ## D\n```\n$ three\nthird\n```\n```\nfour\n```\n";
    let blocks = Block::read("x.md", text);
    let of = |index: usize| (blocks[index].section.as_str(), blocks[index].line);
    assert_eq!([of(0), of(1), of(2)], [("B ", 3), ("B ", 9), ("D", 13)]);
    assert_eq!(blocks[0].commands(), ["one \\\n  more   # why", "two"]);
    assert_eq!(plain(&blocks[0].commands()[0]), "one \\ more");
    assert_eq!((blocks[1].text.as_str(), blocks[1].commands().len()), ("a: 1\n", 0));
    assert_eq!(blocks[2].commands(), ["three"]);
    assert!(blocks[3].commands().is_empty());
}
