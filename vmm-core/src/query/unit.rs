//! Numbers as people write them, and back: each unit has one base, in which rows give their values.

/// Digits that are read of a number.
const DIGITS_MAX: usize = 20;
/// Of these, behind the point.
const DECIMALS_MAX: usize = 9;

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Things. `4`
    Count,
    /// Bytes. `512MiB`, `2G` (1024 each), `10GB` (1000 each)
    Bytes,
    /// A share of a whole, in millionths. `0.8`, `80%`
    Share,
    /// CPUs, in thousandths. `1.5`, `150%`
    Cpus,
    /// Bytes per second. `10MB/s`, `1GiB`
    Rate,
    /// A length of time, in milliseconds. `90s`, `1h30m`, `2d`
    Age,
}

const SIZES: &[(&str, u64)] = &[
    ("tib", 1 << 40),
    ("gib", 1 << 30),
    ("mib", 1 << 20),
    ("kib", 1 << 10),
    ("tb", 1_000_000_000_000),
    ("gb", 1_000_000_000),
    ("mb", 1_000_000),
    ("kb", 1_000),
    ("t", 1 << 40),
    ("g", 1 << 30),
    ("m", 1 << 20),
    ("k", 1 << 10),
    ("b", 1),
];
const TIMES: &[(&str, u64)] = &[
    ("w", 604_800_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("min", 60_000),
    ("ms", 1),
    ("m", 60_000),
    ("s", 1_000),
];
const SHARES: &[(&str, u64)] = &[("%", 10_000), ("", 1_000_000)];
const CPUS: &[(&str, u64)] = &[("%", 10), ("", 1_000)];
const COUNTS: &[(&str, u64)] = &[("", 1)];
/// How sizes and times are written: the largest of these that goes into them without a rest.
const SIZES_WRITTEN: &[(&str, u64)] =
    &[("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];
const TIMES_WRITTEN: &[(&str, u64)] =
    &[("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl Unit {
    /// What may be written, for people.
    #[must_use]
    pub fn expected(self) -> &'static str {
        match self {
            Self::Count => "a whole number, such as 4",
            Self::Bytes => "a size with its unit, such as 2GiB or 512MiB",
            Self::Share => "a share, such as 0.8 or 80%",
            Self::Cpus => "a number of CPUs, such as 1.5 or 150%",
            Self::Rate => "a rate with its unit, such as 10MB/s",
            Self::Age => "a length of time with its unit, such as 90s, 1h30m or 2d",
        }
    }

    /// In the base, rounded to it; none when it is no such number.
    #[must_use]
    pub fn parse(self, text: &str) -> Option<u64> {
        let text = text.to_ascii_lowercase();
        match self {
            Self::Count if text.contains('.') => None,
            Self::Count => one(&text, COUNTS),
            Self::Bytes => sized(&text),
            Self::Rate => sized(text.strip_suffix("/s").unwrap_or(&text)),
            Self::Share => one(&text, SHARES),
            Self::Cpus => one(&text, CPUS),
            Self::Age => time(&text),
        }
    }

    /// As [`Unit::parse`] reads it.
    #[must_use]
    pub fn format(self, number: u64) -> String {
        match self {
            Self::Count => number.to_string(),
            Self::Bytes => largest(number, SIZES_WRITTEN),
            Self::Rate => format!("{}/s", largest(number, SIZES_WRITTEN)),
            Self::Share => format!("{}%", decimal(number, 10_000)),
            Self::Cpus => decimal(number, 1_000),
            Self::Age => largest(number, TIMES_WRITTEN),
        }
    }
}

/// The number at the front in units of 10 to the minus so many, and what follows it.
fn number(text: &str) -> Option<(u128, u32, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (front, rest) = text.split_at(end);
    let (whole, decimals) = match front.split_once('.') {
        Some((_, "")) => return None,
        Some(parts) => parts,
        None => (front, ""),
    };
    let digits = [whole, decimals].concat();
    let is_number = !whole.is_empty()
        && digits.len() <= DIGITS_MAX
        && decimals.len() <= DECIMALS_MAX
        && !decimals.contains('.');
    let scale = u32::try_from(decimals.len()).ok()?;
    is_number.then(|| Some((digits.parse().ok()?, scale, rest)))?
}

fn scaled((digits, scale): (u128, u32), base: u64) -> Option<u64> {
    let tens = 10_u128.pow(scale);
    let product = digits.checked_mul(u128::from(base))?;
    u64::try_from(product.checked_add(tens / 2)? / tens).ok()
}

fn one(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (digits, scale, rest) = number(text)?;
    let (_, base) = units.iter().find(|(name, _)| *name == rest)?;
    scaled((digits, scale), *base)
}

fn sized(text: &str) -> Option<u64> {
    if text == "0" { Some(0) } else { one(text, SIZES) }
}

/// One number with its unit after the other, such as `1h30m`.
fn time(text: &str) -> Option<u64> {
    if text == "0" {
        return Some(0);
    }
    let (mut rest, mut sum) = (text, None);
    while !rest.is_empty() {
        let (digits, scale, behind) = number(rest)?;
        let end = behind.find(|c: char| c.is_ascii_digit()).unwrap_or(behind.len());
        let (unit, next) = behind.split_at(end);
        let (_, base) = TIMES.iter().find(|(name, _)| *name == unit)?;
        sum = Some(sum.unwrap_or(0_u64).checked_add(scaled((digits, scale), *base)?)?);
        rest = next;
    }
    sum
}

fn largest(number: u64, units: &[(&str, u64)]) -> String {
    let fits = |base: u64| number >= base && number.is_multiple_of(base);
    let unit = units.iter().find(|(_, base)| fits(*base)).or(units.last());
    unit.map_or_else(String::new, |(name, base)| format!("{}{name}", number / base))
}

fn decimal(number: u64, base: u64) -> String {
    let digits = usize::try_from(base.ilog10()).unwrap_or(0);
    let text = format!("{}.{:0digits$}", number / base, number % base);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UNITS: [Unit; 6] =
        [Unit::Count, Unit::Bytes, Unit::Share, Unit::Cpus, Unit::Rate, Unit::Age];

    #[test]
    fn numbers_are_read_with_their_units_and_nothing_is_guessed() {
        let check = |unit: Unit, text: &str, expect: Option<u64>| {
            assert_eq!(unit.parse(text), expect, "{unit:?} {text:?}");
        };
        check(Unit::Count, "4", Some(4));
        check(Unit::Count, "4.0", None);
        check(Unit::Count, "-4", None);
        check(Unit::Count, "18446744073709551616", None);
        check(Unit::Bytes, "2GiB", Some(2 << 30));
        check(Unit::Bytes, "1.5g", Some(3 << 29));
        check(Unit::Bytes, "10kB", Some(10_000));
        check(Unit::Bytes, "512", None);
        check(Unit::Bytes, "0", Some(0));
        check(Unit::Bytes, "99999999TiB", None);
        check(Unit::Bytes, ".5G", None);
        check(Unit::Bytes, "5.G", None);
        check(Unit::Bytes, "1..5G", None);
        check(Unit::Share, "0.8", Some(800_000));
        check(Unit::Share, "80%", Some(800_000));
        check(Unit::Share, "80", Some(80_000_000));
        check(Unit::Cpus, "1.5", Some(1500));
        check(Unit::Cpus, "150%", Some(1500));
        check(Unit::Rate, "10MB/s", Some(10_000_000));
        check(Unit::Rate, "1G", Some(1 << 30));
        check(Unit::Age, "1h30m", Some(5_400_000));
        check(Unit::Age, "1.5s", Some(1_500));
        check(Unit::Age, "2d", Some(172_800_000));
        check(Unit::Age, "5", None);
        check(Unit::Age, "5x", None);
        check(Unit::Age, "", None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_as_the_same_number(number: u64, small in 0_u64..5_000_000) {
            for unit in UNITS {
                for number in [number, small, number >> 20 << 20, small * 60_000] {
                    prop_assert_eq!(unit.parse(&unit.format(number)), Some(number), "{:?}", unit);
                }
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,40}", digits in "[0-9.]{0,30}[a-zA-Z%/]{0,5}") {
            for unit in UNITS {
                let _ = (unit.parse(&text), unit.parse(&digits));
            }
        }
    }
}
