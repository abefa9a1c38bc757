//! The command line as a list from which each command takes what it knows.
//!
//! Fails by naming the first argument that nobody took, so a misspelt flag never goes unnoticed.

use std::collections::VecDeque;
use std::str::FromStr;

use anyhow::{Context, Result, bail};

/// What is left of the command line.
pub(crate) struct Args(VecDeque<String>);

impl Args {
    pub(crate) fn from_env() -> Self {
        Self(std::env::args().skip(1).collect())
    }

    /// The next argument when it is a word and no flag.
    pub(crate) fn positional(&mut self) -> Option<String> {
        if self.0.front()?.starts_with('-') { None } else { self.0.pop_front() }
    }

    pub(crate) fn flag(&mut self, name: &str) -> bool {
        let Some(at) = self.0.iter().position(|arg| arg == name) else { return false };
        self.0.remove(at);
        true
    }

    /// `--name VALUE`.
    pub(crate) fn value<T: FromStr>(&mut self, name: &str) -> Result<Option<T>>
    where
        T::Err: std::error::Error + Send + Sync + 'static,
    {
        let Some(at) = self.0.iter().position(|arg| arg == name) else { return Ok(None) };
        self.0.remove(at);
        let text = self.0.remove(at).with_context(|| format!("{name} needs a value"))?;
        text.parse().map(Some).with_context(|| format!("{name} {text:?}"))
    }

    /// Everything that is left, for a command that passes it on.
    pub(crate) fn rest(self) -> Vec<String> {
        self.0.into()
    }

    pub(crate) fn finish(self) -> Result<()> {
        match self.0.front() {
            None => Ok(()),
            Some(arg) => bail!("unexpected argument {arg:?}; see --help"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(words: &str) -> Args {
        Args(words.split_whitespace().map(str::to_owned).collect())
    }

    #[test]
    fn takes_flags_values_and_words_in_any_order() {
        let mut args = args("up --bare 2 --ram 7");
        assert_eq!(args.positional().as_deref(), Some("up"));
        assert!(args.flag("--bare"));
        assert_eq!(args.value::<u32>("--ram").unwrap(), Some(7));
        assert_eq!(args.positional().as_deref(), Some("2"));
        args.finish().unwrap();
    }

    #[test]
    fn names_what_nobody_took() {
        let error = args("--bogus").finish().unwrap_err();
        assert!(error.to_string().contains("--bogus"));
    }
}
