//! credit2, as far as its outcome goes: physical CPUs are shared by weight, up to each domain's demand and cap.

/// One physical CPU, in parts per million.
pub(crate) const WHOLE: u64 = 1_000_000;

/// What one domain asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Demand {
    /// In millionths of a CPU.
    pub(crate) wanted: u64,
    pub(crate) weight: u16,
    pub(crate) cap_percent: u16,
}

/// Millionths of a CPU for each, in the same order.
pub(crate) fn share(demands: &[Demand], pcpus: u32) -> Vec<u64> {
    let limit = |d: &Demand| match d.cap_percent {
        0 => d.wanted,
        percent => d.wanted.min(u64::from(percent) * (WHOLE / 100)),
    };
    let mut given = vec![0; demands.len()];
    let mut left = u64::from(pcpus) * WHOLE;
    let mut open: Vec<usize> = (0..demands.len()).collect();
    // Each round satisfies somebody or is the last.
    while !open.is_empty() {
        let weights: u64 = open.iter().map(|&i| u64::from(demands[i].weight)).sum();
        let fair = |i: usize| left * u64::from(demands[i].weight) / weights.max(1);
        let (content, hungry): (Vec<usize>, Vec<usize>) =
            open.iter().partition(|&&i| limit(&demands[i]) <= fair(i));
        if content.is_empty() {
            for &i in &hungry {
                given[i] = fair(i);
            }
            break;
        }
        for &i in &content {
            given[i] = limit(&demands[i]);
        }
        left -= content.iter().map(|&i| given[i]).sum::<u64>();
        open = hungry;
    }
    given
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(demands: &[(u64, u16, u16)], pcpus: u32, expect: &[u64]) {
        let demands: Vec<Demand> = demands
            .iter()
            .map(|&(percent, weight, cap_percent)| Demand {
                wanted: percent * (WHOLE / 100),
                weight,
                cap_percent,
            })
            .collect();
        let percents: Vec<u64> =
            share(&demands, pcpus).into_iter().map(|ppm| ppm / (WHOLE / 100)).collect();
        assert_eq!(percents, expect);
    }

    #[test]
    fn everybody_gets_what_he_wants_while_there_is_enough() {
        check(&[(100, 256, 0), (50, 1, 0)], 2, &[100, 50]);
    }

    #[test]
    fn under_contention_weight_decides() {
        check(&[(100, 512, 0), (100, 256, 0)], 1, &[66, 33]);
    }

    #[test]
    fn what_one_leaves_goes_to_the_others() {
        check(&[(10, 256, 0), (100, 256, 0), (100, 256, 0)], 1, &[10, 45, 45]);
    }

    #[test]
    fn a_cap_holds_even_on_an_idle_machine() {
        check(&[(400, 256, 150)], 4, &[150]);
    }
}
