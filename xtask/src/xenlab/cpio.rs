//! A writer for Linux's initramfs format ("newc" cpio), so that ownership, modes and order are ours and no root is needed.
//!
//! Archives may follow each other in one file; Linux unpacks them in turn. Fails when a source file cannot be read.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

const FOLDER: u32 = 0o040_755;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_777;

enum Node {
    Folder,
    Link(String),
    Text(String, u32),
    Copy(PathBuf, u32),
}

/// A tree of files to be; all are owned by root.
#[derive(Default)]
pub(crate) struct Archive(BTreeMap<String, Node>);

impl Archive {
    pub(crate) fn folder(&mut self, path: &str) {
        self.add(path, Node::Folder);
    }

    pub(crate) fn link(&mut self, path: &str, to: &str) {
        self.add(path, Node::Link(to.to_owned()));
    }

    pub(crate) fn text(&mut self, path: &str, text: &str, mode: u32) {
        self.add(path, Node::Text(text.to_owned(), mode));
    }

    pub(crate) fn copy(&mut self, path: &str, from: impl Into<PathBuf>, mode: u32) {
        self.add(path, Node::Copy(from.into(), mode));
    }

    pub(crate) fn has(&self, path: &str) -> bool {
        self.0.contains_key(path.trim_start_matches('/'))
    }

    fn add(&mut self, path: &str, node: Node) {
        let path = path.trim_start_matches('/');
        if let Some((parent, _)) = path.rsplit_once('/')
            && !self.0.contains_key(parent)
        {
            self.folder(parent);
        }
        self.0.insert(path.to_owned(), node);
    }

    /// Writes the archive beside its place and moves it there, so that a half-written one is never taken for whole.
    pub(crate) fn write(&self, to: &Path) -> Result<()> {
        let partial = to.with_added_extension("partial");
        let mut out = BufWriter::new(
            File::create(&partial).with_context(|| format!("create {}", partial.display()))?,
        );
        for (index, (path, node)) in self.0.iter().enumerate() {
            let (mode, data) = match node {
                Node::Folder => (FOLDER, Vec::new()),
                Node::Link(to) => (LINK, to.clone().into_bytes()),
                Node::Text(text, mode) => (FILE | mode, text.clone().into_bytes()),
                Node::Copy(from, mode) => (
                    FILE | mode,
                    fs::read(from).with_context(|| format!("read {}", from.display()))?,
                ),
            };
            entry(&mut out, index + 1, path, mode, &data)?;
        }
        entry(&mut out, 0, "TRAILER!!!", 0, &[])?;
        out.flush()?;
        fs::rename(&partial, to).with_context(|| format!("write {}", to.display()))
    }
}

fn entry(out: &mut impl Write, inode: usize, path: &str, mode: u32, data: &[u8]) -> Result<()> {
    let (size, name_size) = (data.len(), path.len() + 1);
    // magic, inode, mode, uid, gid, links, time, size, device (4 fields), name size, checksum
    let mut header = format!("070701{inode:08x}{mode:08x}{0:08x}{0:08x}{1:08x}{0:08x}", 0, 1);
    header += &format!("{size:08x}{0:08x}{0:08x}{0:08x}{0:08x}{name_size:08x}{0:08x}{path}\0", 0);
    pad(out, header.as_bytes())?;
    pad(out, data)
}

fn pad(out: &mut impl Write, data: &[u8]) -> Result<()> {
    out.write_all(data)?;
    out.write_all(&[0; 3][..data.len().next_multiple_of(4) - data.len()])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_come_before_what_is_in_them() {
        let mut archive = Archive::default();
        archive.text("/etc/ssh/config", "x", 0o644);
        archive.link("bin/sh", "busybox");
        let order: Vec<_> = archive.0.keys().cloned().collect();
        assert_eq!(order, ["bin", "bin/sh", "etc", "etc/ssh", "etc/ssh/config"]);
    }

    #[test]
    fn every_entry_is_padded_to_four_bytes() {
        for (path, data) in [("a", "1"), ("ab", "12"), ("abc", "1234"), ("abcd", "")] {
            let mut out = Vec::new();
            entry(&mut out, 1, path, FILE, data.as_bytes()).unwrap();
            assert_eq!(out.len() % 4, 0);
            assert_eq!(&out[94..102], format!("{:08x}", path.len() + 1).as_bytes());
        }
    }
}
