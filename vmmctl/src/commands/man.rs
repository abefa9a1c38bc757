//! `vmmctl man`

use std::path::Path;

use clap::CommandFactory as _;

use crate::args::Args;
use crate::failure::Failure;

/// A page for each command: `vmmctl.1`, `vmmctl-vm.1`, `vmmctl-vm-start.1` …
pub(crate) fn run(directory: &Path) -> Result<(), Failure> {
    clap_mangen::generate_to(Args::command(), directory).map_err(|error| {
        let directory = directory.display();
        Failure::Local(format!("manual pages cannot be written to {directory}: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_has_its_page() {
        let directory = tempfile::tempdir().expect("a directory");
        run(directory.path()).expect("pages");
        for page in ["vmmctl.1", "vmmctl-vm.1", "vmmctl-vm-start.1", "vmmctl-task-wait.1"] {
            let text = std::fs::read_to_string(directory.path().join(page)).expect(page);
            assert!(text.contains(".TH"), "{page} is no manual page");
        }
        let nowhere = directory.path().join("nowhere");
        assert_eq!(run(&nowhere).expect_err("no directory").exit_code(), 1);
    }
}
