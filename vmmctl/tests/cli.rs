//! The program itself, without a manager: what it says, where, and with which exit code.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;
use vmm_proto::clock::{SystemClock, WallClock as _};
use vmm_proto::credentials::CertificateAuthority;
use vmm_proto::principal::Principal;

/// Nobody listens there.
const NOBODY: &str = "127.0.0.1:1";

fn vmmctl(credentials: &Path, arguments: &[&str]) -> Output {
    #[allow(clippy::disallowed_methods, reason = "a test drives the real program")]
    let mut command = Command::new(env!("CARGO_BIN_EXE_vmmctl"));
    command.args(arguments).stdin(Stdio::null()).env_remove("COMPLETE");
    command.env("VMMCTL_MANAGER", NOBODY).env("VMMCTL_CREDENTIALS", credentials);
    command.output().expect("the program starts")
}

/// Credentials of a pool that is nowhere.
fn credentials() -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let now = SystemClock.now();
    let authority = CertificateAuthority::create(now).expect("an authority");
    let operator = authority.issue(&Principal::operator("ada"), now).expect("credentials");
    operator.save(directory.path()).expect("saved");
    directory
}

fn check(arguments: &[&str], exit_code: i32, stderr: &str) {
    let directory = credentials();
    let output = vmmctl(directory.path(), arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(exit_code), "{arguments:?}: {said}");
    assert!(said.contains(stderr), "{arguments:?}: no {stderr:?} in {said}");
    assert!(output.stdout.is_empty(), "{arguments:?}: answers only go to stdout");
    assert!(
        !said.contains('\x1b'),
        "{arguments:?}: a pipe has no colours and no progress: {said:?}"
    );
}

#[test]
fn what_cannot_be_done_has_its_exit_code_and_says_what_to_do() {
    check(&["vm", "lst"], 2, "similar");
    check(&["vm", "list", "-o", "xml"], 2, "possible values");
    check(&["vm", "list", "--where", "stats=running"], 2, "did you mean status?");
    check(&["vm", "list", "--sort", "colour"], 2, "known are: name");
    check(&["vm", "destroy", "--where", "status=nonsense", "-y"], 2, "status");
    check(&["top"], 2, "needs a terminal");
    check(&["vm", "list"], 4, "check --manager");
    check(&["vm", "start", "a", "b"], 4, "2 of 2 were not done");
    check(&["vm", "destroy", "a"], 4, "check --manager");
}

#[test]
fn whoever_has_no_credentials_hears_how_to_get_them() {
    let nowhere = tempfile::tempdir().expect("a directory");
    let output = vmmctl(&nowhere.path().join("none"), &["vm", "list"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("vmm-manager invite user"));
}

#[test]
fn help_says_every_exit_code() {
    let directory = credentials();
    let output = vmmctl(directory.path(), &["--help"]);
    let help = String::from_utf8_lossy(&output.stdout).into_owned();
    for code in ["  0  done", "  5  not found", " 10  no room", "130  interrupted"] {
        assert!(help.contains(code), "{code} in {help}");
    }
}

#[test]
fn completion_without_a_manager_is_silent() {
    let directory = credentials();
    #[allow(clippy::disallowed_methods, reason = "a test drives the real program")]
    let mut command = Command::new(env!("CARGO_BIN_EXE_vmmctl"));
    let words = ["--", "vmmctl", "--manager", NOBODY, "vm", "start", ""];
    command.args(words).env("VMMCTL_CREDENTIALS", directory.path()).env("COMPLETE", "bash");
    command.env("_CLAP_COMPLETE_INDEX", "5").env("_CLAP_IFS", "\n");
    let output = command.output().expect("the program starts");
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let offered = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(offered.lines().any(|line| line == "--no-wait"), "{offered}");
}

#[test]
fn each_shell_gets_a_script() {
    let directory = credentials();
    for shell in ["bash", "zsh", "fish"] {
        let output = vmmctl(directory.path(), &["completion", shell]);
        assert!(output.status.success());
        assert!(String::from_utf8_lossy(&output.stdout).contains("vmmctl --"), "{shell}");
    }
}
