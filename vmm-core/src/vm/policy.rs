//! What shall be done with a VM without asking its guest: how it is scheduled, what follows its end, whether it starts with its
//! host.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use super::spec::SpecError;

/// credit2's weight when nobody said.
const WEIGHT_DEFAULT: u16 = 256;
/// Above every machine's number of CPUs.
const CPU_INDEX_LIMIT: u32 = 4096;
/// The longest delay of a start.
const DELAY_S_MAX: u32 = 3600;

/// A set of physical CPUs, by number. The empty set means all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct CpuSet(BTreeSet<u32>);

impl CpuSet {
    /// From numbers.
    #[must_use]
    pub fn new(cpus: impl IntoIterator<Item = u32>) -> Self {
        Self(cpus.into_iter().collect())
    }

    /// No restriction.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.0.is_empty()
    }

    /// The numbers, ascending; none when all are meant.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        self.0.iter().copied()
    }
}

/// `0-3,7`; empty for all.
impl fmt::Display for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for cpu in &self.0 {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == *cpu => *last = *cpu,
                _ => ranges.push((*cpu, *cpu)),
            }
        }
        for (place, (first, last)) in ranges.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            match last - first {
                0 => write!(f, "{comma}{first}")?,
                _ => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

impl FromStr for CpuSet {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let refused = || SpecError::Cpus(text.to_owned());
        let number = |part: &str| match part.bytes().all(|b| b.is_ascii_digit()) {
            true => part.parse::<u32>().ok().filter(|cpu| *cpu < CPU_INDEX_LIMIT),
            false => None,
        };
        let mut cpus = BTreeSet::new();
        for part in text.split(',').filter(|_| !text.is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) =
                (number(first).ok_or_else(refused)?, number(last).ok_or_else(refused)?);
            if first > last {
                return Err(refused());
            }
            cpus.extend(first..=last);
        }
        Ok(Self(cpus))
    }
}

/// How Xen's scheduler treats a VM.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scheduling {
    /// Share under contention; 256 is usual, twice that is twice the share.
    pub weight: u16,
    /// Limit in percent of one physical CPU; 0 is none.
    pub cap_percent: u16,
    /// CPUs that its vCPUs may run on.
    pub affinity: CpuSet,
    /// CPUs that they run on best.
    pub affinity_soft: CpuSet,
}

impl Default for Scheduling {
    fn default() -> Self {
        Self {
            weight: WEIGHT_DEFAULT,
            cap_percent: 0,
            affinity: CpuSet::default(),
            affinity_soft: CpuSet::default(),
        }
    }
}

impl Scheduling {
    /// Can it be set?
    ///
    /// # Errors
    /// [`SpecError::Scheduling`].
    pub fn check(&self) -> Result<(), SpecError> {
        let named = |cpus: &CpuSet| cpus.iter().all(|cpu| cpu < CPU_INDEX_LIMIT);
        match self.weight > 0 && named(&self.affinity) && named(&self.affinity_soft) {
            true => Ok(()),
            false => Err(SpecError::Scheduling),
        }
    }
}

/// What follows when a guest ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventAction {
    /// The VM is stopped, and nothing of it stays on the host.
    Destroy,
    /// It starts again, in a new domain.
    Restart,
    /// Its domain stays as it is, for whoever wants to look; only a destroy takes it away.
    Preserve,
}

/// What follows each way in which a guest ends by itself. An end that somebody asked for is no such event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OnEvent {
    /// It powered off.
    pub poweroff: EventAction,
    /// It rebooted.
    pub reboot: EventAction,
    /// It crashed, or its watchdog fired.
    pub crash: EventAction,
}

impl Default for OnEvent {
    fn default() -> Self {
        Self {
            poweroff: EventAction::Destroy,
            reboot: EventAction::Restart,
            crash: EventAction::Destroy,
        }
    }
}

/// When a VM is started after its host has booted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Autostart {
    /// VMs of a lower order start earlier; of the same order, by name.
    pub order: u32,
    /// How long to wait after this VM before the next one is started.
    pub delay_s: u32,
}

impl Autostart {
    /// Can it be kept?
    ///
    /// # Errors
    /// [`SpecError::Autostart`].
    pub fn check(&self) -> Result<(), SpecError> {
        if self.delay_s <= DELAY_S_MAX { Ok(()) } else { Err(SpecError::Autostart(self.delay_s)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: Option<&str>) {
        let set = text.parse::<CpuSet>().ok();
        assert_eq!(set.map(|set| set.to_string()).as_deref(), expect, "{text:?}");
    }

    #[test]
    fn cpus_are_numbers_and_ranges() {
        check("", Some(""));
        check("3", Some("3"));
        check("0-3,7", Some("0-3,7"));
        check("2,1,0", Some("0-2"));
        check("5-4", None);
        check("4096", None);
        check("a", None);
        check("1,", None);
        check("+1", None);
    }
}
