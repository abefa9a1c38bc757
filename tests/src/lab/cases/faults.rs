//! Operations that fail half-way, and operations that are taken back at some moment: what was, is, and nothing else is left.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::Value;

use super::devices::PLUG;
use super::{LabPool, Table};
use crate::lab::{Guest, LabHost, create_arguments, eventually};

pub(super) const CASES: Table = &[
    ("an_operation_that_fails_on_the_way_leaves_what_was", fail),
    ("a_save_that_finds_no_room_leaves_the_guest_running", no_room),
    ("an_operation_that_is_cancelled_at_any_moment_leaves_what_was", cancel),
];

const BRIEF: &str = "brief";
const IMAGE: &str = "/var/lib/vmm/faults.img";
const NOTHING: &str = "/var/lib/vmm/there-is-no-such-file";
const FULL: &str = "/var/lib/vmm/full";
/// When a change is taken back: at once, while the agent is at work, and when it may be done.
const MOMENTS: [Duration; 3] =
    [Duration::ZERO, Duration::from_millis(700), Duration::from_millis(2500)];

/// A change, what takes it back when it was done, and the phase that it leads to.
type Change = (&'static [&'static str], &'static [&'static str], &'static str);

const CHANGES: &[Change] = &[
    (
        &["vm", "disk", "attach", PLUG, "/var/lib/vmm/faults.img:xvdb"],
        &["vm", "disk", "detach", PLUG, "xvdb"],
        "Running",
    ),
    (&["vm", "nic", "attach", PLUG, "br0,index=1"], &["vm", "nic", "detach", PLUG, "1"], "Running"),
    (&["vm", "memory", PLUG, "104M"], &["vm", "memory", PLUG, "128M"], "Running"),
    (&["vm", "suspend", PLUG], &["vm", "resume", PLUG], "Suspended"),
    (&["vm", "save", PLUG, "/var/lib/vmm/faults.save"], &["vm", "restore", PLUG], "Saved"),
];

/// What must be as before: the VM as the manager has it, but for what moves by itself.
fn definition(pool: &LabPool) -> Result<Value> {
    Ok(pool.vm(PLUG)?["spec"].clone())
}

fn as_before(pool: &LabPool, before: &Value, boot: &str) -> Result<()> {
    pool.until_phase(PLUG, "Running")?;
    let now = definition(pool)?;
    ensure!(now == *before, "it was {before}, it is {now}");
    let t = Guest::look(&pool.ctl, PLUG)?.map_or(0, |guest| guest.number("t"));
    let guest = Guest::until(&pool.ctl, PLUG, "the guest goes on", |guest| guest.number("t") > t)?;
    ensure!(guest.word("boot") == boot, "the guest has rebooted");
    no_trace(pool.host_of(PLUG)?)
}

/// Of the image and of domains that are gone.
fn no_trace(host: &LabHost) -> Result<()> {
    let mut left = String::new();
    eventually("nothing is left", || {
        left = host.orphans(IMAGE)?;
        Ok(left.trim().is_empty())
    })
    .with_context(|| left)
}

fn boot(pool: &LabPool) -> Result<String> {
    let guest = Guest::look(&pool.ctl, PLUG)?.context("the guest is silent")?;
    Ok(guest.word("boot").to_owned())
}

fn fail(pool: &mut LabPool) -> Result<()> {
    let (before, boot) = (definition(pool)?, boot(pool)?);
    let host = pool.host_of(PLUG)?.clone();
    for lab in &pool.hosts {
        lab.ssh(&format!("truncate -s 16M {IMAGE}"))?;
    }
    let creations: &[(&str, &[&str])] = &[
        ("br7", &["--nic", "br7"]),
        // Its disk and the first of its NICs stand by then.
        ("br7", &["--disk", IMAGE, "--nic", "br0", "--nic", "br7"]),
        (NOTHING, &["--disk", NOTHING]),
        (NOTHING, &["--kernel", NOTHING]),
        // Found, and no kernel.
        (IMAGE, &["--kernel", IMAGE]),
        (NOTHING, &["--initramfs", NOTHING]),
    ];
    for (word, more) in creations {
        let arguments = creation(more);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        pool.ctl.refused(&arguments, &[word])?;
        gone(pool).with_context(|| format!("after {more:?}"))?;
    }
    let changes: &[(&str, &[&str])] = &[
        (NOTHING, &["vm", "disk", "attach", PLUG, "/var/lib/vmm/there-is-no-such-file:xvdb"]),
        ("br7", &["vm", "nic", "attach", PLUG, "br7,index=1"]),
        ("there-is-no-such-file", &["vm", "save", PLUG, "/var/lib/vmm/there-is-no-such-file/x"]),
    ];
    for (word, change) in changes {
        pool.ctl.refused(change, &[word])?;
        as_before(pool, &before, &boot).with_context(|| change.join(" "))?;
    }
    host.ssh(&format!("rm -f {IMAGE}")).map(drop)
}

/// `more` comes last and thereby instead of what a small guest has.
fn creation(more: &[&str]) -> Vec<String> {
    let mut arguments = create_arguments(BRIEF, "idle");
    for word in more.iter().filter(|word| ["--kernel", "--initramfs"].contains(word)) {
        if let Some(place) = arguments.iter().position(|argument| argument == word) {
            arguments.drain(place..place + 2);
        }
    }
    arguments.extend(more.iter().map(|word| (*word).to_owned()));
    arguments.extend(["--cpu-demand", "0.05"].map(str::to_owned));
    arguments
}

/// Of the VM that was to be created, whatever the manager kept of it.
fn gone(pool: &LabPool) -> Result<()> {
    let vms = pool.ctl.json(&["vm", "list"])?;
    if vms.as_array().into_iter().flatten().any(|vm| vm["spec"]["name"] == BRIEF) {
        pool.ctl.text(&["vm", "delete", BRIEF])?;
    }
    for host in &pool.hosts {
        ensure!(host.xl_list()?.iter().all(|row| row.name != BRIEF), "{} has it", host.name);
        no_trace(host)?;
    }
    Ok(())
}

fn no_room(pool: &mut LabPool) -> Result<()> {
    let (before, boot) = (definition(pool)?, boot(pool)?);
    let host = pool.host_of(PLUG)?.clone();
    host.ssh(&format!("mkdir -p {FULL} && mount -t tmpfs -o size=16m none {FULL}"))?;
    let saved = pool.ctl.refused(&["vm", "save", PLUG, &format!("{FULL}/plug.save")], &[FULL]);
    let left = host.ssh(&format!("ls -A {FULL}; umount {FULL}; rmdir {FULL}"))?;
    saved?;
    ensure!(left.trim().is_empty(), "left of the file: {left}");
    as_before(pool, &before, &boot)
}

fn cancel(pool: &mut LabPool) -> Result<()> {
    let (before, boot) = (definition(pool)?, boot(pool)?);
    for lab in &pool.hosts {
        lab.ssh(&format!("truncate -s 16M {IMAGE}"))?;
    }
    for (change, back, phase) in CHANGES {
        for moment in MOMENTS {
            let told = || format!("{} cancelled after {moment:?}", change.join(" "));
            if cancelled_after(pool, change, moment).with_context(told)? {
                as_before(pool, &before, &boot).with_context(told)?;
                continue;
            }
            pool.until_phase(PLUG, phase).with_context(told)?;
            pool.ctl.text(back).with_context(told)?;
            as_before(pool, &before, &boot).with_context(told)?;
        }
    }
    let create = creation(&["--nic", "br0", "--disk", IMAGE]);
    let create: Vec<&str> = create.iter().map(String::as_str).collect();
    for moment in MOMENTS {
        let told = || format!("a creation cancelled after {moment:?}");
        if !cancelled_after(pool, &create, moment).with_context(told)? {
            pool.ctl.text(&["vm", "destroy", BRIEF]).with_context(told)?;
        }
        gone(pool).with_context(told)?;
    }
    Ok(())
}

/// Starts a change and takes it back; false when it was done all the same.
fn cancelled_after(pool: &LabPool, change: &[&str], moment: Duration) -> Result<bool> {
    let (ctl, words) = (pool.ctl.clone(), change.iter().map(|word| (*word).to_owned()));
    let words: Vec<String> = words.collect();
    let under_way = thread::spawn(move || {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        ctl.run(&words)
    });
    thread::sleep(moment);
    while !under_way.is_finished() {
        let Some(task) = running(pool)? else { continue };
        // It may end meanwhile.
        let _ = pool.ctl.run(&["task", "cancel", &task])?;
        break;
    }
    let outcome = under_way.join().map_err(|_| anyhow!("the command panicked"))??;
    match outcome {
        Ok(_) => Ok(false),
        Err(refused) if refused.message.to_lowercase().contains("cancel") => Ok(true),
        Err(refused) => bail!("it failed: {}", refused.message),
    }
}

/// The task that is not over.
fn running(pool: &LabPool) -> Result<Option<String>> {
    let tasks = pool.ctl.json(&["task", "list"])?;
    let open = tasks.as_array().into_iter().flatten().find(|task| {
        !["Done", "Failed", "Cancelled"].contains(&task["state"].as_str().unwrap_or_default())
    });
    Ok(open.and_then(|task| task["task"].as_str()).map(str::to_owned))
}
