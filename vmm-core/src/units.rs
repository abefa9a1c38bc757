//! Quantities. The unit is in the type's name; nothing adds memory to bandwidth.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, Sub};

macro_rules! quantity {
    ($(#[$doc:meta])* $name:ident, $unit:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub u64);

        impl $name {
            /// None of it.
            pub const ZERO: Self = Self(0);

            /// The difference, zero when `other` is larger.
            #[must_use]
            pub fn saturating_sub(self, other: Self) -> Self {
                Self(self.0.saturating_sub(other.0))
            }

            /// As a share of `whole`; 0 of nothing is 0, something of nothing is infinite.
            #[must_use]
            #[allow(clippy::cast_precision_loss, reason = "a share needs no more than 52 bits")]
            pub fn share_of(self, whole: Self) -> f64 {
                match (self.0, whole.0) {
                    (0, 0) => 0.0,
                    (_, 0) => f64::INFINITY,
                    (part, whole) => part as f64 / whole as f64,
                }
            }
        }

        impl Add for $name {
            type Output = Self;

            fn add(self, other: Self) -> Self {
                Self(self.0.saturating_add(other.0))
            }
        }

        impl Sub for $name {
            type Output = Self;

            fn sub(self, other: Self) -> Self {
                self.saturating_sub(other)
            }
        }

        impl Sum for $name {
            fn sum<I: Iterator<Item = Self>>(items: I) -> Self {
                items.fold(Self::ZERO, Add::add)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{} {}", self.0, $unit)
            }
        }
    };
}

quantity!(
    /// Memory in KiB, Xen's own unit.
    Kib,
    "KiB"
);
quantity!(
    /// Processor time in thousandths of one CPU.
    MilliCpu,
    "mCPU"
);
quantity!(
    /// Disk or network throughput.
    BytesPerSecond,
    "B/s"
);

impl Kib {
    /// From MiB.
    #[must_use]
    pub const fn from_mib(mib: u64) -> Self {
        Self(mib.saturating_mul(1024))
    }

    /// In whole MiB, rounded down.
    #[must_use]
    pub const fn mib(self) -> u64 {
        self.0 / 1024
    }
}

impl MilliCpu {
    /// From whole CPUs.
    #[must_use]
    pub const fn from_cpus(cpus: u32) -> Self {
        Self(cpus as u64 * 1000)
    }
}
