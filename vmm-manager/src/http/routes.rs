//! The table of routes: which verb stands where. Everything else follows from the verb.
//!
//! A GET looks, and its other fields are parameters of the query. A change is a POST, or a PUT of what shall be, or a DELETE; its other fields
//! are the body's, a DELETE's the query's. `{names}` in a path are fields of the verb.

/// How a route is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Method {
    Get,
    Post,
    Put,
    Delete,
}

impl Method {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Post => "post",
            Self::Put => "put",
            Self::Delete => "delete",
        }
    }

    /// Has it a body?
    pub(super) fn has_body(self) -> bool {
        matches!(self, Self::Post | Self::Put)
    }
}

/// One route.
#[derive(Clone, Copy, Debug)]
pub(super) struct Route {
    pub(super) method: Method,
    /// Behind [`ROOT`].
    pub(super) path: &'static str,
    pub(super) verb: &'static str,
    /// The reply that it gives when it is done.
    pub(super) reply: &'static str,
    pub(super) about: &'static str,
}

/// Before every path.
pub(super) const ROOT: &str = "/api/v1";

/// Verbs of the manager that are not here, and why.
pub(super) const LEFT_OUT: &[(&str, &str)] = &[(
    "RenewCertificate",
    "it signs for the keys of a certificate, and who calls here has none; a token is renewed by making another",
)];

const fn get(
    path: &'static str,
    verb: &'static str,
    reply: &'static str,
    about: &'static str,
) -> Route {
    Route { method: Method::Get, path, verb, reply, about }
}

const fn put(path: &'static str, verb: &'static str, about: &'static str) -> Route {
    Route { method: Method::Put, path, verb, reply: "Done", about }
}

const fn delete(
    path: &'static str,
    verb: &'static str,
    reply: &'static str,
    about: &'static str,
) -> Route {
    Route { method: Method::Delete, path, verb, reply, about }
}

const fn task(path: &'static str, verb: &'static str, about: &'static str) -> Route {
    Route { method: Method::Post, path, verb, reply: "Task", about }
}

const fn done(path: &'static str, verb: &'static str, about: &'static str) -> Route {
    Route { method: Method::Post, path, verb, reply: "Done", about }
}

/// All of them.
pub(super) const ROUTES: &[Route] = &[
    get("/ping", "Ping", "Pong", "Answers with the same text"),
    get("/sites", "ListSites", "Sites", "Sites that are wanted, a page of them"),
    put("/sites/{site}", "DefineSite", "Makes a site, or changes it"),
    delete("/sites/{site}", "RemoveSite", "Done", "Forgets a site without pools"),
    get("/pools", "ListPools", "Pools", "Pools that are wanted, a page of them"),
    put("/pools/{pool}", "DefinePool", "Makes a pool, or changes it"),
    delete("/pools/{pool}", "RemovePool", "Done", "Forgets a pool without hosts"),
    get("/hosts", "ListHosts", "Hosts", "Hosts that are wanted, a page of them"),
    Route {
        method: Method::Post,
        path: "/hosts",
        verb: "AddHost",
        reply: "HostRef",
        about: "Takes a host in; adding the same one again is the same host",
    },
    delete("/hosts/{host}", "RemoveHost", "Done", "Forgets a host without VMs"),
    done("/hosts/{host}/maintenance", "SetMaintenance", "Switches placements on a host off or on"),
    task(
        "/hosts/{host}/evacuate",
        "EvacuateHost",
        "Moves all VMs off a host, and lets no new one come",
    ),
    done("/hosts/{host}/pool", "SetHostPool", "Puts a host with nothing on it into a pool"),
    done("/hosts/{host}/labels", "LabelHost", "Changes tags and notes of a host"),
    get("/hosts/{host}/stats", "GetHostStats", "HostStats", "What a host counts just now"),
    get("/vms", "ListVms", "Vms", "VMs that are wanted, a page of them"),
    task(
        "/vms",
        "CreateVm",
        "Defines a VM, chooses its host and starts it; a dry run says which host, and why",
    ),
    task(
        "/batch",
        "CreateVms",
        "Defines many VMs, chooses their hosts together and starts them; a dry run says where each would go",
    ),
    get("/vms/{vm}", "ShowVm", "Vm", "One VM, by id or name"),
    delete("/vms/{vm}", "DeleteVm", "Done", "Forgets a stopped VM"),
    task("/vms/{vm}/start", "StartVm", "Chooses a host for a stopped VM and starts it"),
    task("/vms/{vm}/pause", "PauseVm", "Stops its vCPUs"),
    task("/vms/{vm}/unpause", "UnpauseVm", "Lets them run again"),
    task("/vms/{vm}/shutdown", "ShutdownVm", "Asks the guest to power off, and waits until it has"),
    task("/vms/{vm}/reboot", "RebootVm", "Asks the guest to reboot, and waits until it runs again"),
    task("/vms/{vm}/suspend", "SuspendVm", "Asks the guest to suspend, and waits until it has"),
    task("/vms/{vm}/resume", "ResumeVm", "Lets a suspended guest go on"),
    task(
        "/vms/{vm}/save",
        "SaveVm",
        "Writes its memory to a file on its host, and takes it off the host",
    ),
    task("/vms/{vm}/restore", "RestoreVm", "Continues a saved VM on the host that has its file"),
    done(
        "/vms/{vm}/discard-saved",
        "DiscardSaved",
        "A saved VM becomes an ordinary stopped one; the file stays",
    ),
    task(
        "/vms/{vm}/destroy",
        "DestroyVm",
        "Ends it without asking the guest; its definition stays",
    ),
    task("/vms/{vm}/migrate", "MigrateVm", "Moves a VM that runs to another host of its pool"),
    task("/vms/{vm}/vcpus", "SetVcpus", "Brings vCPUs online or offline until so many are"),
    task("/vms/{vm}/memory", "SetMemory", "Moves the balloon until the guest has so much"),
    task("/vms/{vm}/rename", "RenameVm", "Gives it another name"),
    task("/vms/{vm}/configure", "ConfigureVm", "Changes what needs no guest"),
    Route {
        method: Method::Put,
        path: "/vms/{vm}/pin",
        verb: "PinVm",
        reply: "Task",
        about: "Says which hosts it may be on; without a pin, any of its pool",
    },
    done("/vms/{vm}/labels", "LabelVm", "Changes tags, folder and notes of a VM"),
    task("/vms/{vm}/disks", "AttachDisk", "Gives it one more disk"),
    delete("/vms/{vm}/disks/{device}", "DetachDisk", "Task", "Takes a disk from it"),
    task("/vms/{vm}/disks/{device}/resize", "ResizeDisk", "Makes an attached disk larger"),
    task("/vms/{vm}/nics", "AttachNic", "Gives it one more NIC"),
    delete("/vms/{vm}/nics/{index}", "DetachNic", "Task", "Takes a NIC from it"),
    get(
        "/vms/{vm}/console",
        "ReadConsole",
        "ConsoleText",
        "The last that the guest wrote to its console",
    ),
    get("/vms/{vm}/stats", "GetVmStats", "VmStats", "What a VM counts just now"),
    get("/groups", "ListGroups", "Groups", "Groups of VMs that are wanted, a page of them"),
    get(
        "/groups/{group}",
        "ShowGroup",
        "Group",
        "One group, by id or name: its VMs, and where they are",
    ),
    Route {
        method: Method::Put,
        path: "/groups/{group}",
        verb: "DefineGroup",
        reply: "Task",
        about: "Makes a group of VMs, or changes it and who is in it",
    },
    delete("/groups/{group}", "RemoveGroup", "Done", "Forgets a group; its VMs stay"),
    get("/labels", "ListLabels", "Labels", "The tags and folders in use"),
    get("/tasks", "ListTasks", "Tasks", "The latest tasks, the newest first"),
    get(
        "/tasks/{task}",
        "WaitTask",
        "Task",
        "One task; with `wait`, when it is over or so many seconds are",
    ),
    task("/tasks/{task}/cancel", "CancelTask", "Takes a task back, if that is still possible"),
    task("/tasks/{task}/retry", "RetryTask", "Asks again for what failed or was cancelled"),
    task("/bulk", "BulkVms", "One operation on many VMs: a task with a child for each"),
    get("/orphans", "ListOrphans", "Orphans", "Domains of ours that no VM of the pool has"),
    delete("/hosts/{host}/orphans/{vm}", "DestroyOrphan", "Task", "Ends such a domain"),
    get("/plans/moves", "PlanMoves", "Plan", "Which moves would pay now; nothing is moved"),
    get(
        "/hosts/{host}/evacuation-plan",
        "PlanEvacuation",
        "Plan",
        "Where everybody on a host would go",
    ),
    get(
        "/vms/{vm}/growth-plan",
        "PlanGrowth",
        "Growth",
        "How a VM that runs would get this much in all: in place, or by a move",
    ),
    get(
        "/vms/{vm}/migration-plan",
        "PlanMigration",
        "MigrationPlan",
        "Where a VM that runs would move, and why nowhere else; nothing is moved",
    ),
    get("/decisions", "ListDecisions", "Decisions", "What the scheduler decided, the latest first"),
    get(
        "/decisions/{decision}",
        "ShowDecision",
        "Decision",
        "One decision, made again with every host's cost by terms",
    ),
    get(
        "/decisions/{decision}/record",
        "ReadDecision",
        "DecisionText",
        "A piece of the text that a decision was made of",
    ),
    get(
        "/events",
        EVENTS,
        "Events",
        "What has changed since a cursor; asked for as text/event-stream, what changes from then on",
    ),
];

/// The verb that can be followed.
pub(super) const EVENTS: &str = "WaitEvents";

impl Route {
    /// The fields in its path.
    pub(super) fn in_path(&self) -> impl Iterator<Item = &'static str> {
        self.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
    }

    pub(super) fn whole_path(&self) -> String {
        format!("{ROOT}{}", self.path)
    }
}

/// What is meant where a field that must be said is not.
pub(super) fn default_of(route: &Route, field: &str) -> Option<serde_json::Value> {
    /// How long a guest may take.
    const GUEST_WAIT_MS: u64 = 30_000;
    const CONSOLE_BYTES: u64 = 65_536;
    const EVENTS_COUNT: u64 = 1000;
    match field {
        "wait_ms_max" if route.method == Method::Get => Some(0.into()),
        "wait_ms_max" => Some(GUEST_WAIT_MS.into()),
        "cursor" | "text" => Some("".into()),
        "dry_run" => Some(false.into()),
        "bytes_max" => Some(CONSOLE_BYTES.into()),
        "count_max" if route.verb == EVENTS => Some(EVENTS_COUNT.into()),
        _ => None,
    }
}

/// Other names of fields, as they are usual in queries.
pub(super) fn field_of(parameter: &str) -> &str {
    match parameter {
        "limit" => "count_max",
        other => other,
    }
}

/// As [`field_of`], the other way.
pub(super) fn parameter_of(field: &str) -> &str {
    match field {
        "count_max" => "limit",
        other => other,
    }
}
