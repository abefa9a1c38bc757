//! A skewed cluster, as Ganeti's text and as the product's pool.

use std::fmt::Write as _;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use vmm_core::id::{HostId, VmId};
use vmm_core::scheduler::{Amounts, CostModel, Mobility, Needs, Pool, Preference, Resource, Vm};

use super::super::scheduled::{host, id};

/// A node: memory in MiB, of which the node itself takes some.
pub(super) const MEMORY_MIB: u64 = 65_536;
pub(super) const NODE_MIB: u64 = 1024;
pub(super) const CPUS: u64 = 32;
const DISK_MIB: u64 = 2_000_000;
/// vCPUs, memory, disk, and how often.
const FLAVOURS: [(u64, u64, u64, u32); 4] =
    [(1, 2048, 20_000, 4), (2, 4096, 40_000, 3), (4, 8192, 80_000, 2), (8, 16_384, 160_000, 1)];
/// What is allocated beside.
pub(super) const NEW: Instance = Instance { vcpus: 2, memory_mib: 4096, disk_mib: 40_000, node: 0 };

/// A VM on its node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Instance {
    pub(super) vcpus: u64,
    pub(super) memory_mib: u64,
    pub(super) disk_mib: u64,
    pub(super) node: usize,
}

pub(super) struct Cluster {
    pub(super) nodes: usize,
    pub(super) vms: Vec<Instance>,
}

impl Cluster {
    /// The first nodes are full, the last ones nearly empty.
    pub(super) fn generate(nodes: usize, instances: usize, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut used = vec![0; nodes];
        let mut vms = Vec::new();
        for _ in 0..instances {
            let (vcpus, memory_mib, disk_mib, _) = draw_flavour(&mut rng);
            // The least of two uniforms leans to the first nodes.
            let skewed =
                |rng: &mut StdRng| rng.random_range(0..nodes).min(rng.random_range(0..nodes));
            let room = MEMORY_MIB - 2 * NODE_MIB;
            let found = (0..200).map(|_| skewed(&mut rng)).find(|n| used[*n] + memory_mib <= room);
            let Some(node) = found else { continue };
            used[node] += memory_mib;
            vms.push(Instance { vcpus, memory_mib, disk_mib, node });
        }
        Self { nodes, vms }
    }

    /// Ganeti's text format: groups, nodes, instances, tags, policies.
    pub(super) fn text(&self) -> String {
        let mut text = String::from("default|uuid-g1|preferred||\n\n");
        for node in 0..self.nodes {
            let on_node = self.vms.iter().filter(|vm| vm.node == node);
            let free = MEMORY_MIB - NODE_MIB - on_node.map(|vm| vm.memory_mib).sum::<u64>();
            let master = if node == 0 { 'M' } else { 'N' };
            // Writing into a string cannot fail.
            let _ = writeln!(
                text,
                "node{node:05}|{MEMORY_MIB}|{NODE_MIB}|{free}|{DISK_MIB}|{DISK_MIB}|{CPUS}|{master}|uuid-g1|1||N|1|1|1.0"
            );
        }
        text.push('\n');
        for (number, vm) in self.vms.iter().enumerate() {
            let Instance { vcpus, memory_mib, disk_mib, node } = vm;
            let _ = writeln!(
                text,
                "inst{number:06}|{memory_mib}|{disk_mib}|{vcpus}|running|Y|node{node:05}||ext||1|-"
            );
        }
        let policy = "4096,2,40000,1,1,1|128,1,1024,1,1,1;262144,64,10485760,16,8,12|drbd,plain,sharedfile,file,blockdev,rbd,ext,diskless,gluster|8.0|1000000.0";
        let _ = writeln!(text, "\n\n|{policy}\ndefault|{policy}");
        text
    }

    /// As the product sees it. Each VM uses half of its vCPUs' time.
    pub(super) fn pool(&self) -> Pool {
        let vms: Vec<Vm> = self.vms.iter().enumerate().map(|(n, vm)| scheduled(n, vm)).collect();
        let hosts = (0..self.nodes).map(|node| {
            let on_node = self.vms.iter().zip(&vms).filter(|(vm, _)| vm.node == node);
            let used = on_node.fold(Amounts::NOTHING, |sum, (_, vm)| sum.plus(vm.demand));
            host(node, capacity(), used)
        });
        Pool { hosts: hosts.collect(), vms, groups: Vec::new() }
    }

    /// Our potential after somebody's moves.
    pub(super) fn potential_after(&self, moves: &[(usize, usize)]) -> f64 {
        let mut vms = self.vms.clone();
        for (vm, node) in moves {
            vms[*vm].node = *node;
        }
        let after = Self { nodes: self.nodes, vms }.pool();
        let model = CostModel::new(Preference::BALANCE);
        after.hosts.iter().map(|host| model.potential(&host.used, &host.capacity)).sum()
    }
}

fn draw_flavour(rng: &mut StdRng) -> (u64, u64, u64, u32) {
    let mut left = rng.random_range(0..FLAVOURS.iter().map(|flavour| flavour.3).sum());
    for flavour in FLAVOURS {
        if left < flavour.3 {
            return flavour;
        }
        left -= flavour.3;
    }
    FLAVOURS[0]
}

fn scheduled(number: usize, vm: &Instance) -> Vm {
    Vm {
        id: VmId::from_bytes(id(number)),
        name: format!("inst{number:06}"),
        demand: Amounts::NOTHING
            .with(Resource::Memory, vm.memory_mib * 1024)
            .with(Resource::Cpu, vm.vcpus * 500),
        host: Some(HostId::from_bytes(id(vm.node))),
        needs: Needs::default(),
        image: None,
        mobility: Mobility {
            is_movable: true,
            memory_bytes: vm.memory_mib << 20,
            dirty_bytes_per_s: 0,
            stands: false,
            moved_s_ago: None,
        },
    }
}

fn capacity() -> Amounts {
    Amounts::UNCOUNTED
        .with(Resource::Memory, (MEMORY_MIB - NODE_MIB) * 1024)
        .with(Resource::Cpu, CPUS * 1000)
}
