//! A save of a running guest: what the worker asks comes to the agent, and what it is told comes back.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};

use xen_bindings::{GIVEN_UP, GuestImage as _, Next, Precopy, SavePilot, XenError};

use crate::Bench;

/// The worker's side: asks as a save of three rounds does; what it was told becomes the stream.
pub(crate) fn ask(stream: BorrowedFd<'_>, pilot: &mut dyn SavePilot) -> Result<(), XenError> {
    let mut to = File::from(stream.try_clone_to_owned().unwrap());
    for rounds in 0..3 {
        let sent_pages = 10 * u64::from(rounds);
        for dirty_pages in [Some(7), None] {
            match pilot.next(Precopy { rounds, sent_pages, dirty_pages }) {
                Next::Round => to.write_all(b"r").unwrap(),
                Next::Stop if rounds == 2 && dirty_pages.is_some() => loop {
                    std::thread::sleep(std::time::Duration::from_secs(1));
                },
                Next::Stop => to.write_all(b"s").unwrap(),
                Next::GiveUp => std::process::abort(),
            }
        }
    }
    if !pilot.suspend() {
        return Err(XenError::new("domain_save", GIVEN_UP));
    }
    to.write_all(b".").unwrap();
    Ok(())
}

/// Answers from a script, and notes what it was asked.
struct Script {
    words: Vec<Next>,
    suspends: bool,
    asked: Vec<Precopy>,
    /// Nobody waits any more once the last word was said.
    leaves: bool,
}

impl SavePilot for Script {
    fn next(&mut self, at: Precopy) -> Next {
        self.asked.push(at);
        if self.words.is_empty() { Next::GiveUp } else { self.words.remove(0) }
    }

    fn suspend(&mut self) -> bool {
        self.suspends
    }

    fn is_gone(&self) -> bool {
        self.leaves && self.words.is_empty()
    }
}

pub(crate) fn questions() {
    let bench = Bench::new();
    let (image, domid) = (bench.image(), bench.shell.domid());
    let rounds =
        || vec![Next::Round, Next::Round, Next::Stop, Next::Round, Next::Round, Next::Stop];
    let save = |words: Vec<Next>, suspends: bool| {
        let (mut read_end, write_end) = io::pipe().unwrap();
        let mut script = Script { words, suspends, asked: Vec::new(), leaves: !suspends };
        let saved = image.save_live(domid, write_end.as_fd(), &mut script);
        drop(write_end);
        let mut read = String::new();
        read_end.read_to_string(&mut read).unwrap();
        (saved, read, script.asked)
    };
    let (saved, read, asked) = save(rounds(), true);
    saved.unwrap();
    assert_eq!((read.as_str(), asked.len()), ("rrsrrs.", 6));
    let fourth = Precopy { rounds: 1, sent_pages: 10, dirty_pages: None };
    assert_eq!((asked[0].dirty_pages, asked[3]), (Some(7), fourth));
    let (saved, read, _) = save(rounds(), false);
    assert_eq!((saved.unwrap_err().kind(), read.as_str()), (GIVEN_UP, "rrsrrs"));
    // One that dies between two questions.
    let (saved, read, _) = save(vec![Next::Round], true);
    assert!(saved.unwrap_err().said().contains("without an answer"));
    assert_eq!(read, "r");
    // One that hangs, and that nobody waits for.
    let mut words = rounds();
    words[4] = Next::Stop;
    words.truncate(5);
    let (saved, read, _) = save(words, false);
    assert!(saved.unwrap_err().said().contains("was killed"));
    assert_eq!(read, "rrsr");
    save(rounds(), true).0.unwrap();
}
