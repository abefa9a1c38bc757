//! Sites and pools as they are held in memory. The first of each is always there, stored or not.

use std::collections::BTreeMap;

use vmm_core::id::{HostId, PoolId, SiteId};
use vmm_proto::v1::Rebalance;

use crate::app::{Host, Object, State};
use crate::store::{PlaceId, PlaceRecord, PoolRecord, SiteRecord, VmRecord};

/// What the first site and the first pool are called until they are called otherwise.
const FIRST_NAME: &str = "default";

/// All sites and pools.
#[derive(Debug)]
pub(crate) struct Places {
    sites: BTreeMap<SiteId, SiteRecord>,
    pools: BTreeMap<PoolId, PoolRecord>,
}

impl Default for Places {
    fn default() -> Self {
        let (name, notes) = (FIRST_NAME.to_owned(), String::new());
        let site = SiteRecord { id: SiteId::FIRST, name: name.clone(), notes: notes.clone() };
        let rebalance = Rebalance::default();
        let pool = PoolRecord { id: PoolId::FIRST, name, site: SiteId::FIRST, notes, rebalance };
        Self { sites: [(site.id, site)].into(), pools: [(pool.id, pool)].into() }
    }
}

impl From<PlaceId> for Object {
    fn from(id: PlaceId) -> Self {
        match id {
            PlaceId::Site(id) => Self::Site(id),
            PlaceId::Pool(id) => Self::Pool(id),
        }
    }
}

impl Places {
    /// Every site, then every pool.
    pub(crate) fn records(&self) -> impl Iterator<Item = PlaceRecord> + use<> {
        let sites: Vec<PlaceRecord> = self.sites.values().cloned().map(PlaceRecord::Site).collect();
        let pools: Vec<PlaceRecord> = self.pools.values().cloned().map(PlaceRecord::Pool).collect();
        sites.into_iter().chain(pools)
    }

    pub(crate) fn sites(&self) -> impl Iterator<Item = &SiteRecord> {
        self.sites.values()
    }

    pub(crate) fn pools(&self) -> impl Iterator<Item = &PoolRecord> {
        self.pools.values()
    }

    pub(crate) fn site(&self, id: SiteId) -> Option<&SiteRecord> {
        self.sites.get(&id)
    }

    pub(crate) fn pool(&self, id: PoolId) -> Option<&PoolRecord> {
        self.pools.get(&id)
    }

    /// By id or name.
    pub(crate) fn site_called(&self, text: &str) -> Option<&SiteRecord> {
        let by_id = text.parse().ok().and_then(|id| self.site(id));
        by_id.or_else(|| self.sites.values().find(|site| site.name == text))
    }

    /// By id or name.
    pub(crate) fn pool_called(&self, text: &str) -> Option<&PoolRecord> {
        let by_id = text.parse().ok().and_then(|id| self.pool(id));
        by_id.or_else(|| self.pools.values().find(|pool| pool.name == text))
    }

    pub(crate) fn take(&mut self, record: PlaceRecord) {
        match record {
            PlaceRecord::Site(site) => drop(self.sites.insert(site.id, site)),
            PlaceRecord::Pool(pool) => drop(self.pools.insert(pool.id, pool)),
        }
    }

    pub(crate) fn drop(&mut self, id: PlaceId) {
        match id {
            PlaceId::Site(id) => drop(self.sites.remove(&id)),
            PlaceId::Pool(id) => drop(self.pools.remove(&id)),
        }
    }
}

impl State {
    /// Takes a site or pool over. Who shows its name shows another one then, and is told of with it.
    pub(crate) fn take_place(&mut self, record: PlaceRecord) {
        let is_shown_otherwise = match &record {
            PlaceRecord::Site(new) => {
                self.places.site(new.id).is_some_and(|old| old.name != new.name)
            }
            PlaceRecord::Pool(new) => self
                .places
                .pool(new.id)
                .is_some_and(|old| (&old.name, old.site) != (&new.name, new.site)),
        };
        let id = record.id();
        self.journal.touched(Object::from(id));
        self.places.take(record);
        if is_shown_otherwise {
            self.touch_within(id);
        }
    }

    /// Everything that shows the name of this place.
    fn touch_within(&mut self, id: PlaceId) {
        let pools: Vec<PoolId> = match id {
            PlaceId::Pool(pool) => vec![pool],
            PlaceId::Site(site) => {
                let pools: Vec<PoolId> = self.pools_of(site).map(|pool| pool.id).collect();
                pools.iter().for_each(|pool| self.journal.touched(Object::Pool(*pool)));
                pools
            }
        };
        let hosts = self.hosts.values().map(|host| &host.record);
        let hosts: Vec<HostId> =
            hosts.filter(|host| pools.contains(&host.pool)).map(|host| host.id).collect();
        for host in hosts {
            self.journal.touched(Object::Host(host));
            self.touch_home(host);
        }
    }

    /// The VMs that show the pool of this host.
    pub(crate) fn touch_home(&mut self, host: HostId) {
        for vm in self.vms.values().map(|vm| &vm.record) {
            if vm.host.or(vm.last_host) == Some(host) {
                self.journal.touched(Object::Vm(vm.id));
            }
        }
    }

    pub(crate) fn hosts_of(&self, pool: PoolId) -> impl Iterator<Item = &Host> {
        self.hosts.values().filter(move |host| host.record.pool == pool)
    }

    /// The host that a VM is on, or was on last.
    pub(crate) fn home_of(&self, vm: &VmRecord) -> Option<&Host> {
        vm.host.or(vm.last_host).and_then(|host| self.hosts.get(&host))
    }

    /// Where a VM may move, and its site; none of one that never was on a host, or whose host is gone.
    pub(crate) fn place_of_vm(&self, vm: &VmRecord) -> (Option<&PoolRecord>, Option<&SiteRecord>) {
        self.home_of(vm).map_or((None, None), |host| self.place_of_host(host))
    }

    pub(crate) fn place_of_host(&self, host: &Host) -> (Option<&PoolRecord>, Option<&SiteRecord>) {
        let pool = self.places.pool(host.record.pool);
        (pool, pool.and_then(|pool| self.places.site(pool.site)))
    }
}
