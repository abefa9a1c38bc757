//! Progress on stderr: one line that is drawn anew, where a person looks; nothing in a pipe.
//!
//! A [`Board`] knows the tasks that are waited for. It is drawn when one of them changes and once in a while, so that the seconds
//! count on; what is said meanwhile goes through [`Board::aside`], so that it does not land in the line.

use std::cell::RefCell;
use std::convert::Infallible;
use std::io::Write as _;
use std::time::Duration;

use tokio::time::Instant;
use vmm_proto::v1::{Migration, Task};

use crate::output::{cut, visible};
use crate::screen::Screen;

/// The line is drawn anew after this long at the latest.
const TICK: Duration = Duration::from_millis(250);
/// Cells of a bar.
const BAR: u64 = 10;
/// Back to the first column, and away with what stands there.
const CLEAR: &str = "\r\x1b[K";

/// What is waited for.
pub(crate) struct Board {
    screen: Screen,
    all: usize,
    begun: Instant,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    over: usize,
    under_way: Vec<Task>,
    is_drawn: bool,
}

impl Board {
    /// A board for so many.
    pub(crate) fn new(all: usize) -> Self {
        let screen = Screen::stderr();
        Self { screen, all, begun: Instant::now(), state: RefCell::default() }
    }

    /// Where a task stands now.
    pub(crate) fn show(&self, task: &Task) {
        let mut state = self.state.borrow_mut();
        match state.under_way.iter_mut().find(|known| known.task == task.task) {
            Some(known) => known.clone_from(task),
            None => state.under_way.push(task.clone()),
        }
        drop(state);
        self.draw();
    }

    /// One is over; its task, if it had one, is not waited for any more.
    pub(crate) fn over(&self, task: Option<&str>) {
        let mut state = self.state.borrow_mut();
        state.over += 1;
        state.under_way.retain(|known| task != Some(known.task.as_str()));
    }

    /// The tasks that are waited for.
    pub(crate) fn under_way(&self) -> Vec<String> {
        self.state.borrow().under_way.iter().map(|task| task.task.clone()).collect()
    }

    /// Does what writes to the terminal.
    pub(crate) fn aside<R>(&self, write: impl FnOnce() -> R) -> R {
        self.clear();
        let result = write();
        self.draw();
        result
    }

    /// Lets the seconds count on, for ever.
    pub(crate) async fn ticks(&self) -> Infallible {
        loop {
            tokio::time::sleep(TICK).await;
            self.draw();
        }
    }

    fn draw(&self) {
        if !self.screen.is_terminal {
            return;
        }
        let mut state = self.state.borrow_mut();
        let line = line(&state.under_way, (state.over, self.all), self.begun.elapsed());
        if line.is_empty() {
            return;
        }
        state.is_drawn = true;
        // A line that reaches the edge would go on below.
        let width = self.screen.width.map_or(usize::MAX, |width| width.saturating_sub(1));
        to_stderr(&format!("{CLEAR}{}", cut(&visible(&line), width)));
    }

    fn clear(&self) {
        if std::mem::take(&mut self.state.borrow_mut().is_drawn) {
            to_stderr(CLEAR);
        }
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        self.clear();
    }
}

fn to_stderr(text: &str) {
    let mut stderr = std::io::stderr().lock();
    // Whoever closed it does not want to see it.
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}

fn line(under_way: &[Task], (over, all): (usize, usize), elapsed: Duration) -> String {
    let seconds = elapsed.as_secs();
    match (under_way, all) {
        ([], _) => String::new(),
        ([one], 0 | 1) => format!("{}, {seconds} s", alone(one)),
        (several, _) => {
            let each: Vec<String> = several.iter().map(beside_others).collect();
            format!("{over} of {all} done, {seconds} s: {}", each.join("; "))
        }
    }
}

fn alone(task: &Task) -> String {
    let (vm_name, verb) = (about(task), &task.verb);
    if let Some(migration) = &task.migration {
        return format!("{vm_name}: {verb} {}", moving(migration));
    }
    if let (Some(place), Some(what)) = (task.place, &task.waits_for) {
        return format!("{vm_name}: {verb} waits for {what}, at place {place}");
    }
    match counted(&task.step) {
        Some((words, step, all)) => {
            format!("{vm_name}: {verb} [{}] {step} of {all}: {words}", bar(step, all))
        }
        None => format!("{vm_name}: {verb} {}", task.step),
    }
}

/// The VM, or what else it is about.
fn about(task: &Task) -> &str {
    let other = task.target_name.as_deref().filter(|_| task.vm_name.is_empty());
    other.unwrap_or(&task.vm_name)
}

fn beside_others(task: &Task) -> String {
    let words = counted(&task.step).map_or(task.step.as_str(), |(words, ..)| words);
    if words.is_empty() { about(task).to_owned() } else { format!("{} {words}", about(task)) }
}

/// How far a move is: what travelled of what is to travel, and how long it takes.
fn moving(migration: &Migration) -> String {
    let Migration { sent_bytes, left_bytes, rounds, .. } = migration;
    let doing = migration
        .activity
        .map_or_else(|| format!("{:?}", migration.stage), |activity| format!("{activity:?}"));
    let mib = |bytes: u64| bytes >> 20;
    let mut text = format!(
        "[{}] {}: {} MiB sent, {} MiB left",
        bar(mib(*sent_bytes).saturating_add(1), mib(sent_bytes.saturating_add(*left_bytes)).max(1)),
        hyphenated(&doing),
        mib(*sent_bytes),
        mib(*left_bytes)
    );
    if *rounds > 1 {
        text.push_str(&format!(", round {rounds}"));
    }
    let mut add = |value: Option<u64>, before: &str, unit: &str| {
        if let Some(value) = value {
            text.push_str(&format!(", {before}{value} {unit}"));
        }
    };
    add(migration.dirty_bytes_per_s.map(mib), "", "MiB/s written");
    add(migration.downtime_ms, "standstill ", "ms");
    add(migration.brake_percent.map(u64::from), "slowed by ", "%");
    add(migration.left_ms.map(|ms| ms.div_ceil(1000)), "about ", "s left");
    text
}

/// `FirstPass` is first-pass.
fn hyphenated(name: &str) -> String {
    let mut words = String::with_capacity(name.len() + 1);
    for c in name.chars() {
        if c.is_ascii_uppercase() && !words.is_empty() {
            words.push('-');
        }
        words.push(c.to_ascii_lowercase());
    }
    words
}

/// `build (2 of 3)` is build, 2 and 3.
fn counted(step: &str) -> Option<(&str, u64, u64)> {
    let (words, count) = step.strip_suffix(')')?.rsplit_once(" (")?;
    let (step, all) = count.split_once(" of ")?;
    Some((words, step.parse().ok()?, all.parse().ok()?))
}

/// What is behind us; the step that is under way is not.
fn bar(step: u64, all: u64) -> String {
    let done = step.saturating_sub(1).min(all).saturating_mul(BAR).checked_div(all).unwrap_or(0);
    (0..BAR).map(|cell| if cell < done { '#' } else { '-' }).collect()
}

#[cfg(test)]
mod tests {
    use vmm_proto::v1::{MigrationActivity, MigrationRole, MigrationStage, TaskState};

    use super::*;

    fn task(vm_name: &str, step: &str) -> Task {
        Task {
            task: format!("id of {vm_name}"),
            verb: "StartVm".into(),
            vm_name: vm_name.into(),
            state: TaskState::Running,
            step: step.into(),
            ..Task::default()
        }
    }

    fn check(tasks: &[(&str, &str)], counts: (usize, usize), expect: &str) {
        let tasks: Vec<Task> = tasks.iter().map(|(name, step)| task(name, step)).collect();
        assert_eq!(line(&tasks, counts, Duration::from_millis(4900)), expect);
    }

    #[test]
    fn one_task_has_a_bar_and_several_share_a_line() {
        check(&[("web", "build (2 of 4)")], (0, 1), "web: StartVm [##--------] 2 of 4: build, 4 s");
        check(&[("web", "taking back: build")], (0, 1), "web: StartVm taking back: build, 4 s");
        check(&[("web", "build (3 of 0)")], (0, 1), "web: StartVm [----------] 3 of 0: build, 4 s");
        check(&[("a", "build (2 of 4)"), ("b", "")], (3, 9), "3 of 9 done, 4 s: a build; b");
        check(&[], (1, 1), "");
    }

    #[test]
    fn a_move_says_how_far_it_is() {
        let migration = Migration {
            migration: String::new(),
            role: MigrationRole::Source,
            peer: "h2".into(),
            stage: MigrationStage::Sending,
            activity: Some(MigrationActivity::FirstPass),
            rounds: 2,
            sent_bytes: 300 << 20,
            left_bytes: 100 << 20,
            dirty_bytes_per_s: Some(12 << 20),
            downtime_ms: Some(45),
            left_ms: Some(1500),
            brake_percent: None,
        };
        let moves =
            Task { verb: "MigrateVm".into(), migration: Some(migration), ..task("web", "") };
        let expect = "web: MigrateVm [#######---] first-pass: 300 MiB sent, 100 MiB left, round 2, \
            12 MiB/s written, standstill 45 ms, about 2 s left, 4 s";
        assert_eq!(line(&[moves], (0, 1), Duration::from_millis(4900)), expect);
    }

    #[test]
    fn a_board_knows_what_goes_on() {
        let board = Board::new(2);
        for (name, step) in [("a", "x"), ("b", "x"), ("a", "y")] {
            board.show(&task(name, step));
        }
        assert_eq!(board.under_way(), ["id of a", "id of b"]);
        board.over(Some("id of a"));
        assert_eq!(board.under_way(), ["id of b"]);
    }
}
