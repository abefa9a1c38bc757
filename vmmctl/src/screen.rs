//! What stdout and stderr are: a person's terminal, how wide, with colours or without; or a pipe.

use std::io::IsTerminal;
use std::os::fd::AsFd;

/// Where text goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Screen {
    /// A person looks at it.
    pub(crate) is_terminal: bool,
    /// Columns of characters, where the terminal says.
    pub(crate) width: Option<usize>,
    /// Its lines.
    pub(crate) height: Option<usize>,
    /// Colours are wanted.
    pub(crate) colours: bool,
}

impl Screen {
    /// A pipe or file: everything in full, plain.
    #[cfg(test)]
    pub(crate) const PIPE: Self =
        Self { is_terminal: false, width: None, height: None, colours: false };

    pub(crate) fn stdout() -> Self {
        Self::of(&std::io::stdout())
    }

    pub(crate) fn stderr() -> Self {
        Self::of(&std::io::stderr())
    }

    fn of(stream: &(impl IsTerminal + AsFd)) -> Self {
        if !stream.is_terminal() {
            return Self::default();
        }
        // A terminal that does not know says 0.
        let known = |count: u16| (count > 0).then(|| count.into());
        let size = rustix::termios::tcgetwinsize(stream).ok();
        Self {
            is_terminal: true,
            width: size.and_then(|size| known(size.ws_col)),
            height: size.and_then(|size| known(size.ws_row)),
            colours: wants_colours(|name| std::env::var(name).ok()),
        }
    }
}

/// <https://no-color.org>: any value but an empty one switches colours off. A terminal may also say that it has none.
fn wants_colours(variable: impl Fn(&str) -> Option<String>) -> bool {
    let refused = variable("NO_COLOR").is_some_and(|value| !value.is_empty());
    !refused && variable("TERM").is_none_or(|term| term != "dumb")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(no_color: Option<&str>, term: Option<&str>, expect: bool) {
        let wants = wants_colours(|name| match name {
            "NO_COLOR" => no_color.map(str::to_owned),
            "TERM" => term.map(str::to_owned),
            other => panic!("{other} is not looked at"),
        });
        assert_eq!(wants, expect, "NO_COLOR={no_color:?} TERM={term:?}");
    }

    #[test]
    fn no_color_and_dumb_terminals_switch_colours_off() {
        check(None, None, true);
        check(None, Some("xterm-256color"), true);
        check(Some(""), Some("xterm"), true);
        check(Some("1"), Some("xterm"), false);
        check(Some("0"), None, false);
        check(None, Some("dumb"), false);
    }
}
