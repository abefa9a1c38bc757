//! The doctor finds what is wrong, and nothing where nothing is.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use support::{Pool, SERVER, TODAY};
use vmm_proto::clock::{TokioClock, WallClock};
use vmm_proto::credentials::CertificateAuthority;
use vmm_proto::doctor::{Finding, examine};
use vmm_proto::principal::Principal;

const DAY: Duration = Duration::from_secs(86_400);

async fn look(pool: &Pool, own: Arc<vmm_proto::credentials::Credentials>) -> Vec<Finding> {
    look_at(pool, own, pool.clock.clone()).await
}

async fn look_at(
    pool: &Pool,
    own: Arc<vmm_proto::credentials::Credentials>,
    clock: Arc<dyn WallClock>,
) -> Vec<Finding> {
    let connector = Arc::new(pool.network.connector(SERVER));
    examine(connector, own, Some(Principal::agent(SERVER)), clock).await
}

fn wrong(findings: &[Finding]) -> Vec<&str> {
    findings.iter().filter(|f| !f.is_good).map(|f| f.seen.as_str()).collect()
}

#[track_caller]
fn assert_wrong(findings: &[Finding], expected: &[&str]) {
    let found = wrong(findings);
    assert_eq!(found.len(), expected.len(), "{findings:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.contains(expected), "{found}: not {expected}");
    }
    assert!(findings.iter().all(|f| f.is_good == f.advice.is_empty()));
}

#[tokio::test(start_paused = true)]
async fn where_nothing_is_wrong_nothing_is_found() {
    let pool = Pool::new();
    let _server = pool.serve_as(&Principal::agent(SERVER));
    let findings = look(&pool, pool.issue(&Principal::manager("m"))).await;
    assert_wrong(&findings, &[]);
    let all: Vec<&str> = findings.iter().map(|finding| finding.seen.as_str()).collect();
    let all = all.join("; ");
    for part in ["X25519MLKEM768", "of our pool", "clocks", "both layers", "good for 7 more days"] {
        assert!(all.contains(part), "{part}: {all}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_listen_is_told_from_one_of_another_name_and_pool() {
    let pool = Pool::new();
    let own = pool.issue(&Principal::manager("m"));
    assert_wrong(&look(&pool, own.clone()).await, &["no connection"]);
    let other = pool.serve_as(&Principal::agent("h2"));
    let findings = look(&pool, own.clone()).await;
    assert_wrong(&findings, &["we mean xvmp://smps-vmm/agent/h1, and xvmp://smps-vmm/agent/h2"]);
    other.stop.cancel();
    other.task.await.unwrap().unwrap();
    let foreign = CertificateAuthority::create(TODAY).unwrap();
    let stranger = Arc::new(foreign.issue(&Principal::agent(SERVER), TODAY).unwrap());
    let _server = pool.serve(stranger, pool.options());
    let findings = look(&pool, own).await;
    let expected =
        ["does not take our certificate", "not signed by our authority", "no request comes"];
    assert_wrong(&findings, &expected);
}

#[tokio::test(start_paused = true)]
async fn certificates_that_ended_and_clocks_that_differ_are_named() {
    let pool = Pool::new();
    let server = pool.issue(&Principal::agent(SERVER));
    let own = pool.issue(&Principal::manager("m"));
    tokio::time::sleep(DAY * 8).await;
    let running = pool.serve(server.clone(), pool.options());
    let fresh = pool.issue(&Principal::manager("m"));
    let ended = "the server's certificate, of xvmp://smps-vmm/agent/h1, ended 1 days ago";
    assert_wrong(&look(&pool, fresh).await, &[ended, "no request comes"]);
    let findings = look(&pool, own).await;
    let expected = ["our certificate, of", "does not take our certificate", ended, "no request"];
    assert_wrong(&findings, &expected);
    running.stop.cancel();
    running.task.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_behind_is_the_cause_and_not_the_certificate() {
    let pool = Pool::new();
    let _server = pool.serve_as(&Principal::agent(SERVER));
    let own = pool.issue(&Principal::manager("m"));
    let behind = Arc::new(TokioClock::starting_at(TODAY - DAY));
    let findings = look_at(&pool, own, behind).await;
    let ours = "our certificate, of xvmp://smps-vmm/manager/m, begins 86100 s from now";
    assert_eq!(wrong(&findings).first().map(|f| f.contains(ours)), Some(true), "{findings:#?}");
}
