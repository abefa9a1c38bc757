//! What operators ask for when they make a VM.

use rand::Rng;
use rand::seq::IndexedRandom;
use vmm_proto::v1;

use super::Day;

impl Day {
    /// A VM with a name of its own; now and then one that cannot be built.
    pub(super) fn spec(&mut self) -> v1::Spec {
        self.vms_named += 1;
        let name = format!("vm{}", self.vms_named);
        let file = |name: &str| self.pool.files.path().join(name).to_string_lossy().into_owned();
        // Many VMs of a large day move, and each page of them is real.
        let memory_mib = if self.size.is_large() { 32..160 } else { 64..1500 };
        let memory_kib = self.rng.random_range(memory_mib) << 10;
        let vcpus = self.rng.random_range(1..=2);
        let disk = self.rng.random_bool(0.5).then(|| file(&name));
        if let Some(path) = &disk {
            // A failure to write shows as a missing file, which the pool must survive as well.
            let _ = std::fs::write(path, [0; 512]);
        }
        let kernel = if self.rng.random_bool(0.05) { file("missing") } else { file("kernel") };
        v1::Spec {
            name,
            vcpus,
            vcpus_max: vcpus + self.rng.random_range(0..3),
            memory_kib,
            memory_max_kib: memory_kib + (self.rng.random_range(0..128) << 10),
            kernel,
            initramfs: None,
            cmdline: (*["workload=idle", "workload=burn:1", "workload=idle behaviour=deaf"]
                .choose(&mut self.rng)
                .unwrap_or(&""))
            .to_owned(),
            cpu_demand_milli: self.rng.random_range(0..1500),
            disk_demand_bytes_per_s: self.rng.random_range(0..50_000_000),
            disks: disk
                .map(|path| v1::Disk { path, device: "xvda".into(), read_only: false })
                .into_iter()
                .collect(),
            ..v1::Spec::default()
        }
    }
}
