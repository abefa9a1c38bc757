//! Lists, once or as they change (`--watch`).
//!
//! On a terminal the list is drawn anew in its place, and goes on when the manager comes back. In a pipe each state of it follows the
//! one before: JSON a line each, YAML as documents, the others behind an empty line; there the manager's absence ends it.

use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, timeout};

use crate::args::{Listing, Watch};
use crate::changes::{Changes, Kinds};
use crate::failure::Failure;
use crate::output::{Answer, Column, Format, Look, visible_lines, write_while_read};
use crate::screen::Screen;
use crate::session::Session;
use crate::wanted::Wanted;

/// Changes that come faster are shown together.
const PAUSE_MIN: Duration = Duration::from_millis(500);
/// What changes without an event is looked at again after this long.
const REFRESH: Duration = Duration::from_secs(5);
/// A manager that cannot be reached is asked again after this long.
const AGAIN: Duration = Duration::from_secs(2);

/// What a list is of.
pub(crate) struct Source<T: 'static> {
    pub(crate) kinds: Kinds,
    pub(crate) columns: &'static [Column<T>],
}

/// Prints a list, or watches it until Ctrl-C.
pub(crate) async fn list<T: Serialize + Clone>(
    session: &Session,
    listing: Listing,
    source: Source<T>,
    fetch: impl AsyncFn(&Session, &Wanted) -> Result<Vec<T>, Failure>,
) -> Result<(), Failure> {
    let look = &session.look;
    let render = async |look: &Look| {
        let rows = fetch(session, &listing.wanted).await?;
        render(look, listing.watch, &rows, source.columns)
    };
    match listing.watch {
        Watch::Not => crate::output::write(render(look).await?.as_bytes()),
        watch => tokio::select! {
            ended = follow(session, (look, watch), source.kinds, render) => ended,
            _ = tokio::signal::ctrl_c() => Ok(()),
        },
    }
}

fn render<T: Serialize + Clone>(
    look: &Look,
    watch: Watch,
    rows: &[T],
    columns: &'static [Column<T>],
) -> Result<String, Failure> {
    let answer = Answer::list(rows, columns);
    if watch != Watch::Not && look.format == Format::Json && !look.screen.is_terminal {
        return Ok(look.json_line(&answer)? + "\n");
    }
    look.render(&answer)
}

async fn follow(
    session: &Session,
    (look, watch): (&Look, Watch),
    kinds: Kinds,
    render: impl AsyncFn(&Look) -> Result<String, Failure>,
) -> Result<(), Failure> {
    let mut changes: Option<Changes> = None;
    let mut shown: Option<String> = None;
    loop {
        let begun = Instant::now();
        let round = async {
            let mut place = match changes.take() {
                Some(place) => place,
                None => Changes::from_now(session, kinds).await?,
            };
            // It may have become wider.
            let screen = Screen::stdout();
            let text = render(&Look { screen, ..look.clone() }).await?;
            if !show(look.format, screen, shown.as_deref(), &text)? {
                return Ok(false);
            }
            shown = Some(text);
            match watch {
                Watch::Every(pause) => tokio::time::sleep(pause).await,
                // What is measured changes without an event. A person sees that too; a pipe is told of events only.
                _ if screen.is_terminal => {
                    timeout(REFRESH, place.any(session)).await.unwrap_or(Ok(()))?;
                }
                _ => place.any(session).await?,
            }
            changes = Some(place);
            Ok::<bool, Failure>(true)
        };
        match round.await {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(failure @ Failure::Unreachable(_)) if look.screen.is_terminal => {
                absent(shown.as_deref().unwrap_or_default(), &failure)?;
                tokio::time::sleep(AGAIN).await;
            }
            Err(failure) => return Err(failure),
        }
        tokio::time::sleep_until(begun + PAUSE_MIN).await;
    }
}

/// False when nobody reads any more.
fn show(format: Format, screen: Screen, before: Option<&str>, text: &str) -> Result<bool, Failure> {
    if screen.is_terminal {
        return write_while_read(frame(text, screen.height).as_bytes());
    }
    let apart = match (before, format) {
        (Some(before), _) if before == text => return Ok(true),
        (Some(_), Format::Yaml) => "---\n",
        (Some(_), format) if format != Format::Json => "\n",
        _ => "",
    };
    write_while_read(format!("{apart}{text}").as_bytes())
}

/// The last that was seen, and why there is nothing newer.
fn absent(text: &str, failure: &Failure) -> Result<(), Failure> {
    let why = failure.to_string();
    let text = format!("{text}\nout of date, and asked again: {}\n", visible_lines(&why));
    write_while_read(frame(&text, Screen::stdout().height).as_bytes()).map(|_| ())
}

/// Draws over what stood there: from the top, each line up to its end, then nothing. Lines that are too long are cut by the terminal,
/// because a line that goes on below would push the first ones out.
fn frame(text: &str, height: Option<usize>) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let room = height.map_or(usize::MAX, |height| height.saturating_sub(1)).max(1);
    let mut frame = String::from("\x1b[?7l\x1b[H");
    let hidden = lines.len().saturating_sub(room);
    // The note takes a line itself.
    let kept = if hidden > 0 { room - 1 } else { lines.len() };
    for line in &lines[..kept] {
        frame.push_str(&format!("{line}\x1b[K\n"));
    }
    if hidden > 0 {
        frame.push_str(&format!("… {} more lines\x1b[K\n", lines.len() - kept));
    }
    frame + "\x1b[J\x1b[?7h"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_fits_and_leaves_nothing_of_the_one_before() {
        for (text, height, expect) in [
            ("a\nb\n", None, "\x1b[?7l\x1b[Ha\x1b[K\nb\x1b[K\n\x1b[J\x1b[?7h"),
            ("a\nb\n", Some(3), "\x1b[?7l\x1b[Ha\x1b[K\nb\x1b[K\n\x1b[J\x1b[?7h"),
            ("a\nb\nc\n", Some(3), "\x1b[?7l\x1b[Ha\x1b[K\n… 2 more lines\x1b[K\n\x1b[J\x1b[?7h"),
            ("a\nb\n", Some(0), "\x1b[?7l\x1b[H… 2 more lines\x1b[K\n\x1b[J\x1b[?7h"),
        ] {
            assert_eq!(frame(text, height), expect, "{text:?} in {height:?}");
        }
    }
}
