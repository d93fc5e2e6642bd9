//! Links of the pages lead somewhere.

use std::path::Path;

use crate::workspace::{no_faults, pages, root, text};

/// The names that a forge gives to the headings of a page.
fn headings(page: &str) -> Vec<String> {
    let mut is_code = false;
    let mut names = Vec::new();
    for line in page.lines() {
        is_code ^= line.trim_start().starts_with("```");
        let Some(title) = line.strip_prefix('#').filter(|_| !is_code) else { continue };
        let kept = |letter: &char| letter.is_alphanumeric() || " -_".contains(*letter);
        let name: String = title.trim_start_matches('#').trim().chars().filter(kept).collect();
        names.push(name.to_lowercase().replace(' ', "-"));
    }
    names
}

/// What a page links to, outside of examples.
fn links(page: &str) -> Vec<&str> {
    let prose = page.split("```").step_by(2);
    let targets = prose.flat_map(|part| part.split("](").skip(1));
    targets.filter_map(|rest| rest.split(')').next()).collect()
}

#[test]
fn every_link_of_a_page_leads_to_a_file_and_a_heading() {
    let mut faults = Vec::new();
    for (path, page) in pages() {
        for link in links(&page).into_iter().filter(|link| !link.contains("://")) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let folder = root().join(&path);
            let folder = folder.parent().expect("a file is in a folder");
            let target = if file.is_empty() { root().join(&path) } else { folder.join(file) };
            let is_there = target.exists() && (heading.is_empty() || has(&target, heading));
            if !is_there {
                faults.push(format!("{} links to {link}", path.display()));
            }
        }
    }
    no_faults(&faults, "Correct these links; a heading is named in lower case, with hyphens.");
}

fn has(page: &Path, heading: &str) -> bool {
    headings(&text(page)).iter().any(|name| name == heading)
}

#[test]
fn headings_are_named_as_a_forge_does() {
    let page = "# One two\n```sh\n# no heading\n```\n## What it does, and why\n";
    assert_eq!(headings(page), ["one-two", "what-it-does-and-why"]);
    assert_eq!(links("[a](b.md) ```[c](d)``` [e](#f)"), ["b.md", "#f"]);
}
