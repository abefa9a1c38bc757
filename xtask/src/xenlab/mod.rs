//! `xenlab`: real Xen hosts on any machine. Xen and a Linux dom0 run under QEMU's software emulation, with the
//! project's agent inside dom0, so that what the simulator promises is tried on the real thing.
//!
//! ```text
//!  debs ──► sysroot ──► xen, vmlinuz, vmlinux
//!                └────► base.cpio (dom0: tools, modules, sshd) ─┐
//!  cargo ─► vmm-agent, xen-contract… ─► extra.cpio ─────────────┴─► dom0.cpio ──► qemu 1 ═ segment ═ qemu 2
//!  cargo ─► workload ─► guest.cpio.gz ────────┘
//! ```
//!
//! All of it lies under `target/xenlab`, and is made again when what it is made of changed. Hosts listen on free loopback ports
//! that `hosts.json` records. A host that `up` started lives until `down`; those of `test` and `bench` die
//! with the command, even a killed one. A host is only ever ended by the process id in its state file, and only
//! while that process is still the emulator we started. When a host does not come up, the error shows the end of its serial log.

mod cpio;
mod debs;
mod dom0;
mod extra;
mod filler;
mod guest;
mod host;
mod image;
mod kernel;
mod paths;
mod qemu;
mod record;
mod segment;
mod ssh;
mod stamp;
mod suites;
mod tree;

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::args::Args;
use crate::demo::finish;
use crate::run;
use crate::workspace::Workspace;
use host::{Hosts, Lifetime, Shape};
use paths::Lab;
use record::Flavour;

const HELP: &str = "\
usage: cargo xtask xenlab COMMAND

  build [--bare]                       fetch Xen and build the images; --bare leaves out the project's own binaries
  up N [--bare] [--cpus C] [--lesser] [--xenstored c|ocaml]
                                       build, start N hosts on one Ethernet segment, wait for ssh, print their ports;
                                       the last one has a lesser processor, if told
  down                                 end every host that `up` left running
  shell ID [CMD…]                      a shell, or one command, in the dom0 of host ID
  test [SUITE] [--full] [--xenstored c|ocaml]
                                       boot hosts, run the suites contract and e2e, or the one named (migration,
                                       processors with hosts that differ, and power, which kills hosts and
                                       boots others, are there too), end the hosts
  bench SUITE --json [--rounds N] [--only WRITERS] [--xenstored c|ocaml]
                                       boot one host, or two for migration, and run a benchmark suite; the last line
                                       is a JSON object

Without --xenstored, odd hosts run oxenstored and even hosts run C xenstored; bench runs C xenstored.
Even hosts boot the newest Xen 4.17 of Debian, odd ones the oldest that it still has.";

pub(crate) fn main(workspace: &Workspace, mut args: Args) -> Result<ExitCode> {
    let command = args.positional();
    let lab = Lab::open(workspace)?;
    match command.as_deref() {
        Some("shell") => return shell(&lab, args),
        _ if args.flag("--help") || args.flag("-h") => return help(),
        _ => {}
    }
    match command.as_deref() {
        None | Some("help") => help(),
        Some("build") => build(&lab, args),
        Some("up") => up(&lab, args),
        Some("down") => down(&lab, args),
        Some("test") => suites::test(&lab, args),
        Some("bench") => suites::bench(&lab, args),
        Some(other) => bail!("no command {other:?}; `cargo xtask xenlab --help` lists them"),
    }
}

fn help() -> Result<ExitCode> {
    println!("{HELP}");
    Ok(ExitCode::SUCCESS)
}

fn build(lab: &Lab<'_>, mut args: Args) -> Result<ExitCode> {
    let bare = args.flag("--bare");
    args.finish()?;
    let start = Instant::now();
    image::build(lab, bare)?;
    println!("xenlab build: {} ready after {} s", lab.dom0().display(), start.elapsed().as_secs());
    Ok(ExitCode::SUCCESS)
}

fn up(lab: &Lab<'_>, mut args: Args) -> Result<ExitCode> {
    let bare = args.flag("--bare");
    let flavour: Option<Flavour> = args.value("--xenstored")?;
    let cpus = args.value("--cpus")?.unwrap_or(suites::CPUS);
    let is_lesser = args.flag("--lesser");
    let count: u32 = args.positional().context("up needs the number of hosts")?.parse()?;
    args.finish()?;
    image::build(lab, bare)?;
    Hosts::start(lab, Shape { count, cpus, flavour, is_lesser }, Lifetime::UntilDown)?
        .leave_running();
    println!("xenlab up: {count} hosts; recorded in {}", lab.hosts_file().display());
    Ok(ExitCode::SUCCESS)
}

fn down(lab: &Lab<'_>, args: Args) -> Result<ExitCode> {
    args.finish()?;
    let ended = record::end_recorded(lab)?;
    println!("xenlab down: {ended} hosts ended");
    Ok(ExitCode::SUCCESS)
}

fn shell(lab: &Lab<'_>, mut args: Args) -> Result<ExitCode> {
    let id: u32 = args.positional().context("shell needs the id of a host")?.parse()?;
    let host = record::recorded(lab)?
        .into_iter()
        .find(|host| host.id == id)
        .with_context(|| format!("host {id} is not up; `cargo xtask xenlab up {id}` starts it"))?;
    let words = args.rest();
    let mut ssh = ssh::command(lab, host.ssh_port, run::command("ssh"));
    if words.is_empty() && std::io::stdin().is_terminal() {
        ssh.arg("-t");
    }
    let status = run::status(ssh.arg("root@127.0.0.1").args(&words))?;
    if words.is_empty() {
        return Ok(finish("xenlab shell", status));
    }
    // Quiet, because a command's output may be read by a program.
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    Ok(ExitCode::from(code))
}
