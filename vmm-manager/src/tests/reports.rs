//! Which hosts are asked for everything, and when.

use vmm_proto::v1::{self, Request};

use super::Pool;
use super::asks::vm;

#[tokio::test(start_paused = true)]
async fn the_end_of_a_task_asks_only_hosts_that_may_have_news_of_its_vm() {
    let pool = Pool::of(&["a", "b", "c"]).await;
    pool.create("web").await;
    let at = vm(&pool, "web").await.host.expect("it runs");
    pool.settle().await;
    let asked = |host: &str| pool.agents.with(host, |host| host.asked_for_everything);
    let before = ["a", "b", "c"].map(|host| (host, asked(host)));
    for _ in 0..5 {
        let web = || "web".to_owned();
        pool.done(Request::PauseVm(v1::PauseVm { vm: web() })).await;
        pool.done(Request::UnpauseVm(v1::UnpauseVm { vm: web() })).await;
        pool.settle().await;
    }
    for (host, before) in before {
        let more = asked(host) - before;
        assert_eq!(more >= 5, host == at, "{host} was asked {more} times, the VM is on {at}");
        assert!(host == at || more == 0, "{host} was asked {more} times");
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_that_reports_a_stranger_s_domain_is_asked_when_the_task_of_that_vm_ends() {
    let pool = Pool::of(&["a", "b"]).await;
    let id = pool.create("web").await.vm;
    let at = vm(&pool, "web").await.host.expect("it runs");
    let other = if at == "a" { "b" } else { "a" };
    let seen = pool.agents.with(&at, |host| host.vms[&id].clone());
    pool.agents.with(other, |host| host.vms.insert(id.clone(), seen));
    pool.settle().await;
    let asked = || pool.agents.with(other, |host| host.asked_for_everything);
    let before = asked();
    pool.done(Request::PauseVm(v1::PauseVm { vm: "web".into() })).await;
    pool.settle().await;
    assert!(asked() > before, "what it says of the VM may have been passed over");
}
