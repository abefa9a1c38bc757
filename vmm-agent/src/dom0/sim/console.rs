//! Consoles of simulated guests.

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use xen_bindings::DomId;
use xen_bindings::sim::SimMachine;

use super::SimDom0;
use crate::dom0::{ConsoleSource, Consoles, Dom0Error};

/// How often a simulated console is looked at.
const CONSOLE_POLL: Duration = Duration::from_millis(1000);

impl Consoles for SimDom0 {
    fn open_console(&self, domid: DomId, _tty: &str) -> Result<Box<dyn ConsoleSource>, Dom0Error> {
        Ok(Box::new(SimConsole { machine: self.machine.clone(), domid, seen: Vec::new() }))
    }
}

/// A simulated guest's console: what it says anew since it was read last.
struct SimConsole {
    machine: SimMachine,
    domid: DomId,
    seen: Vec<String>,
}

impl SimConsole {
    /// `None` once the guest is gone.
    fn fresh(&mut self) -> Option<Vec<u8>> {
        let guest = self.machine.guest(self.domid)?;
        let fresh = fresh_lines(&self.seen, &guest.console);
        let text = fresh.iter().flat_map(|line| [line.as_bytes(), b"\r\n"].concat()).collect();
        self.seen = guest.console;
        Some(text)
    }
}

impl ConsoleSource for SimConsole {
    fn read(&mut self) -> BoxFuture<'_, Vec<u8>> {
        async {
            loop {
                match self.fresh() {
                    Some(text) if text.is_empty() => tokio::time::sleep(CONSOLE_POLL).await,
                    text => return text.unwrap_or_default(),
                }
            }
        }
        .boxed()
    }

    fn rest(&mut self) -> Vec<u8> {
        self.fresh().unwrap_or_default()
    }
}

/// What follows in `now` after the longest part that ends `seen` and begins `now`. The last line of both is the guest's present
/// status, which changes all the time.
fn fresh_lines<'a>(seen: &[String], now: &'a [String]) -> &'a [String] {
    let said = seen.split_last().map_or(seen, |(_, said)| said);
    let common = |skip: &usize| {
        let rest = &said[*skip..];
        now.starts_with(rest)
    };
    let skip = (0..=said.len()).find(common).unwrap_or(said.len());
    let after = said.len() - skip;
    let status_is_old = now.len() == after + 1 && now.last() == seen.last();
    if status_is_old { &[] } else { &now[after..] }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(seen: &str, now: &str, expect: &str) {
        let lines = |text: &str| text.split_whitespace().map(String::from).collect::<Vec<_>>();
        assert_eq!(fresh_lines(&lines(seen), &lines(now)), lines(expect), "{seen} {now}");
    }

    #[test]
    fn only_what_is_new_is_read() {
        check("", "a b t1", "a b t1");
        check("a b t1", "a b t1", "");
        check("a b t1", "a b t2", "t2");
        check("a b t2", "a b c t2", "c t2");
        check("a b t2", "b c t3", "c t3");
    }
}
