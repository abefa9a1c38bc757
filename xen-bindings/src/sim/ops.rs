//! Every operation of the traits by name: what faults are injected into and what the recorder writes down.

macro_rules! operations {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// An operation of one of the traits.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Op {
            $($(#[$doc])* $variant,)*
        }

        impl Op {
            /// All of them.
            pub const ALL: &[Op] = &[$(Op::$variant,)*];

            /// Its name in errors.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Op::$variant => $name,)*
                }
            }
        }
    };
}

operations! {
    /// [`crate::DomainControl::create`]
    DomainCreate = "domain_create",
    /// [`crate::DomainControl::apply_cpu_policy`]
    CpuPolicy = "cpu_policy",
    /// [`crate::DomainControl::pause`]
    DomainPause = "domain_pause",
    /// [`crate::DomainControl::unpause`]
    DomainUnpause = "domain_unpause",
    /// [`crate::DomainControl::shutdown`]
    DomainShutdown = "domain_shutdown",
    /// [`crate::DomainControl::set_handle`]
    DomainSetHandle = "domain_set_handle",
    /// [`crate::DomainControl::resume`]
    DomainResume = "domain_resume",
    /// [`crate::DomainControl::destroy`]
    DomainDestroy = "domain_destroy",
    /// [`crate::DomainControl::list`]
    DomainList = "domain_list",
    /// [`crate::DomainControl::info`]
    DomainInfo = "domain_info",
    /// [`crate::VcpuControl::allocate`]
    VcpuAllocate = "vcpu_allocate",
    /// [`crate::VcpuControl::reclaim`]
    VcpuReclaim = "vcpu_reclaim",
    /// [`crate::VcpuControl::affinity`]
    AffinityGet = "affinity_get",
    /// [`crate::VcpuControl::set_affinity`]
    AffinitySet = "affinity_set",
    /// [`crate::VcpuControl::info`]
    VcpuInfo = "vcpu_info",
    /// [`crate::VcpuControl::credit2`]
    Credit2Get = "credit2_get",
    /// [`crate::VcpuControl::set_credit2`]
    Credit2Set = "credit2_set",
    /// [`crate::DomainMemory::set_max`]
    MemorySetMax = "memory_set_max",
    /// [`crate::DomainMemory::set_paging_pool`]
    MemoryPagingPool = "memory_paging_pool",
    /// [`crate::DomainMemory::set_memory_map_limit`]
    MemoryMapLimit = "memory_map_limit",
    /// [`crate::DomainMemory::set_pod_target`]
    MemoryPodTarget = "memory_pod_target",
    /// [`crate::DomainMemory::claim`]
    MemoryClaim = "memory_claim",
    /// [`crate::HostInfo::physinfo`]
    HostPhysinfo = "host_physinfo",
    /// [`crate::HostInfo::pcpu_times`]
    HostPcpuTimes = "host_pcpu_times",
    /// [`crate::HostInfo::version`]
    HostVersion = "host_version",
    /// [`crate::EventChannels::alloc_unbound`]
    EvtchnAlloc = "evtchn_alloc_unbound",
    /// [`crate::GuestImage::build`]
    GuestBuild = "guest_build",
    /// [`crate::GuestImage::save`]
    GuestSave = "guest_save",
    /// [`crate::GuestImage::save_live`]
    GuestSaveLive = "guest_save_live",
    /// [`crate::GuestImage::restore`]
    GuestRestore = "guest_restore",
    /// [`crate::GuestMemory::gfn_end`]
    MemoryGfnEnd = "memory_gfn_end",
    /// [`crate::GuestMemory::page_types`]
    MemoryPageTypes = "memory_page_types",
    /// [`crate::GuestMemory::map`]
    MemoryMap = "memory_map",
    /// [`crate::GuestMemory::release`]
    MemoryRelease = "memory_release",
    /// [`crate::GuestMemory::log_dirty`]
    LogBegin = "log_begin",
    /// [`crate::DirtyLog::clean`], [`crate::DirtyLog::clean_final`] and [`crate::DirtyLog::peek`]
    LogRead = "log_read",
    /// [`crate::DirtyLog::counts`]
    LogCounts = "log_counts",
    /// [`crate::DirtyLog::end`], or its drop; [`crate::GuestMemory::end_log`]
    LogEnd = "log_end",
    /// [`crate::GuestState::cpu_policy_max`]
    CpuPolicyMax = "cpu_policy_max",
    /// [`crate::GuestState::cpu_policy`]
    StateCpuPolicy = "state_cpu_policy",
    /// [`crate::GuestState::tsc`]
    StateTsc = "state_tsc",
    /// [`crate::GuestState::hvm_context`]
    StateHvmContext = "state_hvm_context",
    /// [`crate::GuestState::hvm_params`]
    StateHvmParams = "state_hvm_params",
    /// [`crate::SharedRings::ring_counters`]
    RingCounters = "ring_counters",
    /// [`crate::StoreOps::read`]
    StoreRead = "store_read",
    /// [`crate::StoreOps::write`]
    StoreWrite = "store_write",
    /// [`crate::StoreOps::directory`]
    StoreDirectory = "store_directory",
    /// [`crate::StoreOps::remove`]
    StoreRemove = "store_remove",
    /// [`crate::StoreOps::make_dir`]
    StoreMakeDir = "store_make_dir",
    /// [`crate::StoreOps::permissions`]
    StorePermissions = "store_permissions",
    /// [`crate::StoreOps::set_permissions`]
    StoreSetPermissions = "store_set_permissions",
    /// [`crate::Store::begin`]
    StoreBegin = "store_begin",
    /// [`crate::StoreTransaction::commit`]
    StoreCommit = "store_commit",
    /// [`crate::Store::watch`]
    StoreWatch = "store_watch",
    /// [`crate::Store::introduce`]
    StoreIntroduce = "store_introduce",
    /// [`crate::Store::release`]
    StoreRelease = "store_release",
    /// [`crate::Store::resume`]
    StoreResume = "store_resume",
    /// [`crate::Store::is_introduced`]
    StoreIsIntroduced = "store_is_introduced",
}

impl Op {
    /// Does it answer with a [`crate::StoreError`] (else with a [`crate::XenError`])?
    #[must_use]
    pub fn is_store(self) -> bool {
        self >= Op::StoreRead
    }
}
