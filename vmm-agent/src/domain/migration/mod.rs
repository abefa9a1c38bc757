//! VMs that come and go while they run: who may run the copy, and when.
//!
//! ```text
//!   source       record ─ connect ─ send ─ settle disks ─► await ready ─ record offered ─► verdict ─► the copy is destroyed, or the guest goes on
//!                                              │ pages       │                             ▲
//!   destination  shell ─ tree, NICs ─ receive ───▼─── disks ─ READY ─► verdict ─ record arrived ─ unpause ─ devices used again
//! ```
//!
//! - [`table`]: the migrations of this host, by VM: which, with whom, how far, and the verdict once it is told.
//! - [`source`]: the runner's part on the host that the VM leaves; [`link`] and [`pilot`] are what the data path ([`crate::migrate`]) asks for.
//! - [`destination`]: the steps on the host that it comes to.
//! - [`disks`]: what the guest has written is where the other host reads it.
//! - [`reattach`]: when the guest uses its devices again, and is heard on its network.
//!
//! # Who decides
//!
//! Only the destination can start the copy, and it does so only when the manager has said `commit`. The source, once it has offered the VM (told
//! anybody that the destination has all of it), lets the guest go on only when it knows that the destination will not start it: because the manager
//! says `abort`, or the destination itself says that it has discarded its copy. So at every instant at most one side runs the VM (MIG1),
//! whoever dies and whatever message is lost.
//!
//! # How it fails
//!
//! | what happens | before READY | READY, nothing offered | offered, no verdict | verdict told |
//! |---|---|---|---|---|
//! | an error, a cancel, the link is cut | source goes on; destination discards | source goes on; destination waits to be told | both wait | it is carried out |
//! | the source's agent dies | the next one lets the guest go on | likewise | the next one waits for the verdict | carried out by the next one |
//! | the destination's agent dies | the next one removes the half VM | likewise | likewise: discarded, and it says so | found paused and started, or it runs |
//! | no manager | nothing changes | nothing changes | after [`source::ALONE`] the source asks the destination to discard, and goes on once it has | nothing changes |
//!
//! What is told in the report and answered to `AwaitMigration` is a [`Stage`].

pub(crate) mod destination;
mod disks;
pub(crate) mod link;
pub(crate) mod pilot;
pub(crate) mod reattach;
pub(crate) mod source;
pub(crate) mod table;

pub(crate) use table::{Migration, MigrationId, Migrations, Side, Stage, Verdict};
