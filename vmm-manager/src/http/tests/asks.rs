//! In use: what a script does with it.

use serde_json::{Value, json};
use vmm_proto::principal::Role;

use super::Api;
use crate::tests::Pool;

fn spec(name: &str) -> Value {
    json!({"spec": {
        "name": name, "vcpus": 1, "vcpus_max": 2, "memory_kib": 131_072, "memory_max_kib": 262_144,
        "kernel": "/boot/vmlinuz", "cmdline": "", "cpu_demand_milli": 0, "disk_demand_bytes_per_s": 0,
    }})
}

#[tokio::test(start_paused = true)]
async fn a_vm_is_made_found_labelled_ended_and_forgotten() {
    let pool = Pool::of(&["h1", "h2"]).await;
    let api = Api::of(&pool);
    let begun = api.post("/api/v1/vms", spec("web")).await;
    let location = begun.headers["location"].to_str().expect("text").to_owned();
    let task = begun.is(202);
    assert_eq!(location, format!("/api/v1/tasks/{}", task["task"].as_str().expect("an id")));
    let task = api.get(&format!("{location}?wait=30")).await.is(200);
    assert_eq!((&task["state"], &task["vm_name"]), (&json!("Done"), &json!("web")));
    let labels = json!({"folder": "/prod", "add": [{"name": "front"}]});
    api.post("/api/v1/vms/web/labels", labels).await.is(200);
    let found = api
        .get("/api/v1/vms?where=status%3Drunning+and+tag~fro&sort=-name&limit=5&totals=true&fields=spec.name,folder,tag")
        .await
        .is(200);
    let expect = json!({"spec": {"name": "web"}, "folder": "/prod", "tag": [{"name": "front"}]});
    assert_eq!((&found["vm"], &found["totals"]["vm_count"]), (&json!([expect]), &json!(1)));
    let shown = api.get("/api/v1/vms/web").await.is(200);
    assert_eq!((&shown["phase"], &shown["spec"]["vcpus"]), (&json!("Running"), &json!(1)));
    let ended = api.post("/api/v1/vms/web/destroy?wait=30", json!({})).await;
    assert_eq!(ended.is(200)["state"], "Done");
    api.ask("DELETE", "/api/v1/vms/web", Role::Operator, None).await.is(200);
    api.get("/api/v1/vms/web").await.refuses(404, "UnknownVm", "\"web\"");
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_explains_and_a_disk_is_attached_and_detached() {
    let pool = Pool::of(&["h1"]).await;
    let api = Api::of(&pool);
    let mut dry = spec("web");
    dry["dry_run"] = json!(true);
    assert_eq!(api.post("/api/v1/vms", dry).await.is(200)["chosen"], "h1");
    api.post("/api/v1/vms?wait=30", spec("web")).await.is(200);
    let disk = json!({"disk": {"path": "/d.img", "device": "xvdb", "read_only": false}});
    api.post("/api/v1/vms/web/disks?wait=30", disk).await.is(200);
    let detach = "/api/v1/vms/web/disks/xvdb?force=true&wait_ms_max=2000&wait=30";
    assert_eq!(api.ask("DELETE", detach, Role::Operator, None).await.is(200)["verb"], "DetachDisk");
    api.ask("DELETE", "/api/v1/vms/web/nics/x", Role::Operator, None).await.refuses(
        400,
        "BadRequest",
        "index must be a whole number",
    );
}

#[tokio::test(start_paused = true)]
async fn the_same_key_is_the_same_change() {
    let pool = Pool::of(&["h1"]).await;
    let api = Api::of(&pool);
    let with = async |body: Value| {
        let asked = (Some(body), [("idempotency-key", "once-1")]);
        api.ask_with("POST", "/api/v1/vms", Role::Operator, (asked.0, &asked.1)).await
    };
    let first = with(spec("web")).await.is(202);
    let again = with(spec("web")).await;
    assert_eq!(again.body["task"], first["task"]);
    with(spec("db")).await.refuses(422, "IdempotencyMismatch", "another request");
    // Without a key it is another change.
    let other = api.post("/api/v1/vms", spec("web")).await;
    other.refuses(409, "Conflict", "named web");
}

#[tokio::test(start_paused = true)]
async fn a_failure_of_a_task_is_heard_by_who_waited_for_it() {
    let pool = Pool::of(&["h1"]).await;
    let api = Api::of(&pool);
    pool.agents.with("h1", |host| host.refuses.insert("BuildVm"));
    let failed = api.post("/api/v1/vms?wait=55", spec("web")).await;
    let body = failed.refuses(502, "HostFailed", "refused by the script");
    let task = api.get(&format!("/api/v1/tasks/{}", body["task"].as_str().expect("an id"))).await;
    assert_eq!(task.is(200)["state"], "Failed");
}

#[tokio::test(start_paused = true)]
async fn places_are_defined_and_listed() {
    let pool = Pool::of(&["h1"]).await;
    let api = Api::of(&pool);
    let put = async |path: &str, body: Value| api.ask("PUT", path, Role::Admin, Some(body)).await;
    put("/api/v1/sites/paris", json!({"notes": "room 2"})).await.is(200);
    put("/api/v1/pools/fast", json!({"site": "paris"})).await.is(200);
    api.post("/api/v1/hosts/h1/pool", json!({"pool": "fast"})).await.is(200);
    let pools = api.get("/api/v1/pools?where=hosts%3E0").await.is(200);
    assert_eq!(
        (&pools["pool"][0]["name"], &pools["pool"][0]["site"]),
        (&json!("fast"), &json!("paris"))
    );
    let remove = api.ask("DELETE", "/api/v1/pools/fast", Role::Admin, None).await;
    remove.refuses(409, "BadState", "has 1 hosts");
}

#[tokio::test(start_paused = true)]
async fn each_role_may_do_what_it_may_over_xvmp() {
    let pool = Pool::of(&["h1"]).await;
    let api = Api::of(&pool);
    api.post("/api/v1/vms?wait=30", spec("web")).await.is(200);
    let check = async |method: &str, path: &str, role: Role, denied: bool| {
        let body = matches!(method, "POST" | "PUT").then(|| json!({}));
        let answer = api.ask(method, path, role, body).await;
        let is_denied = answer.status.as_u16() == 403 && answer.body["code"] == "Denied";
        assert_eq!(is_denied, denied, "{method} {path} as {role}: {}", answer.body);
    };
    check("GET", "/api/v1/vms", Role::Viewer, false).await;
    check("GET", "/api/v1/vms/web/console", Role::Viewer, true).await;
    check("GET", "/api/v1/vms/web/console", Role::Operator, false).await;
    check("POST", "/api/v1/vms/web/pause", Role::Viewer, true).await;
    check("PUT", "/api/v1/pools/p", Role::Operator, true).await;
    check("PUT", "/api/v1/pools/p", Role::Admin, false).await;
    check("DELETE", "/api/v1/hosts/h1", Role::Operator, true).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_written_wrongly_is_named() {
    let pool = Pool::of(&["h1"]).await;
    let api = Api::of(&pool);
    let bad = async |path: &str, says: &str| {
        api.get(path).await.refuses(400, "BadRequest", says);
    };
    bad("/api/v1/vms?where=statu%3Dx", "did you mean status").await;
    bad("/api/v1/vms?were=x", "were is not known here; known are: where, sort").await;
    bad("/api/v1/vms?limit=-1", "limit must be a whole number").await;
    bad("/api/v1/vms?limit=4294967296", "at most 32 bits").await;
    bad("/api/v1/vms?totals=yes", "totals must be true or false").await;
    bad("/api/v1/vms?sort=name&sort=host", "sort stands twice").await;
    bad("/api/v1/vms?limit=1&count_max=2", "said twice").await;
    bad("/api/v1/vms?fields=nam", "fields: \"nam\" is not known").await;
    bad("/api/v1/vms?wait=5", "answered at once").await;
    bad("/api/v1/events?wait=56", "at most 55").await;
    bad("/api/v1/events?cursor=x", "no cursor").await;
    let send = async |path: &str, body: Value, says: &str| {
        api.post(path, body).await.refuses(400, "BadRequest", says);
    };
    send("/api/v1/vms", json!({"spce": {}}), "spce is not known here").await;
    send("/api/v1/vms", json!([]), "must be an object").await;
    send("/api/v1/vms/web/rename", json!({"vm": "db", "name": "x"}), "stands in the path").await;
    send("/api/v1/vms/web/rename?name=x", json!({}), "stand in its body").await;
    send("/api/v1/vms/web/vcpus", json!({"vcpus": "2"}), "vcpus must be").await;
    send("/api/v1/vms/web/rename?fields=task", json!({"name": "x"}), "only what is read").await;
    let keys = [("idempotency-key", "a b")];
    let asked = api.ask_with("POST", "/api/v1/vms/web/start", Role::Admin, (None, &keys)).await;
    asked.refuses(400, "BadRequest", "Idempotency-Key");
}
