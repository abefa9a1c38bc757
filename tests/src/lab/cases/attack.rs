//! Wrong input and wrong people: each a typed fault that says what to do, and nothing half-built left behind.

use anyhow::{Context, Result, ensure};
use vmm_proto::endpoint;

use super::{LabPool, Table};
use crate::lab::{ManagerProcess, create_arguments};

pub(super) const CASES: Table = &[
    ("wrong_requests_are_refused_with_advice", wrong_requests),
    ("a_failed_build_leaves_nothing", failed_build),
    ("a_stranger_with_a_certificate_of_his_own_is_refused", wrong_certificate),
    ("vmmctl_refuses_an_agent_in_the_place_of_the_manager", agent_as_manager),
    ("what_is_not_a_message_gets_one_uniform_answer_and_so_does_a_replay", replay),
    ("nothing_on_the_wire_is_readable", wire_is_dark),
    ("with_the_tls_keys_known_no_request_is_readable", bodies_are_dark),
];

fn refused(pool: &LabPool, arguments: &[String], words: &[&str]) -> Result<()> {
    pool.ctl.refused(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), words).map(drop)
}

fn wrong_requests(pool: &mut LabPool) -> Result<()> {
    pool.ctl.refused(&["vm", "show", "nobody"], &["nobody"])?;
    pool.ctl.refused(
        &["vm", "create", "a/b", "--kernel", "/g/vmlinux", "--memory", "128M"],
        &["letters"],
    )?;
    let mut huge = create_arguments("huge", "idle");
    huge.extend(["--memory".into(), "64G".into(), "--memory-max".into(), "64G".into()]);
    // The last --memory wins or is refused as given twice; either way nothing is built.
    let huge: Vec<String> = dedup_memory(huge);
    refused(pool, &huge, &["memory"])?;
    refused(pool, &create_arguments("web", "idle"), &["web"])
}

fn dedup_memory(arguments: Vec<String>) -> Vec<String> {
    let first = arguments.iter().position(|word| word == "--memory");
    let mut kept = arguments;
    if let Some(at) = first {
        kept.drain(at..at + 2);
    }
    kept
}

fn failed_build(pool: &mut LabPool) -> Result<()> {
    let before: Vec<_> =
        pool.hosts.iter().map(|host| Ok(host.leftovers()?.len())).collect::<Result<_>>()?;
    let kernel = |path: &str| {
        let mut arguments = create_arguments("broken", "idle");
        if let Some(kernel) = arguments.iter_mut().find(|word| *word == "/g/vmlinux") {
            path.clone_into(kernel);
        }
        arguments
    };
    refused(pool, &kernel("/g/missing"), &["/g/missing"])?;
    refused(pool, &kernel("/g/guest.cpio.gz"), &["kernel"])?;
    for (host, before) in pool.hosts.iter().zip(before) {
        let after = host.leftovers()?;
        ensure!(after.len() == before, "{}: {after:?}", host.name);
    }
    Ok(())
}

fn wrong_certificate(pool: &mut LabPool) -> Result<()> {
    let stranger = pool.directory.path().join("stranger");
    let program = programs()?.join("vmm-manager");
    let other = ManagerProcess::init(program, &stranger)?.issue("admin", "operator")?;
    pool.ctl.with_credentials(&other).refused(&["vm", "list"], &["certificate"]).map(drop)
}

fn agent_as_manager(pool: &mut LabPool) -> Result<()> {
    let ctl = pool.ctl.with_manager(&pool.hosts[0].agent);
    ctl.refused(&["vm", "list"], &["expected", "answered"]).map(drop)
}

fn replay(pool: &mut LabPool) -> Result<()> {
    let recorded = pool.wire.bodies();
    let message = recorded
        .iter()
        .rev()
        .find(|body| body.request && body.path == endpoint::RPC_PATH)
        .context("no message was recorded")?;
    let (replayed, uniform) = pool.wire.post(endpoint::RPC_PATH, message.bytes.clone())?;
    ensure!(replayed == 400, "a replayed message got {replayed}");
    for garbage in ["", "<a/>", "<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>", "\u{0}"] {
        let (status, answer) = pool.wire.post(endpoint::RPC_PATH, garbage)?;
        ensure!(
            status == 400 && answer == uniform,
            "{garbage:?} got {status} {answer:?}, a replay {uniform:?}"
        );
    }
    Ok(())
}

/// What a reader would look for.
const CLEAR: &[&str] =
    &["<?xml", "xmlns", "EncryptedData", "BuildVm", "CreateVm", "load-cpu", "VMM-GUEST", "POST /"];

fn wire_is_dark(pool: &mut LabPool) -> Result<()> {
    for (who, bytes) in [("agent", pool.proxy.recorded()), ("manager", pool.front.recorded())] {
        ensure!(bytes.len() > 10_000, "only {} bytes were recorded before the {who}", bytes.len());
        for word in CLEAR {
            ensure!(!contains(&bytes, word), "{word:?} is readable before the {who}");
        }
    }
    Ok(())
}

fn bodies_are_dark(pool: &mut LabPool) -> Result<()> {
    let bodies = pool.wire.bodies();
    let messages: Vec<_> = bodies.iter().filter(|body| body.path == endpoint::RPC_PATH).collect();
    ensure!(messages.len() > 10, "only {} messages were recorded", messages.len());
    for body in messages {
        ensure!(
            contains(&body.bytes, "EncryptedData") || !body.request,
            "a message without encryption"
        );
        // Nothing as short as four letters: base64 spells those by itself, once in some sixteen million.
        for word in ["BuildVm", "AwaitReport", "AgentReport", "<Spec", "load-disk", "VMM-GUEST"] {
            ensure!(!contains(&body.bytes, word), "{word:?} is readable with the TLS keys");
        }
    }
    Ok(())
}

fn contains(bytes: &[u8], word: &str) -> bool {
    bytes.windows(word.len()).any(|window| window == word.as_bytes())
}

fn programs() -> Result<std::path::PathBuf> {
    let own = std::env::current_exe()?;
    own.parent().map(std::path::Path::to_owned).context("this program is nowhere")
}
