//! What a guest can do to its own nodes in xenstore to harm who reads them: nonsense, huge and non-UTF-8 values, floods, device
//! states that no driver would write, folders that vanish, and as many nodes as its quota gives.
//!
//! Runs without end. What xenstored refuses is counted beside what it took: a run in which nothing was taken shows nothing.

use std::io::Result;
use std::str::FromStr;
use std::thread;
use std::time::Duration;

use crate::tally::Tally;
use crate::xenbus::{Answer, Op, Xenbus};

const RETRY: Duration = Duration::from_secs(1);
/// Between rounds, so that the emulated host has time for others at all: the guest is hostile, not the only one.
const BREATH: Duration = Duration::from_millis(20);
const FLOOD_ROUND: u64 = 200;
/// xenstored's limit on a value is 2048 bytes in both daemons, the path's own length aside.
const HUGE_BYTES: usize = 2000;
const DEVICE_KINDS: [&str; 2] = ["vbd", "vif"];
/// The guest's own folders, and nodes in them that a toolstack reads.
const NODES: &[&str] = &[
    "control/shutdown",
    "control/feature-poweroff",
    "control/feature-balloon",
    "device/suspend/event-channel",
    "data/meminfo_free",
    "data/updated",
    "attr/eth0/ip",
    "drivers/0",
    "feature/hotplug",
    "error",
    "memory/target",
    "memory/static-max",
    "cpu/0/availability",
    "console/tty",
    "console/port",
    "store/ring-ref",
    "name",
    "vm",
    "domid",
];
const NONSENSE: &[&[u8]] = &[
    b"",
    b"-1",
    b"18446744073709551616",
    b"99999999999999999999999999999999999999",
    b"0x10",
    b"NaN",
    b" 4 ",
    b"4\n",
    b"../../0/name",
    b"\xff\xfe\xfd\x80",
    b"\0\0\0\0",
    b"%s%n%x",
    b"\x1b[2J\x07",
    b"suspend",
    b"crash",
];
const STATES: &[&[u8]] =
    &[b"6", b"0", b"5", b"4", b"1", b"9", b"-3", b"99999999999", b"", b"four", b"\xff", b"3", b"2"];

/// In which way.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    /// Nonsense into every node that it knows, its own or not.
    Nonsense,
    /// As many writes as it can.
    Flood,
    /// Nonsense states and keys in its device frontends.
    States,
    /// Says without end that its devices are connected, whatever it was asked.
    Clinging,
    /// Takes away its own frontends and folders.
    Remove,
    /// New nodes until its quota ends, then anew.
    Quota,
}

impl FromStr for Kind {
    type Err = std::io::Error;

    fn from_str(text: &str) -> Result<Self> {
        Ok(match text {
            "nonsense" => Self::Nonsense,
            "flood" => Self::Flood,
            "states" => Self::States,
            "clinging" => Self::Clinging,
            "remove" => Self::Remove,
            "quota" => Self::Quota,
            _ => return Err(std::io::Error::other("no such way to be hostile")),
        })
    }
}

pub(crate) fn forever(kind: Kind, tally: &Tally) {
    loop {
        let ended = Xenbus::open().map(|xenbus| Attack { xenbus, tally, round: 0 });
        if let Err(error) = ended.and_then(|mut attack| attack.until_error(kind)) {
            println!("VMM-GUEST-HOSTILE {kind:?} stopped: {error}");
        }
        thread::sleep(RETRY);
    }
}

struct Attack<'a> {
    xenbus: Xenbus,
    tally: &'a Tally,
    round: u64,
}

impl Attack<'_> {
    fn until_error(&mut self, kind: Kind) -> Result<()> {
        loop {
            match kind {
                Kind::Nonsense => self.nonsense()?,
                Kind::Flood => self.flood()?,
                Kind::States => self.states()?,
                Kind::Clinging => self.cling()?,
                Kind::Remove => self.remove()?,
                Kind::Quota => self.quota()?,
            }
            self.round += 1;
            thread::sleep(BREATH);
        }
    }

    fn count(&self, answer: &Answer) {
        let counter = match answer {
            Answer::Done(_) => &self.tally.hostile_done,
            Answer::Refused(_) => &self.tally.hostile_refused,
        };
        Tally::add(counter, 1);
    }

    fn write(&mut self, path: &str, value: &[u8]) -> Result<()> {
        let answer = self.xenbus.write(path, value)?;
        self.count(&answer);
        Ok(())
    }

    fn delete(&mut self, path: &str) -> Result<()> {
        let answer = self.xenbus.remove(path)?;
        self.count(&answer);
        Ok(())
    }

    /// Folders of its devices' frontends, such as `device/vif/0`.
    fn frontends(&mut self) -> Result<Vec<String>> {
        let mut folders = Vec::new();
        for kind in DEVICE_KINDS {
            let base = format!("device/{kind}");
            let devices = self.xenbus.list(&base)?;
            folders.extend(devices.iter().map(|device| format!("{base}/{device}")));
        }
        Ok(folders)
    }

    fn nonsense(&mut self) -> Result<()> {
        let huge = vec![0x80 | u8::try_from(self.round % 128).unwrap_or(0); HUGE_BYTES];
        let values = NONSENSE.iter().copied().chain([huge.as_slice()]);
        for (value, node) in
            values.cycle().zip(NODES.iter().cycle()).skip(usize_of(self.round)).take(40)
        {
            // A guest that is asked to shut down by itself would end the test.
            if !(*node == "control/shutdown" && matches!(value, b"suspend" | b"crash")) {
                self.write(node, value)?;
            }
        }
        Ok(())
    }

    fn flood(&mut self) -> Result<()> {
        for count in 0..FLOOD_ROUND {
            self.write("data/flood", count.to_string().as_bytes())?;
        }
        for folder in self.frontends()? {
            for _ in 0..FLOOD_ROUND / 10 {
                self.write(&format!("{folder}/state"), b"4")?;
            }
        }
        Ok(())
    }

    fn states(&mut self) -> Result<()> {
        let value = STATES[usize_of(self.round) % STATES.len()];
        for folder in self.frontends()? {
            self.write(&format!("{folder}/state"), value)?;
            for key in ["ring-ref", "event-channel", "backend-id", "mac", "virtual-device"] {
                self.write(&format!("{folder}/{key}"), value)?;
            }
        }
        Ok(())
    }

    fn cling(&mut self) -> Result<()> {
        for folder in self.frontends()? {
            self.write(&format!("{folder}/state"), b"4")?;
        }
        Ok(())
    }

    fn remove(&mut self) -> Result<()> {
        for folder in self.frontends()? {
            self.delete(&folder)?;
        }
        for folder in ["device", "control", "data", "error", "device/suspend"] {
            self.delete(folder)?;
        }
        Ok(())
    }

    fn quota(&mut self) -> Result<()> {
        loop {
            self.round += 1;
            let path = format!("data/{}/{}", self.round / 50, self.round);
            let answer = self.xenbus.ask(Op::Mkdir, &[path.as_bytes(), b"\0"].concat())?;
            self.count(&answer);
            if let Answer::Refused(error) = answer {
                println!("VMM-GUEST-HOSTILE quota ended after {} with {error}", self.round);
                thread::sleep(RETRY);
                return self.delete("data");
            }
        }
    }
}

fn usize_of(round: u64) -> usize {
    usize::try_from(round % 10_000).unwrap_or(0)
}
