//! One look at the pool: hosts, the first VMs in the wanted order, and sums. The manager sorts and filters; it has measured already.

use futures_util::StreamExt as _;
use vmm_proto::v1::{Host, ListHosts, ListVms, Reply, Request, Vm, VmTotals, Vms};

use crate::commands::AT_ONCE;
use crate::failure::Failure;
use crate::session::{Session, unexpected};

/// VMs of one look. Who wants to see those behind them asks for fewer, or for another order.
pub(super) const VMS_MAX: u32 = 500;

/// What to look at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) host_sort: String,
    pub(super) vm_sort: String,
    /// A query that is right; empty for all.
    pub(super) vm_query: String,
    /// Names of the hosts on the screen.
    pub(super) on_screen: Vec<String>,
}

/// What was seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Sample {
    pub(super) hosts: Vec<Host>,
    /// The first of those that are wanted.
    pub(super) vms: Vec<Vm>,
    /// All that are wanted.
    pub(super) wanted: VmTotals,
    /// Everything.
    pub(super) all: VmTotals,
    /// What the VMs of these hosts send and receive.
    pub(super) network: Vec<(String, u64)>,
}

pub(super) async fn sample(session: &Session, plan: Plan) -> Result<Sample, Failure> {
    let list = ListHosts { sort: some(&plan.host_sort), ..ListHosts::default() };
    let hosts = match session.call(Request::ListHosts(list)).await? {
        Reply::Hosts(page) => page,
        other => return Err(unexpected(&other)),
    };
    let list = ListVms {
        filter: some(&plan.vm_query),
        sort: some(&plan.vm_sort),
        count_max: Some(VMS_MAX),
        totals: true,
        after: None,
    };
    let vms = list_vms(session, list).await?;
    let wanted = vms.totals.unwrap_or_default();
    let all =
        if plan.vm_query.is_empty() { wanted } else { totals(session, String::new()).await? };
    let networks = futures_util::stream::iter(&plan.on_screen).map(async |host: &String| {
        let sums = totals(session, format!("host={host:?}")).await.ok()?;
        Some((host.clone(), sums.network_used_bytes_per_s))
    });
    let network = networks.buffered(AT_ONCE).filter_map(async |sum| sum).collect().await;
    Ok(Sample { hosts: hosts.hosts, vms: vms.vms, wanted, all, network })
}

/// The sums of VMs, and none of the VMs.
async fn totals(session: &Session, query: String) -> Result<VmTotals, Failure> {
    let list =
        ListVms { filter: some(&query), count_max: Some(1), totals: true, ..ListVms::default() };
    Ok(list_vms(session, list).await?.totals.unwrap_or_default())
}

async fn list_vms(session: &Session, list: ListVms) -> Result<Vms, Failure> {
    match session.call(Request::ListVms(list)).await? {
        Reply::Vms(vms) => Ok(vms),
        other => Err(unexpected(&other)),
    }
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}
