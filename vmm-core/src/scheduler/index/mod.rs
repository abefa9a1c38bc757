//! The cheapest host of thousands, in less than a microsecond.
//!
//! ```text
//!                 flavour:   0    1    2  …  15
//!   top          [ min,  min, min …  min ]            one row of the least costs of all
//!   …            [ …                     ] × n/256    each the least of the sixteen rows below
//!   hosts        [ cost, cost …     cost ] × n        the cost of each flavour on each host
//! ```
//!
//! A *flavour* is a demand that comes again and again. What each flavour costs on each host is kept in a row a host; rows of least costs stand above in a tree
//! of fan sixteen. A change of a host computes one row of it and a few rows of minima, sixteen flavours at a time; a question goes down the tree. Nothing is
//! approximated: the answer is the host that a look at all of them would find, the first among equals, to the bit.
//!
//! What no row can know (a rule that bars some hosts, an image that must be fetched, a wish) is an addition of the question, at least 0: the tree is walked best
//! first until no host that has not been looked at can be cheaper. Demands that differ only in what is contended share a flavour: the walk begins with the price of
//! what is hard and adds the rest. Any other demand can be looked for on all hosts.
//!
//! It decides nothing by itself and stores nothing: whoever holds it charges it with what was decided.

mod tree;

#[cfg(test)]
mod tests;

use super::cost::{CostModel, DemandWeights, HostPrices};
use super::resource::{Amounts, Resource};
use tree::{Judged, Tree};

/// Flavours in a row.
pub(super) const LANES: usize = 16;
/// Hosts of one capacity share the weights of flavours; beyond this many capacities a pool is not what this is made for.
const CAPACITIES_MAX: usize = 4096;
/// Hosts that a walk may look at in any case before it is given up.
const WALK_MIN: usize = 64;
/// Flavours that questions make by themselves.
const FLAVOURS_MAX: usize = 8 * LANES;

/// A host, by the order in which hosts were added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostIndex(pub u32);

/// A flavour, by the order in which flavours were added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlavourIndex(pub u32);

/// A host and what the VM costs there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cheapest {
    /// Which.
    pub host: HostIndex,
    /// Its cost, with what the question added.
    pub cost: f64,
}

/// The pool is too varied for the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more than {CAPACITIES_MAX} kinds of hosts; look at all hosts instead")]
pub struct TooManyCapacities;

/// Hosts of one capacity.
#[derive(Clone, Debug)]
struct Capacity {
    amounts: Amounts,
    /// A row of flavours each.
    weights: Vec<DemandWeights<LANES>>,
}

#[derive(Clone, Debug)]
struct Host {
    capacity: usize,
    used: Amounts,
    /// Made of `used`.
    prices: HostPrices,
    is_open: bool,
}

/// See the [module](self).
#[derive(Clone, Debug)]
pub struct Index {
    model: CostModel,
    capacities: Vec<Capacity>,
    hosts: Vec<Host>,
    flavours: Vec<Amounts>,
    /// One for sixteen flavours.
    trees: Vec<Tree>,
}

impl Index {
    /// Without hosts and flavours.
    #[must_use]
    pub fn new(model: CostModel) -> Self {
        let (capacities, hosts, flavours, trees) = (vec![], vec![], vec![], vec![]);
        Self { model, capacities, hosts, flavours, trees }
    }

    /// A host more, open for VMs.
    ///
    /// # Errors
    /// [`TooManyCapacities`].
    pub fn add_host(
        &mut self,
        capacity: Amounts,
        used: Amounts,
    ) -> Result<HostIndex, TooManyCapacities> {
        let known = self.capacities.iter().position(|known| known.amounts == capacity);
        let class = match known {
            Some(class) => class,
            None if self.capacities.len() == CAPACITIES_MAX => return Err(TooManyCapacities),
            None => self.add_capacity(capacity),
        };
        self.hosts.push(Host {
            capacity: class,
            used,
            prices: HostPrices::default(),
            is_open: true,
        });
        for tree in &mut self.trees {
            tree.grow(self.hosts.len());
        }
        let host = HostIndex(u32::try_from(self.hosts.len() - 1).unwrap_or(u32::MAX));
        self.refresh(host);
        Ok(host)
    }

    fn add_capacity(&mut self, amounts: Amounts) -> usize {
        let mut weights = vec![DemandWeights::default(); self.trees.len()];
        for (index, demand) in self.flavours.iter().enumerate() {
            self.model.weigh(&mut weights[index / LANES], index % LANES, demand, &amounts);
        }
        self.capacities.push(Capacity { amounts, weights });
        self.capacities.len() - 1
    }

    /// A flavour more; the same one when it is known. It is priced on all hosts now.
    pub fn add_flavour(&mut self, demand: Amounts) -> FlavourIndex {
        let index = self.flavours.iter().position(|known| *known == demand);
        let index = index.unwrap_or_else(|| {
            self.flavours.push(demand);
            self.price_flavour(self.flavours.len() - 1, &demand);
            self.flavours.len() - 1
        });
        FlavourIndex(u32::try_from(index).unwrap_or(u32::MAX))
    }

    fn price_flavour(&mut self, flavour: usize, demand: &Amounts) {
        let (row, lane) = (flavour / LANES, flavour % LANES);
        if row == self.trees.len() {
            self.trees.push(Tree::default());
            self.trees[row].grow(self.hosts.len());
            self.capacities.iter_mut().for_each(|c| c.weights.push(DemandWeights::default()));
        }
        for capacity in &mut self.capacities {
            self.model.weigh(&mut capacity.weights[row], lane, demand, &capacity.amounts);
        }
        for host in 0..self.hosts.len() {
            let costs = self.row(host, row);
            self.trees[row].set_leaf(host, costs);
        }
        self.trees[row].rebuild();
    }

    /// How many hosts there are.
    #[must_use]
    pub fn host_count(&self) -> usize {
        self.hosts.len()
    }

    /// What is in use of a host.
    #[must_use]
    pub fn used(&self, host: HostIndex) -> Amounts {
        self.hosts[at(host)].used
    }

    /// What a host has.
    #[must_use]
    pub fn capacity(&self, host: HostIndex) -> Amounts {
        self.capacities[self.hosts[at(host)].capacity].amounts
    }

    /// A VM is put there. It is not asked whether it fits: what was decided is true.
    pub fn charge(&mut self, host: HostIndex, demand: &Amounts) {
        let used = &mut self.hosts[at(host)].used;
        *used = used.plus(*demand);
        self.refresh(host);
    }

    /// A VM leaves.
    pub fn release(&mut self, host: HostIndex, demand: &Amounts) {
        let used = &mut self.hosts[at(host)].used;
        *used = used.minus(*demand);
        self.refresh(host);
    }

    /// What is in use was measured, or counted anew.
    pub fn set_used(&mut self, host: HostIndex, used: Amounts) {
        self.hosts[at(host)].used = used;
        self.refresh(host);
    }

    /// Whether VMs may be put there.
    pub fn set_open(&mut self, host: HostIndex, is_open: bool) {
        self.hosts[at(host)].is_open = is_open;
        self.refresh(host);
    }

    fn refresh(&mut self, host: HostIndex) {
        let host = at(host);
        let capacity = &self.capacities[self.hosts[host].capacity].amounts;
        self.hosts[host].prices = self.model.price(&self.hosts[host].used, capacity);
        for row in 0..self.trees.len() {
            let costs = self.row(host, row);
            self.trees[row].update(host, costs);
        }
    }

    /// Sixteen flavours on one host.
    fn row(&self, host: usize, row: usize) -> [f64; LANES] {
        let Host { capacity, prices, is_open, .. } = &self.hosts[host];
        if !is_open {
            return [f64::INFINITY; LANES];
        }
        self.model.score(prices, &self.capacities[*capacity].weights[row])
    }

    /// Where a flavour costs least: the first host among equals; `None` when it fits nowhere.
    #[must_use]
    pub fn cheapest(&self, flavour: FlavourIndex) -> Option<Cheapest> {
        let (row, lane) = self.place_of(flavour)?;
        let (host, cost) = self.trees[row].least(lane)?;
        Some(Cheapest { host: index(host), cost })
    }

    /// Where it costs least with what `addition` says of a host: `None` bars it, a number of at least 0 is added. Asked of as few hosts as can be.
    pub fn cheapest_with(
        &self,
        flavour: FlavourIndex,
        mut addition: impl FnMut(HostIndex) -> Option<f64>,
    ) -> Option<Cheapest> {
        let (row, lane) = self.place_of(flavour)?;
        let best = self.trees[row]
            .walk(lane, |host, cost| addition(index(host)).map(|more| cost + more.max(0.0)).into());
        best.map(|(host, cost)| Cheapest { host: index(host), cost })
    }

    /// Where any demand costs least. The hard part of it becomes a flavour when there is room for one more, so few of them should differ in that.
    pub fn cheapest_for(
        &mut self,
        demand: &Amounts,
        mut addition: impl FnMut(HostIndex) -> Option<f64>,
    ) -> Option<Cheapest> {
        let hard = Resource::HARD
            .into_iter()
            .fold(Amounts::NOTHING, |hard, resource| hard.with(resource, demand[resource]));
        if self.flavours.len() >= FLAVOURS_MAX && !self.flavours.contains(&hard) {
            return self.scan(demand, addition);
        }
        let flavour = self.add_flavour(hard);
        let (row, lane) = self.place_of(flavour)?;
        let mut weights: Vec<Option<DemandWeights<1>>> = vec![None; self.capacities.len()];
        // Where what is contended decides, the walk goes astray: past so many hosts a look at all of them is cheaper.
        let mut looks = WALK_MIN + self.hosts.len() / 16;
        let best = self.trees[row].walk(lane, |host, _| {
            if looks == 0 {
                return Judged::Enough;
            }
            looks -= 1;
            let [cost] = self.score(host, demand, &mut weights);
            addition(index(host)).map(|more| cost + more.max(0.0)).into()
        });
        if looks == 0 {
            return self.scan(demand, addition);
        }
        best.map(|(host, cost)| Cheapest { host: index(host), cost })
    }

    /// What one demand costs on one host.
    fn score(
        &self,
        host: usize,
        demand: &Amounts,
        weights: &mut [Option<DemandWeights<1>>],
    ) -> [f64; 1] {
        let host = &self.hosts[host];
        let capacity = &self.capacities[host.capacity].amounts;
        let weights = weights[host.capacity].get_or_insert_with(|| {
            let mut weights = DemandWeights::default();
            self.model.weigh(&mut weights, 0, demand, capacity);
            weights
        });
        self.model.score(&host.prices, weights)
    }

    /// The same by a look at all hosts.
    pub fn scan(
        &self,
        demand: &Amounts,
        mut addition: impl FnMut(HostIndex) -> Option<f64>,
    ) -> Option<Cheapest> {
        let mut weights: Vec<Option<DemandWeights<1>>> = vec![None; self.capacities.len()];
        let mut best: Option<Cheapest> = None;
        for number in (0..self.hosts.len()).filter(|number| self.hosts[*number].is_open) {
            let [cost] = self.score(number, demand, &mut weights);
            let is_better = |cost: f64| best.is_none_or(|best| cost < best.cost);
            if cost == f64::INFINITY || !is_better(cost) {
                continue;
            }
            let whole = addition(index(number)).map(|more| cost + more.max(0.0));
            if let Some(cost) = whole.filter(|cost| is_better(*cost)) {
                best = Some(Cheapest { host: index(number), cost });
            }
        }
        best
    }

    fn place_of(&self, flavour: FlavourIndex) -> Option<(usize, usize)> {
        let flavour = usize::try_from(flavour.0).ok()?;
        (flavour < self.flavours.len()).then_some((flavour / LANES, flavour % LANES))
    }
}

/// Where a host stands in the rows.
fn at(host: HostIndex) -> usize {
    usize::try_from(host.0).unwrap_or(usize::MAX)
}

fn index(host: usize) -> HostIndex {
    HostIndex(u32::try_from(host).unwrap_or(u32::MAX))
}
