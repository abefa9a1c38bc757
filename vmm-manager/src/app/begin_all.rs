//! How many changes begin together: their parent, its parts and all that they reserve, in one transaction.

use std::sync::Arc;

use vmm_proto::v1::{self, Fault, FaultCode, TaskState};

use super::App;
use super::begin::{Begin, Origin, Target, store_fault};
use super::state::State;
use crate::store::{Item, KeyedReply, Put, TaskRecord};

/// One change among many.
pub(crate) enum Part {
    /// It is decided.
    Planned(Box<Begin>, v1::Placement),
    /// It was refused.
    Refused(Item, Origin, Fault),
}

impl Part {
    fn item(&self) -> Item {
        match self {
            Self::Planned(begin, _) => Item { vm: begin.vm, name: begin.vm_name.clone(), to: None },
            Self::Refused(item, ..) => item.clone(),
        }
    }
}

impl App {
    /// Stores all of it, and answers with the parent. Each part waits for its turn: [`App::start_next`] is to be called when the lock is free.
    pub(crate) fn begin_all(
        self: &Arc<Self>,
        state: &mut State,
        parts: Vec<Part>,
        mut origin: Origin,
    ) -> Result<TaskRecord, Fault> {
        self.check_takes_changes()?;
        state.check_room_for_tasks(self.config.queued_tasks_max, parts.len())?;
        let items: Vec<Item> = parts.iter().map(Part::item).collect();
        let all = u64::try_from(items.len()).ok();
        let mut parent = state.new_task(self, Target::Vms(items), &origin);
        (parent.shown.progress_done, parent.shown.progress_all) = (Some(0), all);
        parent.shown.started_ms = parent.shown.created_ms;
        let reply = KeyedReply::Task(parent.shown.task.clone());
        let mut batch = state.remember(origin.key.take(), reply, self);
        batch.push(Put::Task(Box::new(parent.clone())));
        for (number, part) in (parent.number + 1..).zip(parts) {
            let (puts, record) = self.part(state, &parent, part);
            batch.extend(puts);
            batch.push(Put::Task(Box::new(TaskRecord { number, ..record })));
        }
        state.commit(batch).map_err(|error| store_fault(&error))?;
        Ok(parent)
    }

    fn part(&self, state: &State, parent: &TaskRecord, part: Part) -> (Vec<Put>, TaskRecord) {
        let of_parent = |origin: &mut Origin| origin.parent = Some(parent.id);
        match part {
            Part::Planned(mut begin, placement) => {
                of_parent(&mut begin.origin);
                let mut record = state.planned_task(self, &begin);
                if !record.is_queued() {
                    record.shown.started_ms = None;
                    record.queue(self.now_ms(), "its turn among the others".to_owned());
                }
                record.shown.placement = Some(placement);
                (begin.puts, record)
            }
            Part::Refused(item, mut origin, fault) => {
                of_parent(&mut origin);
                (
                    Vec::new(),
                    self.refused_task(state, Target::Vm(item.vm, item.name), &origin, fault),
                )
            }
        }
    }
}

impl State {
    fn check_room_for_tasks(&self, queued_max: usize, count: usize) -> Result<(), Fault> {
        let waiting = self.turns.waiting_count();
        if waiting + count <= queued_max {
            return Ok(());
        }
        let message = format!(
            "{waiting} tasks are queued, and {count} more are too many: {queued_max} may be; wait for some of them"
        );
        Err(Fault::new(FaultCode::Busy, message))
    }
}

impl TaskRecord {
    /// It waits for its turn.
    pub(super) fn queue(&mut self, now_ms: u64, waits_for: String) {
        self.shown.state = TaskState::Queued;
        self.shown.step = "queued".to_owned();
        self.log(now_ms, &format!("queued: waits for {waits_for}"));
        self.shown.waits_for = Some(waits_for);
    }
}
