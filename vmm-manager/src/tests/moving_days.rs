//! Random days on which VMs move all the time, one by one, by evacuations, and because the pool makes moves by itself, while hosts fall silent, agents and the manager are restarted, replies are lost and the store fails. At every
//! instant a guest runs on one host at most (VM1, MIG1), and when everything is heard again, what is stored is what is there.

use std::time::Duration;

use tokio::time::sleep;
use vmm_proto::v1::{self, Rebalance, Reply, Request};

use super::Pool;
use super::chaos::{Dice, HOSTS, NAMES, check_agreement, misfortune, request};
use super::places::define_pool;
use super::pool::{create, spec};

const SEEDS: u64 = 40;
/// Set to a number, more days are tried.
const SEEDS_VARIABLE: &str = "VMM_MANAGER_SEEDS";
const STEPS: usize = 60;

fn migrate(dice: &mut Dice) -> Request {
    let host = dice.of(&[None, Some("a"), Some("b"), Some("c")]);
    Request::MigrateVm(v1::MigrateVm {
        vm: dice.of(&NAMES).to_owned(),
        host: host.map(str::to_owned),
        deadline_s: Some(60),
        ..v1::MigrateVm::default()
    })
}

async fn step(pool: &mut Pool, dice: &mut Dice) {
    match dice.below(12) {
        0 => {
            let times = [0, 300, 2000, 15_000].map(Duration::from_millis);
            let (copy, change) = (dice.of(&times), dice.of(&times[..3]));
            let host = dice.of(&HOSTS);
            pool.agents.with(host, |host| (host.copy_time, host.change_time) = (copy, change));
        }
        1 => pool.agents.with(dice.of(&HOSTS), super::agent::FakeHost::restart_agent),
        2 | 3 => misfortune(pool, dice).await,
        4 => {
            let _ = pool.call(None, create(dice.of(&NAMES))).await;
        }
        5 => {
            let _ = pool.call(None, request(dice)).await;
        }
        6 => {
            let host = dice.of(&HOSTS).to_owned();
            let empties = v1::EvacuateHost { host: host.clone(), ..v1::EvacuateHost::default() };
            let opens = v1::SetMaintenance { host, maintenance: false };
            let request = match dice.below(3) {
                0 => Request::EvacuateHost(empties),
                _ => Request::SetMaintenance(opens),
            };
            let _ = pool.call(None, request).await;
        }
        _ => {
            let _ = pool.call(None, migrate(dice)).await;
        }
    }
}

/// A VM that wants a good part of a host, so that moves pay.
fn create_large(name: &str) -> Request {
    let spec = v1::Spec { cpu_demand_milli: 1100, ..spec(name) };
    Request::CreateVm(v1::CreateVm { spec, ..v1::CreateVm::default() })
}

/// On every second day the pool makes moves by itself, too. How many VMs came to another host, and by how many of its own moves.
async fn day(seed: u64) -> (usize, usize) {
    let mut dice = Dice(seed);
    let mut pool = Pool::of(&HOSTS).await;
    let by_itself = seed % 2 == 1;
    if by_itself {
        pool.ok(define_pool("default", |pool| pool.rebalance = Some(Rebalance::CarryOut))).await;
    }
    for _ in 0..STEPS {
        match by_itself && dice.below(4) == 0 {
            true => drop(pool.call(None, create_large(dice.of(&NAMES))).await),
            false => step(&mut pool, &mut dice).await,
        }
        let pause = dice.of(&[0, 1, 300, 900, 5000, if by_itself { 100_000 } else { 30_000 }]);
        sleep(Duration::from_millis(pause)).await;
        assert_eq!(pool.agents.broken(), Vec::<String>::new(), "seed {seed}");
    }
    for host in HOSTS {
        pool.agents.with(host, |host| {
            (host.silent, host.lose_replies) = (false, 0);
            (host.copy_time, host.change_time) = (Duration::ZERO, Duration::ZERO);
        });
    }
    sleep(Duration::from_secs(400)).await;
    assert_eq!(pool.agents.broken(), Vec::<String>::new(), "seed {seed}");
    for vm in pool.agents.known_vms() {
        assert!(pool.agents.is_settled(&vm), "seed {seed}: {vm}");
    }
    if by_itself {
        // What it would still move, it may move tomorrow.
        pool.ok(define_pool("default", |pool| pool.rebalance = Some(Rebalance::Off))).await;
        sleep(Duration::from_secs(100)).await;
    }
    check_agreement(&pool, seed).await;
    let initiator = Some("reconciler/rebalance".to_owned());
    let own = v1::ListTasks { initiator, ..v1::ListTasks::default() };
    let Reply::Tasks(own) = pool.ok(Request::ListTasks(own)).await else { panic!("tasks") };
    let moved = HOSTS.map(|host| pool.agents.with(host, |host| host.arrived()));
    pool.end().await;
    (moved.iter().sum(), own.tasks.len())
}

#[tokio::test(start_paused = true)]
async fn guests_that_move_all_day_run_once() {
    let more = std::env::var(SEEDS_VARIABLE).ok().and_then(|seeds| seeds.parse().ok());
    let (mut moved, mut by_itself) = (0, 0);
    for seed in 0..more.unwrap_or(SEEDS) {
        let (all, own) = day(seed).await;
        (moved, by_itself) = (moved + all, by_itself + own);
    }
    assert!(moved > 20 && by_itself > 5, "VMs did move: {moved}, {by_itself}");
}
