//! `vmmctl top`: hosts and VMs with what they use, as it changes.
//!
//! ```text
//!   keys ───► keys.rs ──┐
//!                       ▼
//!   sample.rs ◄──► state.rs (what is shown, what is wanted next) ───► draw.rs ───► the terminal
//! ```
//!
//! The manager filters, sorts and sums: a look is the hosts, the first [`sample::VMS_MAX`] VMs in the wanted order, and sums of all. What
//! VMs use has been measured already and comes with them, so that no host is asked for the sake of a screen.
//!
//! A manager that does not answer leaves what was seen last on the screen, with the reason below. The terminal is put back as it was
//! however it ends, a panic included.

mod columns;
mod draw;
mod keys;
mod rows;
mod sample;
mod state;
#[cfg(test)]
mod tests;

use std::pin::Pin;
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::failure::Failure;
use crate::session::Session;
use sample::Sample;
use state::State;

/// How long the thread that reads keys may take to notice that nobody listens.
const KEY_POLL: Duration = Duration::from_millis(200);
/// Keys that were pressed and not looked at.
const KEYS_MAX: usize = 64;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Keys: Tab the other table; c m d n a sort by CPU, memory, disk, network, name; < > by the column beside; r
turn the order around; / filter (a query); Enter only this host's VMs; Space stop and
go on; ? all keys; q ends it.

In scripts: vmmctl vm list --where status=running --sort -cpu -o json")]
pub(crate) struct Top {
    /// Look again after so many seconds.
    #[arg(long, short, default_value_t = 2, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    interval: u64,
}

/// Runs until somebody ends it.
pub(crate) async fn run(session: &Session, top: Top) -> Result<(), Failure> {
    if !session.look.screen.is_terminal {
        let message =
            "top needs a terminal; elsewhere: vmmctl vm list --where status=running --sort -cpu";
        return Err(Failure::Usage(message.into()));
    }
    let mut state = State::new(session.look.screen.colours);
    // The first answer comes before the screen changes, so that what is wrong is said where it can be read.
    state.take(sample::sample(session, state.plan()).await?);
    let terminal = ratatui::try_init().map_err(|error| failed(&error));
    let ended = match terminal {
        Ok(terminal) => attend(session, state, terminal, Duration::from_secs(top.interval)).await,
        Err(failure) => Err(failure),
    };
    ratatui::restore();
    ended
}

type Sampling<'a> = Pin<Box<dyn Future<Output = Result<Sample, Failure>> + 'a>>;

async fn attend(
    session: &Session,
    mut state: State,
    mut terminal: DefaultTerminal,
    interval: Duration,
) -> Result<(), Failure> {
    let mut keys = read_keys();
    let mut ended = signal(SignalKind::terminate()).map_err(|error| failed(&error))?;
    let mut sampling: Option<Sampling<'_>> = None;
    let mut next = Instant::now() + interval;
    loop {
        if sampling.is_none() && state.take_outdated() {
            sampling = Some(Box::pin(sample::sample(session, state.plan())));
        }
        terminal.draw(|frame| draw::draw(frame, &mut state)).map_err(|error| failed(&error))?;
        tokio::select! {
            event = keys.recv() => match event {
                Some(Event::Key(key)) if keys::press(&mut state, key).is_break() => return Ok(()),
                Some(_) => {}
                None => return Ok(()),
            },
            sampled = async { sampling.as_mut().expect("there is one, as the condition says").await }, if sampling.is_some() => {
                sampling = None;
                next = Instant::now() + interval;
                match sampled {
                    Ok(sample) => state.take(sample),
                    Err(failure) => state.note(failure.to_string()),
                }
            }
            () = tokio::time::sleep_until(next), if sampling.is_none() && !state.is_paused() => {
                sampling = Some(Box::pin(sample::sample(session, state.plan())));
            }
            _ = ended.recv() => return Ok(()),
        }
    }
}

/// A thread of its own, because a terminal is read by waiting.
fn read_keys() -> mpsc::Receiver<Event> {
    let (send, receive) = mpsc::channel(KEYS_MAX);
    std::thread::spawn(move || {
        while !send.is_closed() {
            let event = match event::poll(KEY_POLL) {
                Ok(false) => continue,
                Ok(true) => event::read(),
                Err(error) => Err(error),
            };
            let Ok(event) = event else { return };
            if send.blocking_send(event).is_err() {
                return;
            }
        }
    });
    receive
}

fn failed(error: &std::io::Error) -> Failure {
    Failure::Local(format!("the terminal cannot be used: {error}"))
}
