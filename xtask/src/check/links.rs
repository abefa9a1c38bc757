//! Relative links of Markdown files lead to files that exist. Links to the web and within a page are not followed.
//!
//! Fails when a file cannot be read; a dead link is a finding.

use std::path::Path;

use anyhow::Result;

use crate::workspace::Workspace;

pub(crate) fn check(workspace: &Workspace) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for file in workspace.files()? {
        if file.extension().is_none_or(|ext| ext != "md") {
            continue;
        }
        let text = String::from_utf8_lossy(&workspace.read(&file)?).into_owned();
        for link in relative_links(&text) {
            let base = match link.strip_prefix('/') {
                Some(_) => &workspace.root,
                None => &workspace.root.join(file.parent().unwrap_or(Path::new(""))),
            };
            if !base.join(link.trim_start_matches('/')).exists() {
                findings.push(format!("{}: {link} does not exist", file.display()));
            }
        }
    }
    Ok(findings)
}

/// The targets of `[text](target)` and `[name]: target` outside code, without anchors.
fn relative_links(text: &str) -> Vec<String> {
    let mut links = Vec::new();
    let mut in_code = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
            continue;
        }
        if in_code {
            continue;
        }
        // Every second part is between backquotes.
        let prose: String = line.split('`').step_by(2).collect::<Vec<_>>().join("code");
        let inline = prose.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
        let named = prose.starts_with('[').then(|| prose.split_once("]: ")).flatten();
        let targets = inline.chain(named.and_then(|(_, target)| target.split(' ').next()));
        for target in targets {
            let path = target.split('#').next().unwrap_or_default();
            let elsewhere = path.contains("://") || path.starts_with("mailto:");
            if !path.is_empty() && !elsewhere {
                links.push(path.trim_matches(['<', '>']).replace("%20", " "));
            }
        }
    }
    links
}

#[cfg(test)]
mod tests {
    use super::relative_links;

    #[test]
    fn finds_relative_links_only() {
        let text = "[a](docs/a.md#part) [b](https://example.org) `[c](c.md)` [`d`](d.md \"title\")\n\
                    [e](#here)\n```\n[f](f.md)\n```\n[g]: g.md";
        assert_eq!(relative_links(text), ["docs/a.md", "d.md", "g.md"]);
    }
}
