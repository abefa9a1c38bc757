//! Placement decisions.

use vmm_core::scheduler::{Candidate, Decision, Term, Terms, Verdict};

use crate::v1;

impl From<&Decision> for v1::Placement {
    fn from(decision: &Decision) -> Self {
        let chosen = decision.candidates.iter().find(|c| Some(c.host) == decision.chosen);
        let candidate = |c| shown(c, decision.reason(c));
        v1::Placement {
            chosen: chosen.map(|c| c.name.clone()),
            candidates: decision.candidates.iter().map(candidate).collect(),
        }
    }
}

fn shown(candidate: &Candidate, reason: String) -> v1::Candidate {
    let (eligible, terms) = match &candidate.verdict {
        Verdict::Eligible(terms) => (true, *terms),
        Verdict::Refused(_) => (false, Terms::default()),
    };
    let sum = |parts: &[Term]| parts.iter().map(|term| terms.get(*term)).sum();
    v1::Candidate {
        host: candidate.name.clone(),
        eligible,
        cost_cpu: terms.get(Term::Cpu),
        cost_memory: sum(&[Term::Spread, Term::Packing, Term::Holes]),
        cost_disk_io: sum(&[Term::DiskBandwidth, Term::DiskRequests]),
        cost: terms.total(),
        reason,
        parts: parts(&terms),
    }
}

/// The terms that are not 0.
pub fn parts(terms: &Terms) -> Vec<v1::Part> {
    let part = |(term, cost): (Term, f64)| v1::Part { name: term.name().to_owned(), cost };
    terms.parts().map(part).collect()
}
