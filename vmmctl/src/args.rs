//! The arguments that all commands share, and the nouns.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args as ClapArgs, Parser, Subcommand};

use vmm_proto::enrolment::JoinToken;

use crate::commands::{decision, doctor, group, host, label, plan, pool, site, task, vm};
use crate::complete::{self, Shell};
use crate::failure::exit_codes;
use crate::output::{Format, Look};
use crate::screen::Screen;
use crate::top::Top;
use crate::wanted::Wanted;

const EXAMPLE: &str = "\
Examples:
  vmmctl host add host-1 10.0.0.11:8443
  vmmctl vm create web --kernel /boot/vmlinuz --initramfs /boot/initrd.img --memory 1G --dry-run
  vmmctl vm create web --kernel /boot/vmlinuz --initramfs /boot/initrd.img \\
         --memory 1G --memory-max 4G --vcpus 2 --vcpus-max 8 \\
         --disk /srv/web.img --nic xenbr0 --cpu-demand 0.5 --disk-demand 20M
  vmmctl vm list
  vmmctl vm vcpus web 4
  vmmctl vm disk attach web /srv/data.img
  vmmctl vm set web --weight 512 --autostart 10
  vmmctl vm save web /var/lib/smps-vmm/web.save
  vmmctl vm console web --follow
  vmmctl vm list --where 'status=running and cpu>80%' --sort -cpu --watch
  vmmctl vm shutdown web-1 web-2 web-3
  vmmctl -o json vm show web

";

const COMPLETION: &str = "\
Examples:
  source <(vmmctl completion bash)                                    in ~/.bashrc
  source <(vmmctl completion zsh)                                     in ~/.zshrc, behind compinit
  vmmctl completion fish > ~/.config/fish/completions/vmmctl.fish

Names are asked from the manager that the line names, or VMMCTL_MANAGER; when it does not answer
at once there are none.";

/// What stands below the options.
fn below() -> String {
    format!("{EXAMPLE}Exit codes:\n{}", exit_codes())
}

/// Hosts, VMs and tasks of an SMPS-VMM pool.
#[derive(Debug, Parser)]
#[command(name = "vmmctl", version, after_help = below())]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) noun: Noun,
}

/// Where to ask, and how to answer.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Options of all commands")]
pub(crate) struct Global {
    /// Where the manager listens.
    #[arg(
        long,
        global = true,
        env = "VMMCTL_MANAGER",
        default_value = MANAGER,
        value_name = "HOST:PORT"
    )]
    pub(crate) manager: String,
    /// Your credentials, made by `vmmctl join` [default: ~/.config/vmmctl].
    #[arg(long, global = true, env = "VMMCTL_CREDENTIALS", value_name = "DIR")]
    pub(crate) credentials: Option<PathBuf>,
    /// The form of the answer.
    #[arg(short, long, global = true, value_enum, default_value = "table")]
    pub(crate) output: Format,
    /// Only these columns, in this order; a wrong name is answered with all names.
    #[arg(long, global = true, value_name = "NAMES", value_delimiter = ',', add = complete::columns())]
    pub(crate) columns: Vec<String>,
    /// No headings in tables and CSV.
    #[arg(long, global = true)]
    pub(crate) no_headers: bool,
    /// How long a guest may take to do what it is asked, and how long to wait for a task.
    #[arg(long, global = true, default_value_t = TIMEOUT, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=400))]
    pub(crate) timeout: u64,
}

/// Where a manager on this machine listens.
const MANAGER: &str = "127.0.0.1:8440";
/// Seconds.
const TIMEOUT: u64 = 120;

impl Global {
    /// What holds when nothing is said.
    pub(crate) fn usual() -> Self {
        Self {
            manager: MANAGER.to_owned(),
            credentials: None,
            output: Format::default(),
            columns: Vec::new(),
            no_headers: false,
            timeout: TIMEOUT,
        }
    }

    /// How answers look, as far as all commands say.
    pub(crate) fn look(&self) -> Look {
        Look {
            format: self.output,
            columns: self.columns.clone(),
            no_headers: self.no_headers,
            screen: Screen::stdout(),
        }
    }
}

/// Which objects a list has, in which order, and when.
#[derive(Clone, Debug, ClapArgs)]
#[command(next_help_heading = "Options of lists")]
pub(crate) struct Listing {
    #[command(flatten)]
    pub(crate) wanted: Wanted,
    /// Show it anew whenever something has changed, or each so many seconds; Ctrl-C ends it.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_value = "no",
        default_missing_value = "changes", hide_default_value = true)]
    pub(crate) watch: Watch,
}

/// When is a list shown anew?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Watch {
    Not,
    OnChange,
    Every(Duration),
}

impl FromStr for Watch {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.parse()) {
            ("no", _) => Ok(Self::Not),
            ("changes", _) => Ok(Self::OnChange),
            (_, Ok(seconds @ 1..=86_400)) => Ok(Self::Every(Duration::from_secs(seconds))),
            _ => Err("write seconds, 1 to 86400, or nothing to see changes as they come".into()),
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Noun {
    /// Hosts of the pool.
    #[command(subcommand)]
    Host(host::Command),
    /// Virtual machines.
    #[command(subcommand)]
    Vm(vm::Command),
    /// Pools: hosts of one site between which VMs may move.
    #[command(subcommand)]
    Pool(pool::Command),
    /// Sites: networks and domains of trust, in which pools lie.
    #[command(subcommand)]
    Site(site::Command),
    /// Groups: VMs that shall be on one host, or on different ones.
    #[command(subcommand)]
    Group(group::Command),
    /// What the scheduler would do: moves that pay, an emptied host, more for a VM.
    #[command(subcommand)]
    Plan(plan::Command),
    /// What the scheduler decided, of what, and what it would decide otherwise.
    #[command(subcommand)]
    Decision(decision::Command),
    /// Tags and folders.
    #[command(subcommand)]
    Label(label::Command),
    /// Changes under way, and the latest that are over.
    #[command(subcommand)]
    Task(task::Command),
    /// Find out why a server cannot be reached.
    #[command(subcommand)]
    Doctor(doctor::Command),
    /// Hosts and VMs with what they use, as it changes.
    Top(Top),
    /// Print what changes in the pool, as it changes; Ctrl-C ends it. With `-o json` a line an answer.
    Watch,
    /// Print what lets a shell complete commands, names of VMs, hosts and tasks, and columns.
    #[command(after_help = COMPLETION)]
    Completion {
        /// The shell.
        #[arg(value_enum)]
        shell: Shell,
    },
    /// Write the manual pages, one for each command, into a directory.
    Man {
        /// It must exist.
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
    /// Get credentials of your own: as `vmm-manager invite user NAME` prints it.
    Join {
        /// The token that the manager's operator gave you. It is good once.
        #[arg(long)]
        token: JoinToken,
    },
}

#[cfg(test)]
mod tests;
