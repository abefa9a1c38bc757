//! The gate in front of the XML parser, over documents as they are: a list of VMs, and the message around a large one.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use vmm_proto::v1::NAMESPACE;
use vmm_proto::xml::gate::{Limits, Namespaces, check};

use crate::report::Report;

const GOAL_MB_PER_S: f64 = 150.0;

/// Long enough that a stranger's work on the machine does not decide.
const TIME: Duration = Duration::from_secs(2);

const VM_COUNT: usize = 4096;

const VM: &str = "<Vm vm=\"0192f3a1-7b5c-7d00-8000-0000000000a1\" phase=\"Running\" host=\"h1\" stale=\"false\" vcpus-online=\"4\" \
    memory-now-kib=\"4194304\"><Spec name=\"web-17\" kind=\"Pvh\" vcpus=\"4\" vcpus-max=\"8\" memory-kib=\"4194304\" \
    memory-max-kib=\"8388608\" kernel=\"/var/lib/smps-vmm/kernels/vmlinuz-6.1\" cmdline=\"console=hvc0 root=/dev/xvda1 ro\" \
    cpu-demand-milli=\"1500\" disk-demand-bytes-per-s=\"50000000\"><Disk path=\"/srv/vm/web-17.img\" device=\"xvda\" \
    read-only=\"false\"/><Nic index=\"0\" mac=\"00:16:3e:12:34:56\" bridge=\"xenbr0\"/></Spec></Vm>";

/// Bytes of the base64 in the large message.
const CIPHER_BYTES: usize = 4 << 20;

pub(crate) fn measure(report: &mut Report) -> Result<()> {
    let list = format!("<Vms xmlns=\"{NAMESPACE}\">{}</Vms>", VM.repeat(VM_COUNT));
    let inside = rate(&list, &Limits::INNER, Namespaces::Only(NAMESPACE))?;
    report.at_least("gate: a list of 4096 VMs", inside, "MB/s", GOAL_MB_PER_S);
    let cipher = "q83vEjRWeJCrze8SNFZ4kA==".repeat(CIPHER_BYTES / 24);
    let message =
        format!("<v:Message xmlns:v=\"{NAMESPACE}\"><v:Value>{cipher}</v:Value></v:Message>");
    let around = rate(&message, &Limits::OUTER, Namespaces::Any)?;
    report.at_least("gate: the message around 3 MB", around, "MB/s", GOAL_MB_PER_S);
    Ok(())
}

/// Megabytes a second.
fn rate(document: &str, limits: &Limits, namespaces: Namespaces<'_>) -> Result<f64> {
    let (start, mut bytes) = (Instant::now(), 0_usize);
    while start.elapsed() < TIME {
        check(document.as_bytes(), limits, namespaces).context("the gate refuses the sample")?;
        bytes += document.len();
    }
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    Ok(bytes as f64 / start.elapsed().as_secs_f64() / 1e6)
}
