//! How a state strikes the eye.

/// What a state means to whoever looks after the pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Nothing is said by it.
    #[default]
    Plain,
    /// As it should be.
    Good,
    /// On its way to something else.
    Moving,
    /// At rest, by somebody's will.
    Quiet,
    /// Somebody should look.
    Bad,
}

/// The end of every colour.
const RESET: &str = "\x1b[0m";
const BOLD: &str = "\x1b[1m";

impl Tone {
    fn begin(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Good => "\x1b[32m",
            Self::Moving => "\x1b[33m",
            Self::Quiet => "\x1b[2m",
            Self::Bad => "\x1b[31m",
        }
    }

    /// The text in its colour; a plain one as it is.
    pub(crate) fn paint(self, text: &str) -> String {
        match self.begin() {
            "" => text.to_owned(),
            begin => format!("{begin}{text}{RESET}"),
        }
    }
}

/// What stands above a table.
pub(crate) fn bold(text: &str) -> String {
    format!("{BOLD}{text}{RESET}")
}
