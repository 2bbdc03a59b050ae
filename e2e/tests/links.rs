//! Links within the repository's Markdown lead somewhere: the file is there, and so is the heading. And the book has every page.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use lapse_e2e::plane::workspace;
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

/// What a document has that others may refer to, and what it refers to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Document {
    anchors: BTreeSet<String>,
    links: Vec<String>,
}

impl Document {
    fn read(text: &str) -> Self {
        let mut document = Self::default();
        let mut heading: Option<String> = None;
        for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
            match event {
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => {
                    document.add_anchor(&heading.take().unwrap_or_default());
                }
                Event::Text(text) | Event::Code(text) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&text);
                    }
                }
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    document.links.push(dest_url.into_string());
                }
                _ => {}
            }
        }
        document
    }

    /// As GitHub and mdBook name it: a heading that comes again gets a number.
    fn add_anchor(&mut self, heading: &str) {
        let is_kept = |c: &char| c.is_alphanumeric() || ['-', '_', ' '].contains(c);
        let name: String = heading.chars().filter(is_kept).collect();
        let name = name.to_lowercase().replace(' ', "-");
        let numbered = (1..).map(|number| format!("{name}-{number}"));
        let mut names = std::iter::once(name.clone()).chain(numbered);
        self.anchors.extend(names.find(|name| !self.anchors.contains(name)));
    }
}

/// All Markdown files of the workspace, by their paths from its root.
fn documents() -> BTreeMap<PathBuf, Document> {
    let root = workspace::root();
    let mut documents = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && !path.is_symlink() {
                folders.extend((name != "target" && !name.starts_with('.')).then_some(path));
            } else if path.extension().is_some_and(|extension| extension == "md") {
                let document = Document::read(&fs::read_to_string(&path).unwrap());
                documents.insert(path.strip_prefix(root).unwrap().to_owned(), document);
            }
        }
    }
    assert!(documents.contains_key(Path::new("docs/concepts.md")), "{:?}", documents.keys());
    documents
}

/// A path without `..`, which a link may have.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            part => plain.push(part),
        }
    }
    plain
}

/// Why a link of a document leads nowhere, if it does not.
fn fault(documents: &BTreeMap<PathBuf, Document>, from: &Path, link: &str) -> Option<String> {
    if link.contains("://") || link.starts_with("mailto:") {
        return None;
    }
    let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
    let to = match file {
        "" => from.to_owned(),
        file => plain(&from.parent().unwrap().join(file)),
    };
    if !workspace::root().join(&to).exists() {
        return Some("there is no such file".to_owned());
    }
    let known = documents.get(&to).map(|document| document.anchors.contains(anchor));
    (!anchor.is_empty() && known != Some(true)).then(|| "there is no such heading".to_owned())
}

#[test]
fn every_link_leads_somewhere() {
    let documents = documents();
    let links = documents
        .iter()
        .flat_map(|(path, document)| document.links.iter().map(move |link| (path, link)));
    let faults = links.clone().filter_map(|(path, link)| {
        Some(format!("{}: {link}: {}", path.display(), fault(&documents, path, link)?))
    });
    let faults: Vec<String> = faults.collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(links.count() > 100);
}

/// mdBook leaves out what its summary does not name, and links to it would lead nowhere on the site.
#[test]
fn the_book_has_every_page() {
    let documents = documents();
    let summary = Path::new("docs/SUMMARY.md");
    let named = documents[summary].links.iter().map(|link| Path::new("docs").join(link));
    let named: BTreeSet<PathBuf> = named.collect();
    let pages = documents.keys().filter(|path| path.starts_with("docs") && *path != summary);
    let missing: Vec<&PathBuf> = pages.filter(|path| !named.contains(*path)).collect();
    assert!(missing.is_empty(), "docs/SUMMARY.md does not name {missing:?}");
}

#[test]
fn headings_and_links_are_found() {
    let text = "# A `b`, and c-d\n## Again\n## Again\n| [x](y.md#z) |\n|---|\n| ![p](q.svg) |\n```\n[no](no)\n```\n";
    let document = Document::read(text);
    let anchors: Vec<&str> = document.anchors.iter().map(String::as_str).collect();
    assert_eq!(anchors, ["a-b-and-c-d", "again", "again-1"]);
    assert_eq!(document.links, ["y.md#z", "q.svg"]);
    let documents = BTreeMap::from([(PathBuf::from("README.md"), document)]);
    let of = |link: &str| fault(&documents, Path::new("README.md"), link);
    assert_eq!(of("#again-1"), None);
    assert_eq!(of("docs/../README.md#again"), None);
    assert_eq!(of("https://example.org/#x"), None);
    assert!(of("#gone").unwrap().contains("heading"));
    assert!(of("gone.md").unwrap().contains("file"));
}
