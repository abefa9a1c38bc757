//! Ganeti's metric of a cluster without mirrored disks, for the product's search: the weighted sum of standard deviations over nodes of free memory, of vCPUs a CPU, and of four loads
//! that count instances, since nobody tells it real ones.

use vmm_core::scheduler::Pool;
use vmm_core::scheduler::improve::Landscape;

use super::cluster::{CPUS, Cluster, Instance, MEMORY_MIB, NODE_MIB};

/// Memory free, vCPUs a CPU, instances: half a point each, now and as planned, and one for each of four loads.
const WEIGHTS: [f64; 3] = [1.0, 1.0, 4.0];

type Figures = [f64; 3];

pub(super) struct Balance {
    vms: Vec<Instance>,
    nodes: Vec<Figures>,
    free_mib: Vec<u64>,
    sums: Figures,
    squares: Figures,
}

impl Balance {
    pub(super) fn new(cluster: &Cluster) -> Self {
        let mut balance = Self {
            vms: cluster.vms.clone(),
            nodes: vec![
                [(MEMORY_MIB - NODE_MIB) as f64 / MEMORY_MIB as f64, 0.0, 0.0];
                cluster.nodes
            ],
            free_mib: vec![MEMORY_MIB - NODE_MIB; cluster.nodes],
            sums: [0.0; 3],
            squares: [0.0; 3],
        };
        for vm in &cluster.vms {
            balance.free_mib[vm.node] -= vm.memory_mib;
            let before = balance.nodes[vm.node];
            let share = share_of(vm);
            balance.nodes[vm.node] = std::array::from_fn(|i| before[i] + share[i]);
        }
        let total = |of: fn(f64) -> f64| {
            std::array::from_fn(|i| balance.nodes.iter().map(|node| of(node[i])).sum())
        };
        let (sums, squares) = (total(|figure| figure), total(|figure| figure * figure));
        Self { sums, squares, ..balance }
    }

    fn replace(&mut self, node: usize, new: Figures) {
        let old = std::mem::replace(&mut self.nodes[node], new);
        self.sums = std::array::from_fn(|i| self.sums[i] + new[i] - old[i]);
        self.squares = std::array::from_fn(|i| self.squares[i] + new[i] * new[i] - old[i] * old[i]);
    }

    pub(super) fn of_pool(cluster: &Cluster, pool: &Pool) -> Self {
        let node = |host| pool.hosts.iter().position(|known| Some(known.id) == host).unwrap_or(0);
        let vms = cluster.vms.iter().zip(&pool.vms);
        let vms = vms.map(|(vm, now)| Instance { node: node(now.host), ..*vm }).collect();
        Self::new(&Cluster { nodes: cluster.nodes, vms })
    }

    /// From the figures of all nodes, so that no rounding of many steps is in it.
    pub(super) fn score(&self) -> f64 {
        let count = self.nodes.len() as f64;
        let deviation = |i: usize| {
            let mean = self.nodes.iter().map(|node| node[i]).sum::<f64>() / count;
            let square = |node: &Figures| (node[i] - mean) * (node[i] - mean);
            (self.nodes.iter().map(square).sum::<f64>() / count).sqrt()
        };
        (0..3).map(|i| WEIGHTS[i] * deviation(i)).sum()
    }

    /// The score if figures of some nodes changed.
    fn score_with(&self, changes: &[(usize, Figures)]) -> f64 {
        let count = self.nodes.len() as f64;
        let (mut sums, mut squares) = (self.sums, self.squares);
        for (node, change) in changes {
            for i in 0..3 {
                let (old, new) = (self.nodes[*node][i], self.nodes[*node][i] + change[i]);
                sums[i] += new - old;
                squares[i] += new * new - old * old;
            }
        }
        let variance =
            |i: usize| (squares[i] / count - (sums[i] / count) * (sums[i] / count)).max(0.0);
        (0..3).map(|i| WEIGHTS[i] * variance(i).sqrt()).sum()
    }

    /// Where one more scores least, and that score.
    pub(super) fn cheapest(&self, vm: Instance) -> Option<(usize, f64)> {
        let nodes = (0..self.nodes.len()).filter(|node| self.free_mib[*node] >= vm.memory_mib);
        let scored = nodes.map(|node| (node, self.score_with(&[(node, share_of(&vm))])));
        scored.min_by(|a, b| a.1.total_cmp(&b.1))
    }
}

/// What a VM adds to its node's figures.
fn share_of(vm: &Instance) -> Figures {
    [-(vm.memory_mib as f64) / MEMORY_MIB as f64, vm.vcpus as f64 / CPUS as f64, 1.0]
}

impl Landscape for Balance {
    /// VMs of one size on one node are alike: one of each is enough.
    fn candidates(&self) -> Vec<usize> {
        let mut seen = std::collections::BTreeSet::new();
        let is_new = |vm: &usize| seen.insert((self.vms[*vm].node, self.vms[*vm].vcpus));
        (0..self.vms.len()).filter(is_new).collect()
    }

    fn host_count(&self) -> usize {
        self.nodes.len()
    }

    fn host_of(&self, vm: usize) -> usize {
        self.vms[vm].node
    }

    fn gain(&self, vm: usize, to: usize) -> Option<f64> {
        let vm = &self.vms[vm];
        if self.free_mib[to] < vm.memory_mib {
            return None;
        }
        let share = share_of(vm);
        let changes = [(vm.node, share.map(|part| -part)), (to, share)];
        Some(self.score_with(&[]) - self.score_with(&changes))
    }

    fn carry_out(&mut self, vm: usize, to: usize) {
        let Instance { node: from, memory_mib, .. } = self.vms[vm];
        let share = share_of(&self.vms[vm]);
        for (node, sign) in [(from, -1.0), (to, 1.0)] {
            let before = self.nodes[node];
            self.replace(node, std::array::from_fn(|i| before[i] + sign * share[i]));
        }
        self.free_mib[from] += memory_mib;
        self.free_mib[to] -= memory_mib;
        self.vms[vm].node = to;
    }
}
