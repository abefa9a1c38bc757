//! `vmmctl vm console`

mod tame;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use vmm_proto::v1::{ConsoleText, ReadConsole, Reply, Request};

use crate::complete;
use crate::failure::Failure;
use crate::output::{Answer, Column, Named, Unit, write};
use crate::session::{Session, unexpected};
use crate::size;
use tame::Tamer;

/// How often a console that is followed is read.
const POLL: Duration = Duration::from_millis(500);
const BYTES_DEFAULT: &str = "16K";
/// The most that is read at once.
const BYTES_MAX: u32 = 1 << 20;

#[derive(Debug, Args)]
#[command(after_help = "\
A guest writes what it likes. On a terminal its escape sequences (colours, cursor moves) are left out and other control
characters are '?', unless --raw is given; to a pipe or file all goes as it is. With -o json the text is base64, and --follow
is refused.")]
pub(crate) struct Console {
    /// Name or id.
    #[arg(add = complete::vms())]
    vm: String,
    /// At most this much, from the end.
    #[arg(long, default_value = BYTES_DEFAULT, value_name = "SIZE", value_parser = size::bytes)]
    bytes: u64,
    /// Go on until Ctrl-C.
    #[arg(long, short)]
    follow: bool,
    /// Pass escape sequences and control characters to the terminal.
    #[arg(long)]
    raw: bool,
}

pub(super) async fn run(session: &Session, console: Console) -> Result<(), Failure> {
    let bytes_max = u32::try_from(console.bytes).unwrap_or(BYTES_MAX).min(BYTES_MAX);
    let text = read(session, &console.vm, bytes_max).await?;
    if !session.look.is_for_people() {
        if console.follow {
            let message = "--follow shows text as it comes; leave it out, or leave out -o";
            return Err(Failure::Usage(message.into()));
        }
        let text = Named::new(console.vm, text);
        return session.look.print(&Answer::one(&text, COLUMNS));
    }
    let mut tamer = (session.look.screen.is_terminal && !console.raw).then(Tamer::default);
    let bytes = decode(&text)?;
    show(&bytes, tamer.as_mut())?;
    if !console.follow {
        return Ok(());
    }
    let end = end_of(&text, &bytes);
    tokio::select! {
        ended = follow(session, &console.vm, end, tamer) => ended,
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}

type OfConsoleText = Column<Named<ConsoleText>>;

const COLUMNS: &[OfConsoleText] = &[
    OfConsoleText::text("name", |row| row.name.clone()),
    OfConsoleText::number("dropped", Unit::Bytes, |row| Some(row.of.dropped_bytes)),
    OfConsoleText::text("data", |row| row.of.data.clone()),
];

async fn follow(
    session: &Session,
    vm: &str,
    mut end: u64,
    mut tamer: Option<Tamer>,
) -> Result<(), Failure> {
    loop {
        tokio::time::sleep(POLL).await;
        let text = read(session, vm, BYTES_MAX).await?;
        let bytes = decode(&text)?;
        show(news(&text, &bytes, end), tamer.as_mut())?;
        end = end_of(&text, &bytes);
    }
}

/// What was written since `end`; all of it when the console began anew.
fn news<'a>(text: &ConsoleText, bytes: &'a [u8], end: u64) -> &'a [u8] {
    if end_of(text, bytes) < end {
        return bytes;
    }
    let known = usize::try_from(end.saturating_sub(text.dropped_bytes)).unwrap_or(usize::MAX);
    bytes.get(known..).unwrap_or_default()
}

fn end_of(text: &ConsoleText, bytes: &[u8]) -> u64 {
    text.dropped_bytes.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX))
}

async fn read(session: &Session, vm: &str, bytes_max: u32) -> Result<ConsoleText, Failure> {
    let read = ReadConsole { vm: vm.to_owned(), bytes_max };
    match session.call(Request::ReadConsole(read)).await? {
        Reply::ConsoleText(text) => Ok(text),
        other => Err(unexpected(&other)),
    }
}

fn decode(text: &ConsoleText) -> Result<Vec<u8>, Failure> {
    STANDARD
        .decode(&text.data)
        .map_err(|error| Failure::Local(format!("the console's text is no base64: {error}")))
}

fn show(bytes: &[u8], tamer: Option<&mut Tamer>) -> Result<(), Failure> {
    match tamer {
        Some(tamer) => write(tamer.tame(bytes).as_bytes()),
        None => write(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_new_is_shown() {
        let text = |dropped_bytes| ConsoleText { dropped_bytes, data: String::new() };
        assert_eq!(news(&text(0), b"abcdef", 4), b"ef");
        assert_eq!(news(&text(10), b"abc", 4), b"abc", "some was missed");
        assert_eq!(news(&text(0), b"ab", 4), b"ab", "it began anew");
        assert_eq!(news(&text(2), b"cdef", 6), b"");
    }
}
