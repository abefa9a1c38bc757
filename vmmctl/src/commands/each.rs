//! The same for each of several objects, a few at once.
//!
//! ```text
//!   names ─► at most AT_ONCE at a time ─► a line each, as it ends ─► the gravest exit code
//!                                          └► programs get one answer: an object for one name, a list for several
//! ```
//!
//! What fails does not stop the others. One name alone answers as if there were no others: the wire's own answer, and its own failure.

use futures_util::StreamExt as _;
use serde::Serialize;
use vmm_proto::v1::{Done, Task};

use crate::failure::{Failure, gravest};
use crate::output::{Answer, Column, Look, Told, visible_lines};
use crate::progress::Board;
use crate::wait::attended;

/// How many are asked for at once. The manager queues what its hosts cannot do at once; this spares the caller's share of it.
pub(crate) const AT_ONCE: usize = 8;

/// What came of one.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Acted {
    name: String,
    exit_code: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    task: Option<Task>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// Missing: there is nothing to say but the failure.
    #[serde(skip)]
    said: Option<String>,
    #[serde(skip)]
    failure: Option<Failure>,
}

impl Acted {
    /// It was done at once.
    pub(crate) fn at_once(name: &str, said: String) -> Self {
        Self { name: name.to_owned(), said: Some(said), ..Self::default() }
    }

    /// A task did it.
    pub(crate) fn by(mut self, task: Task) -> Self {
        self.task = Some(task);
        self
    }

    /// It was not done, or not all of it.
    pub(crate) fn failed(mut self, failure: Failure) -> Self {
        self.exit_code = failure.exit_code();
        self.error = Some(failure.to_string());
        self.failure = Some(failure);
        self
    }

    /// Nothing came of it.
    pub(crate) fn not(name: &str, failure: Failure) -> Self {
        Self { name: name.to_owned(), ..Self::default() }.failed(failure)
    }
}

type OfActed = Column<Acted>;

const COLUMNS: &[OfActed] = &[
    OfActed::text("name", |acted| acted.name.clone()),
    OfActed::count("exit_code", |acted| Some(acted.exit_code.into())),
    OfActed::text("task", |acted| {
        acted.task.as_ref().map(|task| task.task.clone()).unwrap_or_default()
    }),
    OfActed::text("error", |acted| acted.error.clone().unwrap_or_default()),
];

/// Does it for each, and tells.
pub(crate) async fn each(
    look: &Look,
    names: &[String],
    act: impl AsyncFn(&str, &Board) -> Acted,
) -> Result<(), Failure> {
    let board = Board::new(names.len());
    let several = names.len() > 1;
    let acts = futures_util::stream::iter(names).map(|name| act(name, &board));
    let mut acts = acts.buffer_unordered(AT_ONCE);
    let mut all = Vec::new();
    let work = async {
        while let Some(acted) = acts.next().await {
            board.over(acted.task.as_ref().map(|task| task.task.as_str()));
            if several {
                board.aside(|| tell_line(look, &acted))?;
            }
            all.push(acted);
        }
        Ok::<(), Failure>(())
    };
    attended(&board, work).await??;
    drop(acts);
    drop(board);
    if several {
        tell_all(look, names, all)
    } else {
        all.pop().map_or(Ok(()), |one| alone(look, one))
    }
}

/// A line of one among several, for people.
fn tell_line(look: &Look, acted: &Acted) -> Result<(), Failure> {
    if let Some(failure) = &acted.failure {
        eprintln!("vmmctl: {}: {}", acted.name, visible_lines(&failure.to_string()));
    }
    match &acted.said {
        Some(said) if look.is_for_people() && look.columns.is_empty() => {
            look.print(&Answer::one(acted, COLUMNS).told(|| Told::line(said)))
        }
        _ => Ok(()),
    }
}

fn tell_all(look: &Look, names: &[String], mut all: Vec<Acted>) -> Result<(), Failure> {
    // They end as they like, and are told in the order in which they were named.
    all.sort_by_key(|acted| names.iter().position(|name| *name == acted.name));
    if !look.is_for_people() || !look.columns.is_empty() {
        look.print(&Answer::list(&all, COLUMNS))?;
    }
    let failed = all.iter().filter(|acted| acted.failure.is_some()).count();
    if failed == 0 {
        return Ok(());
    }
    let exit_code = gravest(all.iter().map(|acted| acted.exit_code));
    let message = format!("{failed} of {} were not done, as said above", all.len());
    Err(Failure::Several { exit_code, message })
}

/// The answer is the wire's own.
fn alone(look: &Look, mut acted: Acted) -> Result<(), Failure> {
    let failure = acted.failure.take();
    if let Some(said) = &acted.said {
        let answer = Answer::one(&acted, COLUMNS).told(|| Told::line(said));
        look.print(&match &acted.task {
            Some(task) => answer.whole(task)?,
            None => answer.whole(&Done {})?,
        })?;
    }
    failure.map_or(Ok(()), Err)
}
