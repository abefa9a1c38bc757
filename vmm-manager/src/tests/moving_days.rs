//! Random days on which VMs move all the time, while hosts fall silent, agents and the manager are restarted, replies are lost and the store fails. At every
//! instant a guest runs on one host at most (VM1, MIG1), and when everything is heard again, what is stored is what is there.

use std::time::Duration;

use tokio::time::sleep;
use vmm_proto::v1::{self, Request};

use super::Pool;
use super::chaos::{Dice, HOSTS, NAMES, check_agreement, misfortune, request};
use super::pool::create;

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
        _ => {
            let _ = pool.call(None, migrate(dice)).await;
        }
    }
}

async fn day(seed: u64) -> usize {
    let mut dice = Dice(seed);
    let mut pool = Pool::of(&HOSTS).await;
    for _ in 0..STEPS {
        step(&mut pool, &mut dice).await;
        let pause = dice.of(&[0, 1, 300, 900, 5000, 30_000]);
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
    check_agreement(&pool, seed).await;
    let moved = HOSTS.map(|host| pool.agents.with(host, |host| host.arrived()));
    pool.end().await;
    moved.iter().sum()
}

#[tokio::test(start_paused = true)]
async fn guests_that_move_all_day_run_once() {
    let more = std::env::var(SEEDS_VARIABLE).ok().and_then(|seeds| seeds.parse().ok());
    let mut moved = 0;
    for seed in 0..more.unwrap_or(SEEDS) {
        moved += day(seed).await;
    }
    assert!(moved > 20, "VMs did move: {moved}");
}
