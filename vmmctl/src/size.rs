//! Quantities as people type them, strictly: nothing is guessed.

/// Bytes: digits and one of K, M, G, T, each 1024 times the one before. A bare number is refused, because it could be
/// anything; 0 is 0.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    if text == "0" {
        return Ok(0);
    }
    let wrong = || format!("{text:?} is no size: write digits and K, M, G or T, such as 256M");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let shift = match unit {
        'K' => 10,
        'M' => 20,
        'G' => 30,
        'T' => 40,
        _ => return Err(wrong()),
    };
    let digits = text.strip_suffix(unit).ok_or_else(wrong)?;
    number(digits).and_then(|count| count.checked_mul(1 << shift)).ok_or_else(wrong)
}

/// Memory in KiB, from a size.
pub(crate) fn kib(text: &str) -> Result<u64, String> {
    bytes(text).map(|bytes| bytes / 1024)
}

/// Thousandths of a CPU, from a decimal number of CPUs with at most three decimals.
pub(crate) fn milli_cpu(text: &str) -> Result<u64, String> {
    let wrong =
        || format!("{text:?} is no number of CPUs: write such as 0.5 or 2, at most 3 decimals");
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    if decimals.len() > 3 {
        return Err(wrong());
    }
    let whole = number(whole).and_then(|cpus| cpus.checked_mul(1000)).ok_or_else(wrong)?;
    let thousandths = number(&format!("{decimals:0<3}")).ok_or_else(wrong)?;
    if decimals.is_empty() {
        return Err(wrong());
    }
    whole.checked_add(thousandths).ok_or_else(wrong)
}

/// Digits only: `parse` alone would take a sign.
fn number(digits: &str) -> Option<u64> {
    let only_digits = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    if only_digits { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_binary_and_strict() {
        for (text, expect) in [
            ("1K", Some(1024)),
            ("128M", Some(128 << 20)),
            ("2G", Some(2 << 30)),
            ("1T", Some(1 << 40)),
            ("0", Some(0)),
            ("128", None),
            ("128m", None),
            ("128MB", None),
            ("1.5G", None),
            ("-1K", None),
            ("+1K", None),
            ("K", None),
            ("", None),
            ("1 K", None),
            ("99999999999G", None),
        ] {
            assert_eq!(bytes(text).ok(), expect, "{text:?}");
        }
        assert_eq!(kib("128M"), Ok(128 << 10));
    }

    #[test]
    fn cpus_have_at_most_three_decimals() {
        for (text, expect) in [
            ("2", Some(2000)),
            ("0.5", Some(500)),
            ("1.25", Some(1250)),
            ("0.001", Some(1)),
            ("0", Some(0)),
            ("0.0001", None),
            (".5", None),
            ("1.", None),
            ("-1", None),
            ("half", None),
        ] {
            assert_eq!(milli_cpu(text).ok(), expect, "{text:?}");
        }
    }
}
