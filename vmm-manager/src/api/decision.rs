//! Decisions that were kept: which there are, what each was made of, and what it would be again.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use vmm_core::scheduler::Vm;
use vmm_core::scheduler::record::{Answer, Question};
use vmm_proto::convert::batch::shown_batch;
use vmm_proto::convert::plan::{shown_growth, shown_plan, shown_relocation};
use vmm_proto::v1::{
    CarryOut, Decision, DecisionText, Decisions, Fault, FaultCode, ListDecisions, Placement,
    ReadDecision, Reply, ShowDecision,
};

use crate::app::{App, State, Unreadable};
use crate::store::DecisionRecord;

/// Decisions in an answer, unless fewer are asked for.
const COUNT_MAX: u32 = 200;
/// Bytes of a record in an answer.
const PIECE_BYTES: usize = 256 << 10;

pub(super) fn list(app: &App, asked: &ListDecisions) -> Reply {
    let state = app.lock();
    let count = asked.count_max.unwrap_or(COUNT_MAX).clamp(1, COUNT_MAX);
    let is_wanted = |made: &&DecisionRecord| asked.vm.as_ref().is_none_or(|vm| is_about(made, vm));
    let mut found = state.decisions.before(asked.before.unwrap_or(u64::MAX)).filter(is_wanted);
    let some = found.by_ref().take(usize::try_from(count).unwrap_or(usize::MAX));
    let decisions: Vec<Decision> = some.map(shown_briefly).collect();
    let next = decisions.last().map(|last| last.decision).filter(|_| found.next().is_some());
    Reply::Decisions(Decisions { next, decisions })
}

/// By its id, or by the name that it had.
fn is_about(made: &DecisionRecord, vm: &str) -> bool {
    made.vm.is_some_and(|id| id.to_string() == vm) || made.vm_name.as_deref() == Some(vm)
}

pub(super) fn show(app: &App, asked: &ShowDecision) -> Result<Reply, Fault> {
    let made = find(app, asked.decision)?;
    let record = made.record().map_err(|error| unreadable(&error))?;
    let mut decision = shown_briefly(&made);
    decision.carry_out = made.carried.map(|carried| as_now(&app.lock(), carried));
    match record.replay() {
        Answer::Place(placed) => decision.placement = placed.as_ref().map(Placement::from),
        Answer::Plan(plan) => decision.plan = Some(shown_plan(&record.pool, &plan)),
        Answer::Grow(growth) => {
            decision.growth = growth.map(|growth| shown_growth(&record.pool, &growth));
        }
        Answer::Relocate(found) => {
            decision.growth = found.map(|found| shown_relocation(&record.pool, &found));
        }
        Answer::Batch(batch) => {
            let is_new = |vm: &&Vm| match &record.question {
                Question::Batch(new, _) => new.contains(&vm.id),
                _ => false,
            };
            let vms: Vec<Vm> = record.pool.vms.iter().filter(is_new).cloned().collect();
            decision.placements = Some(shown_batch(&record.pool, &vms, &batch));
        }
    }
    Ok(Reply::Decision(Box::new(decision)))
}

pub(super) fn read(app: &App, asked: &ReadDecision) -> Result<Reply, Fault> {
    let text = find(app, asked.decision)?.text().map_err(|error| unreadable(&error))?;
    let bytes = text.as_bytes();
    let offset = usize::try_from(asked.offset.unwrap_or(0)).unwrap_or(usize::MAX);
    let rest = bytes.get(offset..).unwrap_or_default();
    let piece = rest.get(..PIECE_BYTES).unwrap_or(rest);
    let size_bytes = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    Ok(Reply::DecisionText(DecisionText { size_bytes, data: BASE64.encode(piece) }))
}

fn find(app: &App, number: u64) -> Result<DecisionRecord, Fault> {
    app.lock().decisions.get(number).cloned().ok_or_else(|| {
        let message = format!("no decision {number}; only the latest are kept, see `vmmctl decision list` (ListDecisions)");
        Fault::new(FaultCode::BadRequest, message)
    })
}

fn unreadable(error: &Unreadable) -> Fault {
    Fault::new(FaultCode::Internal, format!("the record of the decision is damaged: {error}"))
}

/// With what the tasks of its moves say now.
fn as_now(state: &State, mut carried: CarryOut) -> CarryOut {
    for moved in carried.moves.iter_mut().filter(|moved| !moved.state.is_over()) {
        let task = moved.task.as_deref().and_then(|task| state.task_named(task).ok());
        if let Some(task) = task {
            moved.state = task.record.shown.state;
            moved.message = task.record.shown.fault.as_ref().map(|fault| fault.message.clone());
        }
    }
    carried
}

fn shown_briefly(made: &DecisionRecord) -> Decision {
    let brief = |carried: &CarryOut| CarryOut { moves: Vec::new(), ..carried.clone() };
    Decision {
        decision: made.number,
        at_ms: made.at_ms,
        question: made.question,
        vm: made.vm.map(|vm| vm.to_string()),
        vm_name: made.vm_name.clone(),
        task: made.task.map(|task| task.to_string()),
        answer: made.answer.clone(),
        carry_out: made.carried.as_ref().map(brief),
        ..Decision::default()
    }
}
