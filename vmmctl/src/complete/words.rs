//! The words on the line that is being completed.

use std::path::PathBuf;

use crate::args::Global;

/// All words behind the program's name, up to the one at the cursor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Words(Vec<String>);

impl Words {
    /// The shell calls us as `vmmctl -- vmmctl WORD…`, with the number of the word at the cursor in a variable where it has one.
    pub(super) fn of_this_process() -> Self {
        let index = std::env::var("_CLAP_COMPLETE_INDEX").ok().and_then(|n| n.parse().ok());
        Self::of(std::env::args_os().filter_map(|word| word.into_string().ok()), index)
    }

    fn of(arguments: impl Iterator<Item = String>, index: Option<usize>) -> Self {
        let line = arguments.skip_while(|word| word != "--").skip(1);
        Self(line.take(index.unwrap_or(usize::MAX)).skip(1).collect())
    }

    /// The value of an option, written `--name VALUE` or `--name=VALUE`.
    fn option(&self, name: &str) -> Option<&str> {
        let follows = self.0.windows(2).rev().find_map(|pair| match pair {
            [word, value] if word == name => Some(value.as_str()),
            _ => None,
        });
        let is_joined = |word: &&String| word.starts_with(name);
        let joined = || self.0.iter().rev().find(is_joined)?.strip_prefix(name)?.strip_prefix('=');
        follows.or_else(joined)
    }

    /// Where to ask, as the line says.
    pub(super) fn global(&self) -> Global {
        let said = |option: &str, variable: &str| {
            self.option(option).map(str::to_owned).or_else(|| std::env::var(variable).ok())
        };
        let mut global = Global::usual();
        if let Some(manager) = said("--manager", "VMMCTL_MANAGER") {
            global.manager = manager;
        }
        global.credentials = said("--credentials", "VMMCTL_CREDENTIALS").map(PathBuf::from);
        global
    }

    /// Every one.
    pub(super) fn all(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Is this word on the line?
    pub(super) fn has(&self, word: &str) -> bool {
        self.0.iter().any(|known| known == word)
    }

    /// The first word behind one of these that is no option.
    pub(super) fn behind(&self, words: &[&str]) -> Option<&str> {
        let at = self.0.iter().position(|word| words.contains(&word.as_str()))?;
        self.0[at + 1..].iter().find(|word| !word.starts_with('-')).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Words {
        Words::of(line.split(' ').map(str::to_owned), None)
    }

    #[test]
    fn the_line_says_where_to_ask() {
        for (line, manager) in [
            ("vmmctl -- vmmctl vm start --manager a:1 ", Some("a:1")),
            ("vmmctl -- vmmctl --manager=b:2 vm start ", Some("b:2")),
            ("vmmctl -- vmmctl --manager a:1 --manager b:2 vm ", Some("b:2")),
            ("vmmctl -- vmmctl vm start ", None),
            ("vmmctl --manager x:1 -- vmmctl vm start ", None),
        ] {
            assert_eq!(words(line).option("--manager"), manager, "{line}");
        }
        assert_eq!(words("vmmctl -- vmmctl --manager c:3 vm ").global().manager, "c:3");
    }

    #[test]
    fn words_behind_the_cursor_do_not_count() {
        let line = "vmmctl -- vmmctl vm disk detach web xvda --force";
        let until = Words::of(line.split(' ').map(str::to_owned), Some(5));
        assert!(until.has("web") && !until.has("--force"));
        assert_eq!(until.behind(&["detach", "resize"]), Some("web"));
        assert_eq!(until.behind(&["attach"]), None);
    }
}
