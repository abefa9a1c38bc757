//! Benchmarks on a real Xen host of the lab, beside Xen's own tools, in one boot. Started by `cargo xtask xenlab bench`.
//!
//! Times under emulation say nothing about real machines; ratios of one run do. Ours are taken from outside, through command
//! line, manager, both layers of encryption and agent; xl's inside dom0, around the command alone.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::{Parser, ValueEnum};
use serde_json::{Value, json};
use vmm_e2e::lab::{Ctl, LabHost, ManagerProcess, eventually};

/// Rounds of each; the median counts.
const ROUNDS: usize = 5;

/// Measures on a real Xen host.
#[derive(Parser)]
struct Arguments {
    /// What to measure.
    suite: Suite,
    /// The hosts, as the lab wrote them.
    #[arg(long)]
    hosts: PathBuf,
    /// One JSON object on the last line (always printed).
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Suite {
    /// From the command to a running PVH guest, and its destruction, beside `xl create` and `xl destroy`.
    Create,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let host =
        LabHost::load(&arguments.hosts)?.into_iter().next().context("the lab has no host")?;
    let directory = tempfile::tempdir()?;
    let own = std::env::current_exe()?;
    let mut manager =
        ManagerProcess::init(own.with_file_name("vmm-manager"), &directory.path().join("manager"))?;
    let user = manager.issue("user", "bench")?;
    host.install_agent(&manager.issue("agent", &host.name)?)?;
    manager.start()?;
    let ctl = Ctl::new(own.with_file_name("vmmctl"), manager.address().to_owned(), &user);
    ctl.text(&["host", "add", &host.name, &host.agent])?;
    eventually("the host is up", || Ok(ctl.json(&["host", "list"])?[0]["health"] == "Up"))?;
    let rows = match arguments.suite {
        Suite::Create => create(&ctl, &host)?,
    };
    for row in &rows {
        let verdict = match row["met"].as_bool() {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "",
        };
        let (name, unit) = (row["name"].as_str().unwrap_or(""), row["unit"].as_str().unwrap_or(""));
        println!("{name:<56} {:>9.3} {unit} {verdict}", row["value"].as_f64().unwrap_or(f64::NAN));
    }
    println!("{}", json!({ "suite": "create", "rows": rows }));
    Ok(())
}

fn create(ctl: &Ctl, host: &LabHost) -> Result<Vec<Value>> {
    let mut rows = Vec::new();
    for kernel in ["vmlinuz", "vmlinux"] {
        let (mut ours, mut theirs, mut our_ends, mut their_ends) = (vec![], vec![], vec![], vec![]);
        for _ in 0..ROUNDS {
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
