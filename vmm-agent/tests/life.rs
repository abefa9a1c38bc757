//! A VM's whole life on the simulator.
mod host;

use host::Host;

#[tokio::test(start_paused = true)]
async fn a_vm_is_built_and_runs_and_is_destroyed_without_a_trace() {
    let host = Host::new().await;
    let vm = host.vm(1);
    host.build(&vm).await.unwrap();
    host.sleep(5).await;
    host.destroy(&vm).await.unwrap();
    host.assert_clean();
}
