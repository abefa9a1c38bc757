//! One VM: rules first, then cost, then the decision with all its reasons.

use super::cost::{CostModel, Term, Terms};
use super::problem::{GroupPlaces, Host, Pool, Vm};
use super::rules::{Refusal, refused, wishes};
use crate::id::HostId;

/// What a second of fetching an image costs: an hour of it is as bad as an idle host.
const FETCH_COST_PER_S: f64 = 1.0 / 3600.0;
/// A difference below this would read 0.000.
const SHOWN_MIN: f64 = 0.0005;

/// What became of one host.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// It could take the VM, at this cost.
    Eligible(Terms),
    /// It cannot.
    Refused(Refusal),
}

/// One host's part in the decision.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// Which host.
    pub host: HostId,
    /// Its name.
    pub name: String,
    /// What became of it.
    pub verdict: Verdict,
}

impl Candidate {
    fn rank(&self) -> f64 {
        match &self.verdict {
            Verdict::Eligible(terms) => terms.total(),
            Verdict::Refused(_) => f64::INFINITY,
        }
    }
}

/// Where the VM goes, and why not elsewhere. The winner comes first, then by cost, then the refused.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The winner; `None` when no host can take it.
    pub chosen: Option<HostId>,
    /// All hosts.
    pub candidates: Vec<Candidate>,
}

impl Decision {
    /// In words, why a candidate won or lost.
    #[must_use]
    pub fn reason(&self, candidate: &Candidate) -> String {
        match (&candidate.verdict, self.candidates.first()) {
            (Verdict::Refused(refusal), _) => refusal.to_string(),
            (Verdict::Eligible(_), _) if Some(candidate.host) == self.chosen => {
                "lowest cost".into()
            }
            (
                Verdict::Eligible(terms),
                Some(Candidate { name, verdict: Verdict::Eligible(best), .. }),
            ) => {
                let more = terms.beyond(best);
                if more.total() < SHOWN_MIN {
                    return format!("as good as {name}");
                }
                format!("{:.3} more than {name}, mostly {}", more.total(), more.dominant().name())
            }
            (Verdict::Eligible(_), _) => String::new(),
        }
    }
}

/// Decides where `vm` costs least.
#[must_use]
pub fn place(pool: &Pool, vm: &Vm, model: &CostModel) -> Decision {
    let places = GroupPlaces::of(pool);
    let judge = |host: &Host| Candidate {
        host: host.id,
        name: host.name.clone(),
        verdict: match refused(pool, &places, vm, host) {
            Some(refusal) => Verdict::Refused(refusal),
            None => Verdict::Eligible(cost(pool, &places, (vm, host), model)),
        },
    };
    let mut candidates: Vec<Candidate> = pool.hosts.iter().map(judge).collect();
    candidates.sort_by(|a, b| a.rank().total_cmp(&b.rank()).then_with(|| a.name.cmp(&b.name)));
    let first = candidates.first();
    let chosen = first.filter(|first| matches!(first.verdict, Verdict::Eligible(_)));
    Decision { chosen: chosen.map(|first| first.host), candidates }
}

/// What `vm` costs on a host that can take it, with everything that depends on the two.
pub(super) fn cost(
    pool: &Pool,
    places: &GroupPlaces,
    (vm, host): (&Vm, &Host),
    model: &CostModel,
) -> Terms {
    let mut terms = model.terms(&vm.demand, &host.used, &host.capacity);
    terms.add(Term::Fetch, fetch_cost(vm, host));
    terms.add(Term::Wishes, wishes(pool, places, vm, host));
    terms
}

fn fetch_cost(vm: &Vm, host: &Host) -> f64 {
    match &vm.image {
        Some(image) if !host.images.contains(&image.name) => {
            image.bytes as f64 / host.link_bytes_per_s.max(1) as f64 * FETCH_COST_PER_S
        }
        _ => 0.0,
    }
}
