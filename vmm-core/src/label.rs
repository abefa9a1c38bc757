//! What people write on objects: tags, folders, notes, and the names of places. Each is checked once, where it comes in.

use std::fmt;

use thiserror::Error;

/// Tags on one object.
pub const TAGS_MAX: usize = 32;
/// Bytes of notes.
pub const NOTES_BYTES_MAX: usize = 4096;
/// Bytes of a tag, of a part of a folder's path, and of a name.
const WORD_BYTES_MAX: usize = 64;
/// Folders within each other.
const FOLDER_DEPTH_MAX: usize = 8;

/// Why something cannot be written on an object.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LabelError {
    /// Not a tag.
    #[error(
        "tag {0:?} is refused: write 1 to 64 of A-Z a-z 0-9 . _ : / -, beginning with a letter or digit"
    )]
    Tag(String),
    /// Not a folder.
    #[error(
        "folder {0:?} is refused: write a path such as /prod/web, at most 8 names of 1 to 64 letters, digits, spaces, . _ -"
    )]
    Folder(String),
    /// Not a name of a place.
    #[error(
        "name {0:?} is refused: write 1 to 64 of A-Z a-z 0-9 . _ -, beginning with a letter or digit"
    )]
    Name(String),
    /// Too long.
    #[error("notes of {0} bytes are refused: 4096 at most")]
    Notes(usize),
    /// Too many.
    #[error("{0} tags are refused: an object has 32 at most; take some away")]
    TooManyTags(usize),
}

/// A tag.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(String);

/// The name of a pool or a site.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlaceName(String);

/// A folder: a path from the root without a slash at its end, and empty for the root.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Folder(String);

/// What people should know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Notes(String);

fn is_word(text: &str, may_have: fn(char) -> bool) -> bool {
    (1..=WORD_BYTES_MAX).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || may_have(c))
}

fn is_folder_name(text: &str) -> bool {
    let is_fit = |c: char| c.is_alphanumeric() || matches!(c, ' ' | '.' | '_' | '-');
    (1..=WORD_BYTES_MAX).contains(&text.len())
        && text.chars().all(is_fit)
        && text.trim() == text
        && !matches!(text, "." | "..")
}

impl Tag {
    /// Checks it.
    ///
    /// # Errors
    /// [`LabelError::Tag`].
    pub fn new(text: &str) -> Result<Self, LabelError> {
        let is_tag = is_word(text, |c| matches!(c, '.' | '_' | ':' | '/' | '-'));
        if is_tag { Ok(Self(text.to_owned())) } else { Err(LabelError::Tag(text.to_owned())) }
    }
}

impl PlaceName {
    /// Checks it.
    ///
    /// # Errors
    /// [`LabelError::Name`].
    pub fn new(text: &str) -> Result<Self, LabelError> {
        let is_name = is_word(text, |c| matches!(c, '.' | '_' | '-'));
        if is_name { Ok(Self(text.to_owned())) } else { Err(LabelError::Name(text.to_owned())) }
    }
}

impl Folder {
    /// Checks it. A slash at the end means nothing; a slash alone is the root.
    ///
    /// # Errors
    /// [`LabelError::Folder`].
    pub fn new(text: &str) -> Result<Self, LabelError> {
        let refused = || LabelError::Folder(text.to_owned());
        let path = text.strip_suffix('/').unwrap_or(text);
        if path.is_empty() {
            return if text.is_empty() { Err(refused()) } else { Ok(Self::default()) };
        }
        let names = path.strip_prefix('/').ok_or_else(refused)?;
        let is_folder =
            names.split('/').count() <= FOLDER_DEPTH_MAX && names.split('/').all(is_folder_name);
        if is_folder { Ok(Self(path.to_owned())) } else { Err(refused()) }
    }
}

impl Notes {
    /// Checks them.
    ///
    /// # Errors
    /// [`LabelError::Notes`].
    pub fn new(text: &str) -> Result<Self, LabelError> {
        if text.len() <= NOTES_BYTES_MAX {
            return Ok(Self(text.to_owned()));
        }
        Err(LabelError::Notes(text.len()))
    }
}

/// The folder itself and each above it, the outermost first; none for the root.
pub fn folders_above(path: &str) -> impl Iterator<Item = &str> {
    let ends = path.match_indices('/').map(|(at, _)| at).skip(1).chain([path.len()]);
    ends.map(|end| &path[..end]).filter(|path| !path.is_empty())
}

macro_rules! text {
    ($($name:ident)*) => {$(
        impl $name {
            /// Its text.
            #[must_use]
            pub fn into_text(self) -> String {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

text! { Tag PlaceName Folder Notes }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_written_everywhere_is_a_tag_or_a_name() {
        let check = |text: &str, is_tag: bool, is_name: bool| {
            assert_eq!(
                (Tag::new(text).is_ok(), PlaceName::new(text).is_ok()),
                (is_tag, is_name),
                "{text:?}"
            );
        };
        check("web", true, true);
        check("7", true, true);
        check("tier:1/a", true, false);
        check("a.b_c-d", true, true);
        check("", false, false);
        check("-a", false, false);
        check("a b", false, false);
        check("a,b", false, false);
        check("é", false, false);
        check(&"a".repeat(64), true, true);
        check(&"a".repeat(65), false, false);
    }

    #[test]
    fn a_folder_is_a_path_from_the_root() {
        let check = |text: &str, expect: Option<&str>| {
            let folder = Folder::new(text).ok().map(Folder::into_text);
            assert_eq!(folder.as_deref(), expect, "{text:?}");
        };
        check("/", Some(""));
        check("/prod", Some("/prod"));
        check("/prod/web/", Some("/prod/web"));
        check("/Büro 2/a.b", Some("/Büro 2/a.b"));
        check("", None);
        check("prod", None);
        check("//", None);
        check("/a//b", None);
        check("/a/../b", None);
        check("/ a", None);
        check("/a\n", None);
        check("/1/2/3/4/5/6/7/8", Some("/1/2/3/4/5/6/7/8"));
        check("/1/2/3/4/5/6/7/8/9", None);
        check(&format!("/{}", "a".repeat(65)), None);
    }

    #[test]
    fn a_folder_lies_in_those_above_it() {
        let above = |path| folders_above(path).collect::<Vec<_>>();
        assert_eq!(above("/prod/web/a"), ["/prod", "/prod/web", "/prod/web/a"]);
        assert_eq!(above("/prod"), ["/prod"]);
        assert_eq!(above(""), [""; 0]);
    }
}
