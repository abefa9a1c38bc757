//! Placement decisions.

use vmm_core::scheduler::{CostTerms, Decision, Verdict};

use crate::v1;

impl From<&Decision> for v1::Placement {
    fn from(decision: &Decision) -> Self {
        let chosen = decision.candidates.iter().find(|c| Some(c.host) == decision.chosen);
        v1::Placement {
            chosen: chosen.map(|c| c.name.clone()),
            candidates: decision.candidates.iter().map(v1::Candidate::from).collect(),
        }
    }
}

impl From<&vmm_core::scheduler::Candidate> for v1::Candidate {
    fn from(candidate: &vmm_core::scheduler::Candidate) -> Self {
        let (eligible, terms) = match &candidate.verdict {
            Verdict::Eligible(terms) => (true, *terms),
            Verdict::Refused(_) => (false, CostTerms { cpu: 0.0, memory: 0.0, disk_io: 0.0 }),
        };
        v1::Candidate {
            host: candidate.name.clone(),
            eligible,
            cost_cpu: terms.cpu,
            cost_memory: terms.memory,
            cost_disk_io: terms.disk_io,
            cost: terms.total(),
            reason: candidate.reason.clone(),
        }
    }
}
