//! Benchmarks on a real Xen host of the lab, beside Xen's own tools, in one boot. Started by `cargo xtask xenlab bench`.
//!
//! Times under emulation say nothing about real machines; ratios of one run do. `create` takes ours from outside, through command
//! line, manager, both layers of encryption and agent, and xl's inside dom0, around the command alone. `toolstack` takes both inside
//! dom0, by one program that speaks to the agent as the manager does, and adds ours from outside. `migration` takes two hosts.

mod migration;

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::{Parser, ValueEnum};
use serde_json::{Value, json};
use vmm_e2e::lab::{Ctl, Figures, Goal, LabHost, ManagerProcess, eventually};

/// Rounds of each, when nobody said.
const ROUNDS: usize = 5;

/// Measures on a real Xen host.
#[derive(Parser)]
struct Arguments {
    /// What to measure.
    suite: Suite,
    /// The hosts, as the lab wrote them.
    #[arg(long)]
    hosts: PathBuf,
    /// Rounds of each; the median counts, and claims need five.
    #[arg(long, default_value_t = ROUNDS)]
    rounds: usize,
    /// Of migration, these writers alone, separated by commas: idle, moderate, hot.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// One JSON object on the last line (always printed).
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Suite {
    /// From the command to a running PVH guest, and its destruction, beside `xl create` and `xl destroy`.
    Create,
    /// Create, destroy, list and statistics of PVH and PV guests, cold, warm, with a NIC, four at once and beside twenty, with goals.
    Toolstack,
    /// An idle guest, one that writes moderately and one that writes faster than the link carries, moved beside `xl migrate`, with goals.
    Migration,
}

/// What `xl` takes for the same guest is 1.
const GOALS: &[Goal] = &[
    ("create PVH", "ours, cold", "xl", 0.8),
    ("create PV", "ours, cold", "xl", 0.8),
    ("create PVH", "ours, warm", "xl", 0.1),
    ("create PV", "ours, warm", "xl", 0.1),
    ("create PVH", "ours, warm", "xl, plain kernel", 0.5),
    ("create PV", "ours, warm", "xl, plain kernel", 0.5),
    ("create PVH", "ours, from a shell", "xl, beside shells", 0.05),
    ("create PV", "ours, from a shell", "xl, beside shells", 0.05),
    ("create PVH with a NIC", "ours, warm", "xl", 0.1),
    ("create 4 PVH at once", "ours, warm", "xl", 0.1),
    ("create PVH beside 20", "ours, warm", "xl", 0.1),
    ("destroy PVH", "ours, warm", "xl", 0.4),
    ("destroy PV", "ours, warm", "xl", 0.4),
    ("destroy PVH with a NIC", "ours, warm", "xl", 0.4),
    ("first line PVH", "ours, warm", "xl", 1.0),
    ("first line PV", "ours, warm", "xl", 1.0),
    ("create PVH", "ours, warm, from vmmctl", "xl", 1.0),
    ("list of 20", "ours, an agent's whole report", "xl", 1.0),
    ("CPU ns a domain for a sample of 20", "ours", "xentop", 1.0),
    ("xenstore requests a create", "ours", "xl", 1.0),
    ("xenstore requests a create with a NIC", "ours", "xl", 1.0),
];
/// What `lab-dom0` measures without a pool of shells.
const MEASURES: &[&str] = &["create", "nic", "parallel", "crowd", "requests"];
/// What `shell` is measured with.
const SHELLS: &str = "shells = 1\n";
/// Where its credentials are in dom0.
const MANAGER_DIR: &str = "/etc/vmm/bench";

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let Arguments { suite, hosts, rounds, only, .. } = arguments;
    let bench = || Bench::start(&hosts, rounds);
    let (suite, rows) = match suite {
        Suite::Create => {
            let bench = bench()?;
            ("create", bench.with_manager(|ctl| create(ctl, &bench.host, rounds))?)
        }
        Suite::Toolstack => ("toolstack", toolstack(&bench()?)?),
        Suite::Migration => ("migration", migration::rows(&hosts, rounds, &only)?),
    };
    for row in &rows {
        let verdict = match row["met"].as_bool() {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "",
        };
        let (name, unit) = (row["name"].as_str().unwrap_or(""), row["unit"].as_str().unwrap_or(""));
        let goal = row["goal"].as_str().unwrap_or("");
        println!(
            "{name:<72} {:>11.3} {unit} {goal} {verdict}",
            row["value"].as_f64().unwrap_or(f64::NAN)
        );
    }
    println!("{}", json!({ "suite": suite, "rows": rows }));
    Ok(())
}

/// A host with an agent, and the pool that it belongs to.
struct Bench {
    host: LabHost,
    /// The pool's files, removed at the end.
    _directory: tempfile::TempDir,
    manager: RefCell<ManagerProcess>,
    rounds: usize,
}

impl Bench {
    fn start(hosts: &Path, rounds: usize) -> Result<Self> {
        let host = LabHost::load(hosts)?.into_iter().next().context("the lab has no host")?;
        let directory = tempfile::tempdir()?;
        let manager = std::env::current_exe()?.with_file_name("vmm-manager");
        let manager = ManagerProcess::init(manager, &directory.path().join("manager"))?;
        host.install_agent(&manager.issue("agent", &host.name)?)?;
        host.upload_folder(&manager.credentials_directory(), MANAGER_DIR)?;
        Ok(Self { host, _directory: directory, manager: RefCell::new(manager), rounds })
    }

    /// With a manager that runs; otherwise there is none, so that nobody else speaks to the agent.
    fn with_manager<T>(&self, work: impl FnOnce(&Ctl) -> Result<T>) -> Result<T> {
        let mut manager = self.manager.borrow_mut();
        let user = manager.issue("admin", "bench")?;
        manager.start()?;
        let ctl = std::env::current_exe()?.with_file_name("vmmctl");
        let ctl = Ctl::new(ctl, manager.address().to_owned(), &user);
        ctl.text(&["host", "add", &self.host.name, &self.host.agent])?;
        eventually("the host is up", || Ok(ctl.json(&["host", "list"])?[0]["health"] == "Up"))?;
        let outcome = work(&ctl);
        manager.kill()?;
        outcome.with_context(|| format!("{}\n{}", manager.log(), self.host.agent_log()))
    }

    /// What `lab-dom0` prints for a measure.
    fn measure(&self, measure: &str, figures: &mut Figures) -> Result<()> {
        let name = &self.host.name;
        let start = Instant::now();
        let text = self
            .host
            .ssh(&format!(
                "/opt/vmm/lab-dom0 --agent {name} --credentials {MANAGER_DIR} --rounds {} {measure}",
                self.rounds
            ))
            .with_context(|| self.host.agent_log())?;
        println!("measured {measure} in {} s", start.elapsed().as_secs());
        figures.read(&text)
    }
}

fn toolstack(bench: &Bench) -> Result<Vec<Value>> {
    let mut figures = Figures::default();
    for measure in MEASURES {
        bench.measure(measure, &mut figures)?;
    }
    bench.with_manager(|ctl| {
        for _ in 0..bench.rounds {
            let (created, destroyed) = ours_once(ctl, "vmlinuz")?;
            figures.add("create PVH", "ours, warm, from vmmctl", created);
            figures.add("destroy PVH", "ours, warm, from vmmctl", destroyed);
        }
        Ok(())
    })?;
    bench.host.configure_agent(SHELLS)?;
    bench.measure("shell", &mut figures)?;
    for reason in figures.reasons() {
        println!("left out: {reason}");
    }
    Ok([figures.medians(), figures.ratios(GOALS)].concat())
}

fn create(ctl: &Ctl, host: &LabHost, rounds: usize) -> Result<Vec<Value>> {
    let mut rows = Vec::new();
    for kernel in ["vmlinuz", "vmlinux"] {
        let (mut ours, mut theirs, mut our_ends, mut their_ends) = (vec![], vec![], vec![], vec![]);
        for _ in 0..rounds {
            let (begin, end) = ours_once(ctl, kernel)?;
            ours.push(begin);
            our_ends.push(end);
            let (begin, end) = xl_once(host, kernel)?;
            theirs.push(begin);
            their_ends.push(end);
        }
        rows.extend(compare(&format!("create PVH from {kernel}"), ours, theirs));
        rows.extend(compare(&format!("destroy (built from {kernel})"), our_ends, their_ends));
    }
    Ok(rows)
}

/// Seconds to a running guest, and to its end.
fn ours_once(ctl: &Ctl, kernel: &str) -> Result<(f64, f64)> {
    let start = Instant::now();
    let kernel = format!("/g/{kernel}");
    ctl.text(&[
        "vm",
        "create",
        "bench",
        "--kernel",
        &kernel,
        "--initramfs",
        "/g/guest.cpio.gz",
        "--memory",
        "128M",
        "--vcpus-max",
        "2",
        "--cmdline",
        "console=hvc0 quiet",
    ])?;
    let created = start.elapsed().as_secs_f64();
    let start = Instant::now();
    ctl.text(&["vm", "destroy", "bench"])?;
    let destroyed = start.elapsed().as_secs_f64();
    ctl.text(&["vm", "delete", "bench"])?;
    Ok((created, destroyed))
}

fn xl_once(host: &LabHost, kernel: &str) -> Result<(f64, f64)> {
    let output = host.ssh(&format!(
        "sed 's,/g/vmlinu[xz],/g/{kernel},' /g/pvh.cfg > /tmp/bench.cfg; N=$(sed -n 's/^name=.\\(.*\\).$/\\1/p' /tmp/bench.cfg); \
         read a x < /proc/uptime; xl create -q /tmp/bench.cfg >&2; read b x < /proc/uptime; \
         xl destroy $N >&2; read c x < /proc/uptime; echo $a $b $c"
    ))?;
    let times: Vec<f64> = output.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    ensure!(times.len() == 3, "xl's times: {output}");
    Ok((times[1] - times[0], times[2] - times[1]))
}

fn compare(name: &str, ours: Vec<f64>, theirs: Vec<f64>) -> Vec<Value> {
    let (ours, theirs) = (median(ours), median(theirs));
    let row = |name: String, value: f64, unit: &str| json!({ "name": name, "value": value, "unit": unit, "goal": null, "met": null });
    let ratio = ours / theirs.max(0.001);
    vec![
        row(format!("{name}: ours, from vmmctl"), ours, "s (emulated)"),
        row(format!("{name}: xl, in dom0"), theirs, "s (emulated)"),
        json!({ "name": format!("{name}: ours to xl"), "value": ratio, "unit": "ratio", "goal": "<= 1", "met": ratio <= 1.0 }),
    ]
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
