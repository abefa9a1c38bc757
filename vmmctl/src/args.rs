//! The arguments that all commands share, and the nouns.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand};

use vmm_proto::enrolment::JoinToken;

use crate::commands::{doctor, host, task, vm};
use crate::output::{Filter, Format, Look, SortKey};
use crate::screen::Screen;

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
  vmmctl -o json vm show web

Exit codes: 0 done; 1 refused or failed; 2 wrong usage; 3 the guest did not do all that was asked;
4 the manager cannot be reached; 130 interrupted (a task that was waited for goes on).";

/// Hosts, VMs and tasks of an SMPS-VMM pool.
#[derive(Debug, Parser)]
#[command(name = "vmmctl", version, after_help = EXAMPLE)]
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
        default_value = "127.0.0.1:8440",
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
    #[arg(long, global = true, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) columns: Vec<String>,
    /// No headings in tables and CSV.
    #[arg(long, global = true)]
    pub(crate) no_headers: bool,
    /// How long a guest may take to do what it is asked, and how long to wait for a task.
    #[arg(long, global = true, default_value_t = 120, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=400))]
    pub(crate) timeout: u64,
}

impl Global {
    /// How answers look, as far as all commands say.
    pub(crate) fn look(&self) -> Look {
        Look {
            format: self.output,
            columns: self.columns.clone(),
            no_headers: self.no_headers,
            screen: Screen::stdout(),
            ..Look::default()
        }
    }
}

/// Which rows of a list, and in which order.
#[derive(Clone, Debug, ClapArgs)]
#[command(next_help_heading = "Options of lists")]
pub(crate) struct Listing {
    /// Only rows whose column is this (COLUMN=VALUE), is not (!=), or contains it (~). As often as there are conditions: all
    /// must hold.
    #[arg(long, short = 'l', value_name = "COLUMN=VALUE")]
    filter: Vec<Filter>,
    /// Sort by these columns; a minus before a name turns its order around.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', allow_hyphen_values = true)]
    sort: Vec<SortKey>,
}

impl Listing {
    /// The look of this list.
    pub(crate) fn apply(self, look: &Look) -> Look {
        Look { filters: self.filter, sort: self.sort, ..look.clone() }
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
    /// Changes under way, and the latest that are over.
    #[command(subcommand)]
    Task(task::Command),
    /// Find out why a server cannot be reached.
    #[command(subcommand)]
    Doctor(doctor::Command),
    /// Print what changes in the pool, as it changes; Ctrl-C ends it. With `-o json` a line an answer.
    Watch,
    /// Get credentials of your own: as `vmm-manager invite user NAME` prints it.
    Join {
        /// The token that the manager's operator gave you. It is good once.
        #[arg(long)]
        token: JoinToken,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    fn check(line: &str, accepted: bool) {
        let parsed = Args::try_parse_from(line.split(' '));
        assert_eq!(parsed.is_ok(), accepted, "{line}: {parsed:?}");
    }

    #[test]
    fn commands_are_strict() {
        check("vmmctl host list", true);
        check("vmmctl host maintenance h1 on", true);
        check("vmmctl host maintenance h1 maybe", false);
        check("vmmctl vm create web --kernel /k --memory 128M", true);
        check("vmmctl vm create web --kernel /k --memory 128", false);
        check("vmmctl vm create web --memory 128M", false);
        check(
            "vmmctl vm create web --kernel /k --memory 1G --cpu-demand 0.5 --disk-demand 10M",
            true,
        );
        check("vmmctl vm create web --kernel /k --memory 1G --cpu-demand lots", false);
        check("vmmctl vm create web --kernel /k --memory 1G --dry-run --no-wait", false);
        let create = "vmmctl vm create web --kernel /k --memory 1G";
        for (rest, accepted) in [
            ("--type pv --disk /a --disk /b:xvdc:ro --nic br0 --nic br1,index=4", true),
            ("--type hvm", false),
            ("--disk a", false),
            ("--nic br0,mac=1", false),
            ("--memory-min 512M --weight 512 --cap 150 --cpus 0-3 --cpus-soft 1", true),
            ("--weight 0", false),
            ("--weight 65536", false),
            ("--cpus 3-1", false),
            ("--on-poweroff restart --on-reboot destroy --on-crash preserve", true),
            ("--on-crash explode", false),
            ("--autostart", true),
            ("--autostart 10:30", true),
            ("--autostart soon", false),
        ] {
            check(&format!("{create} {rest}"), accepted);
        }
        check("vmmctl vm suspend web --timeout 5", true);
        check("vmmctl vm resume web", true);
        check("vmmctl vm save web /s", true);
        check("vmmctl vm save web", false);
        check("vmmctl vm restore web --path /s", true);
        check("vmmctl vm discard web", true);
        check("vmmctl vm rename web shop", true);
        check("vmmctl vm set web --no-autostart", true);
        check("vmmctl vm set web --autostart 1 --no-autostart", false);
        check("vmmctl vm disk attach web /d.img:xvdb", true);
        check("vmmctl vm disk attach web d.img", false);
        check("vmmctl vm disk detach web xvdb --force", true);
        check("vmmctl vm disk resize web xvda 20G", true);
        check("vmmctl vm disk resize web xvda 20", false);
        check("vmmctl vm nic attach web br0,mac=00:16:3e:00:00:01", true);
        check("vmmctl vm nic detach web 0", true);
        check("vmmctl vm nic detach web eth0", false);
        check("vmmctl vm memory web 256M -o json", true);
        check("vmmctl vm vcpus web four", false);
        check("vmmctl vm list --timeout 0", false);
        check("vmmctl doctor tls", true);
        check("vmmctl doctor tls h1 --expect agent/h1", true);
        check("vmmctl doctor tls h1 --expect h1", false);
        check("vmmctl watch -o json", true);
        check("vmmctl join --token x", false);
        check("vmmctl task wait x --manager a:1 --credentials /c", true);
    }
}
