//! `vmmctl task list`

use vmm_proto::v1::{ListTasks, Reply, Request, Task};

use crate::failure::Failure;
use crate::output::{print, table};
use crate::session::{Session, unexpected};

pub(super) async fn run(session: &Session) -> Result<(), Failure> {
    match session.call(Request::ListTasks(ListTasks::default())).await? {
        Reply::Tasks(tasks) => print(session.format, &tasks.tasks, |tasks| show(tasks)),
        other => Err(unexpected(&other)),
    }
}

fn show(tasks: &[Task]) -> String {
    let rows: Vec<_> = tasks.iter().map(row).collect();
    table(&["TASK", "VERB", "VM", "STATE", "STEP", "FAULT"], &rows)
}

fn row(task: &Task) -> Vec<String> {
    vec![
        task.task.clone(),
        task.verb.clone(),
        task.vm_name.clone(),
        format!("{:?}", task.state),
        task.step.clone(),
        task.fault.as_ref().map(ToString::to_string).unwrap_or_default(),
    ]
}
