//! Quantities for people.

/// Memory.
pub(crate) fn mib(kib: u64) -> String {
    format!("{} MiB", kib / 1024)
}

/// A size in bytes, in the largest unit that it is a multiple of.
pub(crate) fn size_of(bytes: u64) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    let fits = |shift: &u32| bytes > 0 && bytes.is_multiple_of(1 << *shift);
    match units.iter().find(|(shift, _)| fits(shift)) {
        Some((shift, unit)) => format!("{} {unit}", bytes >> shift),
        None => format!("{bytes} bytes"),
    }
}

/// Processor time a second.
pub(crate) fn cpus(milli: u64) -> String {
    format!("{}.{:02}", milli / 1000, milli % 1000 / 10)
}

/// Throughput.
pub(crate) fn rate(bytes_per_s: u64) -> String {
    let tenths = bytes_per_s.saturating_mul(10) / (1 << 20);
    format!("{}.{} MiB/s", tenths / 10, tenths % 10)
}

/// A share, from thousandths.
pub(crate) fn percent(milli: u64) -> String {
    format!("{}.{} %", milli / 10, milli % 10)
}

/// A time that takes seconds.
pub(crate) fn seconds(ns: u64) -> String {
    let hundredths = ns / 10_000_000;
    format!("{}.{:02} s", hundredths / 100, hundredths % 100)
}

/// A time that takes milliseconds.
pub(crate) fn milliseconds(us: u64) -> String {
    format!("{}.{:02} ms", us / 1000, us % 1000 / 10)
}

/// What is not known is a dash.
pub(crate) fn or_dash<T>(value: Option<T>, show: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| "-".to_owned(), show)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_for_people() {
        assert_eq!(
            [mib(131_072), cpus(1250), rate(10 << 20), percent(125)],
            ["128 MiB", "1.25", "10.0 MiB/s", "12.5 %"]
        );
        assert_eq!([seconds(3_450_000_000), milliseconds(1250)], ["3.45 s", "1.25 ms"]);
        let sizes = [20 << 30, 1536 << 20, 512, 0].map(size_of);
        assert_eq!(sizes, ["20 GiB", "1536 MiB", "512 bytes", "0 bytes"]);
        assert_eq!(or_dash(None, mib), "-");
    }
}
