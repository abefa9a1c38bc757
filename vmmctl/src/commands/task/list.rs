//! `vmmctl task list`

use vmm_core::query::{Fields as _, Query, Record, Sort, TaskField, Value};
use vmm_proto::v1::{ListTasks, Reply, Request, Task};

use super::{COLUMNS, state};
use crate::args::Listing;
use crate::changes::Kinds;
use crate::commands::live::{self, Source};
use crate::failure::Failure;
use crate::session::{Session, unexpected};
use crate::wanted::{Wanted, pages};

pub(super) async fn run(session: &Session, listing: Listing) -> Result<(), Failure> {
    listing.wanted.check::<TaskField>()?;
    live::list(session, listing, Source { kinds: Kinds::TASKS, columns: COLUMNS }, tasks).await
}

/// The tasks that are wanted, the newest first unless another order is.
pub(crate) async fn tasks(session: &Session, wanted: &Wanted) -> Result<Vec<Task>, Failure> {
    let tasks = pages(async |after| {
        let list = ListTasks { after, ..ListTasks::default() };
        match session.call(Request::ListTasks(list)).await? {
            Reply::Tasks(page) => Ok((page.tasks, page.next)),
            other => Err(unexpected(&other)),
        }
    });
    select(tasks.await?, wanted)
}

/// The wire has no query for tasks, so that it is answered here.
fn select(tasks: Vec<Task>, wanted: &Wanted) -> Result<Vec<Task>, Failure> {
    let wrong = |error: vmm_core::query::QueryError| Failure::Usage(error.to_string());
    let query = Query::<TaskField>::parse(wanted.query.as_deref().unwrap_or_default());
    let query = query.map_err(wrong)?;
    let mut rows: Vec<Row> = tasks.into_iter().map(Row).filter(|row| query.matches(row)).collect();
    if let Some(sort) = wanted.sort() {
        let sort = Sort::parse(&sort).map_err(wrong)?;
        rows.sort_by(|one, other| sort.compare(one, other));
    }
    Ok(rows.into_iter().map(|row| row.0).collect())
}

/// A task as queries see it.
struct Row(Task);

impl Record for Row {
    type Field = TaskField;

    fn value(&self, field: TaskField) -> Value<'_> {
        match field {
            TaskField::Name => Value::Text(&self.0.vm_name),
            TaskField::Id => Value::Missing,
            TaskField::Verb => Value::Text(&self.0.verb),
            TaskField::Status => place_of(state(self.0.state)).into(),
            TaskField::Step => Value::Text(&self.0.step),
        }
    }

    fn any(&self, field: TaskField, test: &mut dyn FnMut(&str) -> bool) -> bool {
        field == TaskField::Id && test(&self.0.task)
    }

    fn tie(&self) -> [u8; 16] {
        let mut tie = [0; 16];
        tie.iter_mut().zip(self.0.task.bytes()).for_each(|(to, from)| *to = from);
        tie
    }
}

/// The place of a word in the words of [`TaskField::Status`].
fn place_of(word: &str) -> Option<u64> {
    let vmm_core::query::FieldType::Words(words) = TaskField::Status.field().field_type else {
        return None;
    };
    let place = words.words.iter().position(|known| *known == word)?;
    u64::try_from(place).ok()
}

#[cfg(test)]
mod tests {
    use vmm_proto::v1::TaskState;

    use super::*;

    fn task(id: &str, vm_name: &str, state: TaskState) -> Task {
        Task {
            task: id.into(),
            verb: "StartVm".into(),
            vm_name: vm_name.into(),
            state,
            ..Task::default()
        }
    }

    fn check(query: &str, expect: &[&str]) {
        let tasks = vec![
            task("3", "web", TaskState::Running),
            task("2", "db", TaskState::Failed),
            task("1", "web", TaskState::Done),
        ];
        let found = select(tasks, &Wanted::by(Some(query.to_owned()))).expect("a query");
        assert_eq!(found.iter().map(|task| task.task.as_str()).collect::<Vec<_>>(), expect);
    }

    #[test]
    fn tasks_are_found_as_other_objects_are_and_stay_in_order() {
        check("", &["3", "2", "1"]);
        check("status=open", &["3"]);
        check("status=over", &["2", "1"]);
        check("web", &["3", "1"]);
        check("id=2", &["2"]);
        check("verb=startvm and not db", &[]);
        check("verb=StartVm and not db", &["3", "1"]);
    }

    #[test]
    fn every_state_of_a_task_is_a_word_of_the_language() {
        for known in [
            TaskState::Queued,
            TaskState::Running,
            TaskState::Cancelling,
            TaskState::Done,
            TaskState::Failed,
            TaskState::Cancelled,
        ] {
            assert!(place_of(state(known)).is_some(), "{known:?}");
        }
    }
}
