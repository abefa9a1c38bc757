//! Which VMs a command is about: those that are named, or those that a filter selects.

use clap::Args;
use vmm_core::query::VmField;
use vmm_proto::v1::{Reply, Request, ShowVm, Vm};

use super::COLUMNS;
use super::list::vms;
use crate::complete;
use crate::confirm::{Reason, confirm};
use crate::failure::Failure;
use crate::output::Answer;
use crate::session::{Session, unexpected};
use crate::wanted::Wanted;

/// More names are not listed in a question.
const LISTED_MAX: usize = 10;

/// VMs, named or selected.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Pick {
    /// Names or ids, one or several.
    #[arg(value_name = "VM", required_unless_present = "query", conflicts_with = "query", add = complete::vms())]
    vms: Vec<String>,
    /// All VMs that this holds for, as in `vm list`, such as 'status=crashed and host=h1'.
    #[arg(long = "where", visible_alias = "filter", value_name = "QUERY", add = complete::queries())]
    query: Option<String>,
}

/// VMs that something is to be done to.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Targets {
    #[command(flatten)]
    pick: Pick,
    /// Do not ask before something is lost, or before it is done to what --where selects.
    #[arg(long, short)]
    yes: bool,
    /// Only list the VMs that it would be done to.
    #[arg(long)]
    dry_run: bool,
}

/// What will be done to them, for whoever is asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deed {
    /// Such as `destroy`.
    pub(super) verb: &'static str,
    /// What is lost by it, if anything.
    pub(super) loses: Option<&'static str>,
}

impl Deed {
    /// It loses nothing.
    pub(super) const fn harmless(verb: &'static str) -> Self {
        Self { verb, loses: None }
    }
}

impl Pick {
    /// Is exactly one named?
    pub(super) fn is_one(&self) -> bool {
        self.vms.len() == 1
    }

    /// Those that were named, each once; none when they are to be selected.
    pub(super) fn named(&self) -> Vec<String> {
        let mut once = Vec::with_capacity(self.vms.len());
        for name in &self.vms {
            if !once.contains(name) {
                once.push(name.clone());
            }
        }
        once
    }

    /// What they are now.
    pub(super) async fn look_up(&self, session: &Session) -> Result<Vec<Vm>, Failure> {
        if self.query.is_none() {
            let mut found = Vec::new();
            for name in self.named() {
                found.push(show(session, name).await?);
            }
            return Ok(found);
        }
        let wanted = Wanted::by(self.query.clone());
        wanted.check::<VmField>()?;
        let found = vms(session, &wanted).await?;
        if found.is_empty() {
            let message = "no VM is selected; see what there is with `vmmctl vm list`";
            return Err(Failure::NotFound(message.into()));
        }
        Ok(found)
    }

    /// What they are called.
    pub(super) async fn names(&self, session: &Session) -> Result<Vec<String>, Failure> {
        if self.query.is_none() {
            return Ok(self.named());
        }
        Ok(self.look_up(session).await?.into_iter().map(|vm| vm.spec.name).collect())
    }
}

impl Targets {
    /// One, or several that were named.
    pub(super) fn named(vms: Vec<String>, yes: bool) -> Self {
        Self { pick: Pick { vms, query: None }, yes, dry_run: false }
    }

    /// Is exactly one named?
    pub(super) fn is_one(&self) -> bool {
        self.pick.is_one()
    }

    /// Their names, once everybody agrees. None: it was a dry run, and all is said.
    pub(super) async fn choose(
        self,
        session: &Session,
        deed: Deed,
    ) -> Result<Option<Vec<String>>, Failure> {
        if self.dry_run {
            let chosen = self.pick.look_up(session).await?;
            eprintln!("would {} {}; nothing is done", deed.verb, counted(chosen.len()));
            session.look.print(&Answer::list(&chosen, COLUMNS))?;
            return Ok(None);
        }
        let names = self.pick.names(session).await?;
        let is_selected = self.pick.query.is_some();
        let reason = match (is_selected, deed.loses) {
            (true, _) => Reason::Selected,
            (false, Some(_)) => Reason::Loses,
            (false, None) => return Ok(Some(names)),
        };
        let question = question(deed.verb, &names, deed.loses.unwrap_or_default());
        confirm(&question, reason, self.yes).await?;
        Ok(Some(names))
    }
}

/// One VM.
pub(crate) async fn show(session: &Session, vm: String) -> Result<Vm, Failure> {
    match session.call(Request::ShowVm(ShowVm { vm })).await? {
        Reply::Vm(vm) => Ok(*vm),
        other => Err(unexpected(&other)),
    }
}

fn question(verb: &str, names: &[String], loses: &str) -> String {
    let listed = names.iter().take(LISTED_MAX).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = match names.len().saturating_sub(LISTED_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let loses = if loses.is_empty() { String::new() } else { format!(" {loses}") };
    format!("{verb} {}: {listed}{more}?{loses}", counted(names.len()))
}

pub(super) fn counted(count: usize) -> String {
    if count == 1 { "1 VM".to_owned() } else { format!("{count} VMs") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize) -> Vec<String> {
        (1..=count).map(|n| format!("vm{n}")).collect()
    }

    #[test]
    fn a_question_says_what_happens_to_whom_and_what_is_lost() {
        assert_eq!(question("start", &names(2), ""), "start 2 VMs: vm1, vm2?");
        assert_eq!(
            question("destroy", &names(1), "What is not written is lost."),
            "destroy 1 VM: vm1? What is not written is lost."
        );
        assert!(question("start", &names(12), "").ends_with("vm9, vm10 and 2 more?"));
    }

    #[test]
    fn who_is_named_twice_is_meant_once() {
        let vms = ["b", "a", "b"].map(str::to_owned).to_vec();
        assert_eq!(Pick { vms, query: None }.named(), ["b", "a"]);
    }
}
