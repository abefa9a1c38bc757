//! What udev does on a distribution: CPUs and memory blocks that Xen added stay offline until someone in the guest writes to
//! sysfs.
//!
//! A write that fails is tried again a moment later: the kernel may not be ready, or Xen took the CPU back.

use std::fs;

const CPUS: &str = "/sys/devices/system/cpu";
const MEMORY: &str = "/sys/devices/system/memory";

/// Puts everything that is present and offline to use.
pub(crate) fn online_everything() {
    each(CPUS, "cpu", "online", "0", "1");
    each(MEMORY, "memory", "state", "offline", "online");
}

fn each(folder: &str, prefix: &str, file: &str, idle: &str, wanted: &str) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(prefix));
        if number.is_none_or(|number| number.parse::<u32>().is_err()) {
            continue;
        }
        let path = entry.path().join(file);
        let is_idle = fs::read_to_string(&path).is_ok_and(|state| state.trim() == idle);
        if is_idle {
            // A refusal is tried again by the next call.
            fs::write(&path, wanted).ok();
        }
    }
}

/// How many CPUs run, from a list such as `0-1,3`.
pub(crate) fn cpus_online() -> u32 {
    let list = fs::read_to_string(format!("{CPUS}/online")).unwrap_or_default();
    count(list.trim())
}

fn count(list: &str) -> u32 {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(last.parse::<u32>().ok()? + 1 - first.parse::<u32>().ok()?)
    };
    list.split(',').filter_map(range).sum()
}

#[cfg(test)]
mod tests {
    use super::count;

    #[test]
    fn counts_ranges_and_single_cpus() {
        for (list, expect) in [("", 0), ("0", 1), ("0-1", 2), ("0-1,3", 3), ("0,2-5,9", 6)] {
            assert_eq!(count(list), expect, "{list}");
        }
    }
}
