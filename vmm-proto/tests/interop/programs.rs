//! Programs of others, and what to do when one is missing.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

const INSTALL: &str = "`cargo xtask test --install` makes it";

fn here(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop").join(name)
}

#[allow(clippy::disallowed_methods, reason = "a peer from outside, in a test only")]
pub(crate) fn command(program: impl AsRef<Path>) -> Command {
    Command::new(program.as_ref())
}

/// Runs it to its end; says whether it succeeded, and what it wrote.
pub(crate) fn run(command: &mut Command) -> (bool, Vec<u8>) {
    let program = command.get_program().to_owned();
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{} cannot be run ({error}): {INSTALL}", program.display()));
    if !output.status.success() {
        eprintln!("{}: {}", program.display(), String::from_utf8_lossy(&output.stderr));
    }
    (output.status.success(), output.stdout)
}

/// Python with the packages that the scripts here need.
pub(crate) fn python(script: &str) -> Command {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/interop/venv/bin/python3");
    let interpreter = std::env::var_os("XVMP_PYTHON").map_or(default, PathBuf::from);
    assert!(interpreter.exists(), "{} is missing: {INSTALL}", interpreter.display());
    let mut command = command(interpreter);
    command.arg("-I").arg(here(script));
    command
}

/// Java with Apache Santuario, where Debian has it.
pub(crate) fn santuario() -> Command {
    let jars = ["xmlsec", "slf4j-api", "slf4j-nop", "commons-codec", "stax2-api", "woodstox-core"];
    let paths = jars.map(|jar| format!("/usr/share/java/{jar}.jar"));
    assert!(Path::new(&paths[0]).exists(), "{} is missing: {INSTALL}", paths[0]);
    let mut command = command("java");
    command.args(["-Xshare:auto", "-XX:TieredStopAtLevel=1", "-cp", &paths.join(":")]);
    command.arg(here("Santuario.java"));
    command
}

/// The peer in `xvmp.py`, one command and one answer at a time.
pub(crate) struct Xvmp {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Xvmp {
    pub(crate) fn start() -> Xvmp {
        let mut command = python("xvmp.py");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Xvmp { child, input, output: BufReader::new(output) }
    }

    #[track_caller]
    pub(crate) fn ask(&mut self, command: &Value) -> Value {
        writeln!(self.input, "{command}").unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "xvmp.py ended: what it said is above");
        serde_json::from_str(&line).unwrap()
    }
}

impl Drop for Xvmp {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
