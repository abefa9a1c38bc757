//! What happens in a large day, and how often.

use vmm_proto::v1::BulkOperation;

#[derive(Clone, Copy, Debug)]
pub(super) enum Deed {
    Create,
    Bulk,
    Singles,
    Migrate,
    Cancel,
    Retry,
    Maintenance,
    CrashGuests,
    KillAgents,
    PowerLoss,
    KillManager,
    PullCables,
    Nothing,
}

/// What happens how often.
pub(super) const DEEDS: &[(Deed, u32)] = &[
    (Deed::Create, 14),
    (Deed::Bulk, 20),
    (Deed::Singles, 20),
    (Deed::Migrate, 14),
    (Deed::Cancel, 5),
    (Deed::Retry, 4),
    (Deed::Maintenance, 3),
    (Deed::CrashGuests, 6),
    (Deed::KillAgents, 8),
    (Deed::PowerLoss, 8),
    (Deed::KillManager, 4),
    (Deed::PullCables, 12),
    (Deed::Nothing, 3),
];

/// Bulk operations, and how often each.
pub(super) const BULKS: &[(BulkOperation, u32)] = &[
    (BulkOperation::Start, 10),
    (BulkOperation::Shutdown, 6),
    (BulkOperation::Reboot, 6),
    (BulkOperation::Pause, 4),
    (BulkOperation::Unpause, 4),
    (BulkOperation::Suspend, 3),
    (BulkOperation::Resume, 3),
    (BulkOperation::Save, 3),
    (BulkOperation::Restore, 4),
    (BulkOperation::Destroy, 6),
    (BulkOperation::Delete, 6),
];
