//! Placement decisions.

use vmm_core::scheduler::{Candidate, Decision, Term, Terms, Verdict};

use crate::v1;

impl From<&Decision> for v1::Placement {
    fn from(decision: &Decision) -> Self {
        let chosen = decision.candidates.iter().find(|c| Some(c.host) == decision.chosen);
        let shown = |c| shown(c, decision.reason(c));
        v1::Placement {
            chosen: chosen.map(|c| c.name.clone()),
            candidates: decision.candidates.iter().map(shown).collect(),
        }
    }
}

fn shown(of: &Candidate, reason: String) -> v1::Candidate {
    let terms = match &of.verdict {
        Verdict::Eligible(terms) => Some(*terms),
        Verdict::Refused(_) => None,
    };
    candidate(of.name.clone(), terms, reason)
}

/// A host with what the VM costs there, if it can take it.
pub(super) fn candidate(host: String, terms: Option<Terms>, reason: String) -> v1::Candidate {
    let (eligible, terms) = (terms.is_some(), terms.unwrap_or_default());
    let sum = |parts: &[Term]| parts.iter().map(|term| terms.get(*term)).sum();
    v1::Candidate {
        host,
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
