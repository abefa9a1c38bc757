//! A guest into a saved one, and out of it.
//!
//! Its devices are not in there: a restored guest finds its new nodes and connects its frontends anew, as Linux does after it has
//! resumed in another domain. What it did with its vCPUs, its memory and its console it goes on with.

use std::time::Duration;

use super::balloon::Balloon;
use super::workload::Workload;
use super::{Guest, Moved, Phase};
use crate::control::GuestKind;
use crate::sim::probe::Behaviour;
use crate::sim::saved::Saved;

impl Guest {
    pub(crate) fn save(&self, now: Duration) -> Saved {
        let mut saved = Saved::with_console(self.console.clone());
        saved.set("cmdline", &self.cmdline);
        saved.set("behaviour", self.behaviour.name());
        saved.set("vcpus-at-boot", self.vcpus_at_boot);
        saved.set("map-end-kib", self.balloon.map_end_kib());
        for (word, bytes) in [
            ("disk-in", self.disk.in_bytes),
            ("disk-out", self.disk.out_bytes),
            ("net-in", self.net.in_bytes),
            ("net-out", self.net.out_bytes),
        ] {
            saved.set(word, bytes);
        }
        if let Some(at) = self.booted_at {
            saved.set("uptime-ms", now.saturating_sub(at).as_millis());
        }
        saved
    }

    /// `None` when something is missing.
    pub(crate) fn restored(saved: &Saved, now: Duration) -> Option<Self> {
        let cmdline = saved.text("cmdline")?.to_owned();
        let kind = if saved.text("kind")? == "pv" { GuestKind::Pv } else { GuestKind::Pvh };
        let map_end_kib = saved.number("map-end-kib")?;
        let moved = |into, out_of| -> Option<Moved> {
            Some(Moved { in_bytes: saved.number(into)?, out_bytes: saved.number(out_of)? })
        };
        let uptime = saved.number("uptime-ms").map(Duration::from_millis);
        let mut guest = Self {
            phase: if uptime.is_some() { Phase::Running } else { Phase::Built },
            kind,
            behaviour: Behaviour::named(saved.text("behaviour")?)?,
            workload: Workload::parse(&cmdline),
            cmdline,
            looks_at: None,
            mischief_at: Duration::ZERO,
            junk_count: 0,
            vcpus_at_boot: u32::try_from(saved.number("vcpus-at-boot")?).ok()?,
            balloon: Balloon::new(map_end_kib, map_end_kib),
            plugging: std::collections::BTreeMap::new(),
            frontends: std::collections::BTreeMap::new(),
            console: saved.console.clone(),
            booted_at: uptime.map(|uptime| now.saturating_sub(uptime)),
            disk: moved("disk-in", "disk-out")?,
            net: moved("net-in", "net-out")?,
        };
        guest.say("restored");
        Some(guest)
    }
}
