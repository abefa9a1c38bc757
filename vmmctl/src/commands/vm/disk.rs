//! `PATH[:xvda][:ro]`

use vmm_proto::v1::Disk;

const DEVICE_DEFAULT: &str = "xvda";

/// A disk as people type it. The path may hold colons; what looks like a device or `ro` at its end is one.
pub(super) fn parse(text: &str) -> Result<Disk, String> {
    let (rest, read_only) = match text.strip_suffix(":ro") {
        Some(rest) => (rest, true),
        None => (text, false),
    };
    let (path, device) = match rest.rsplit_once(':') {
        Some((path, device)) if is_device(device) => (path, device),
        _ => (rest, DEVICE_DEFAULT),
    };
    if !path.starts_with('/') {
        return Err(format!(
            "{text:?} is no disk: write PATH[:xvda][:ro] with the image's absolute path on the host"
        ));
    }
    Ok(Disk { path: path.to_owned(), device: device.to_owned(), read_only })
}

fn is_device(text: &str) -> bool {
    text.strip_prefix("xvd").is_some_and(|letter| matches!(letter.as_bytes(), [b'a'..=b'p']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: Option<(&str, &str, bool)>) {
        let parsed = parse(text).ok();
        let parsed = parsed.as_ref().map(|d| (d.path.as_str(), d.device.as_str(), d.read_only));
        assert_eq!(parsed, expect, "{text}");
    }

    #[test]
    fn a_disk_is_a_path_and_maybe_a_device_and_maybe_read_only() {
        check("/d.img", Some(("/d.img", "xvda", false)));
        check("/d.img:xvdb", Some(("/d.img", "xvdb", false)));
        check("/d.img:ro", Some(("/d.img", "xvda", true)));
        check("/d.img:xvdc:ro", Some(("/d.img", "xvdc", true)));
        check("/a:b.img", Some(("/a:b.img", "xvda", false)));
        check("d.img", None);
        check("", None);
    }
}
