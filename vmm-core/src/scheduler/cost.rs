//! The price of a resource and the cost of one more VM.

/// What the price of a resource grows by from idle to full. The theory asks for the number of hosts; a constant keeps a
/// decision from changing when a host is added far away, and 64 stands for the pools that this is built for.
pub const PRICE_BASE: f64 = 64.0;

/// What it costs to put a VM on a host: one term a resource, 0 for nothing, about 63 for all of an idle host.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CostTerms {
    /// Processor time.
    pub cpu: f64,
    /// Memory.
    pub memory: f64,
    /// Disk throughput.
    pub disk_io: f64,
}

impl CostTerms {
    /// The figure that decides.
    #[must_use]
    pub fn total(&self) -> f64 {
        self.cpu + self.memory + self.disk_io
    }

    /// The term that weighs most.
    #[must_use]
    pub fn dominant(&self) -> &'static str {
        let terms = [("cpu", self.cpu), ("memory", self.memory), ("disk I/O", self.disk_io)];
        terms.iter().max_by(|a, b| a.1.total_cmp(&b.1)).map_or("cpu", |(name, _)| name)
    }
}

/// The opportunity cost of `demand` more on top of `used`, both as shares of capacity.
#[must_use]
pub(super) fn opportunity(used: f64, demand: f64) -> f64 {
    // Beyond some overcommitment all hosts are equally hopeless; finite numbers keep the order total.
    const SHARE_MAX: f64 = 8.0;
    let (used, after) = (used.min(SHARE_MAX), (used + demand).min(2.0 * SHARE_MAX));
    PRICE_BASE.powf(after) - PRICE_BASE.powf(used)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_demand_costs_more_where_less_is_left() {
        assert!(opportunity(0.8, 0.1) > 10.0 * opportunity(0.1, 0.1));
        assert!(opportunity(0.5, 0.0).abs() < f64::EPSILON);
        assert!(opportunity(f64::INFINITY, 1.0).is_finite());
    }
}
