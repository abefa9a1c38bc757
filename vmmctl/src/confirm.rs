//! Asking a person before something is lost.
//!
//! Only a person can be asked: where stdin or stderr is no terminal, nobody is. What a script names it means; what it selects by
//! `--where` it must confirm with `-y`, because it has not seen what that is.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use crate::failure::Failure;
use crate::output::visible;

/// Why somebody is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Something is lost, and it was named.
    Loses,
    /// It was selected, not named.
    Selected,
}

/// Asks unless that was answered beforehand (`-y`).
pub(crate) async fn confirm(question: &str, reason: Reason, yes: bool) -> Result<(), Failure> {
    let is_person = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    match needed(reason, yes, is_person)? {
        false => Ok(()),
        true => ask(question.to_owned()).await,
    }
}

/// Is a person to be asked?
fn needed(reason: Reason, yes: bool, is_person: bool) -> Result<bool, Failure> {
    match (reason, yes, is_person) {
        (_, true, _) | (Reason::Loses, false, false) => Ok(false),
        (_, false, true) => Ok(true),
        (Reason::Selected, false, false) => Err(Failure::Usage(
            "nobody is here to confirm what --where selects: add -y, or look first with --dry-run"
                .into(),
        )),
    }
}

async fn ask(question: String) -> Result<(), Failure> {
    let asked = tokio::task::spawn_blocking(move || read_answer(&question));
    let answer = tokio::select! {
        answer = asked => answer,
        _ = tokio::signal::ctrl_c() => {
            eprintln!();
            // The thread that reads stdin cannot be stopped, and nothing is under way.
            std::process::exit(130);
        }
    };
    match answer {
        Ok(Ok(answer)) if is_yes(&answer) => Ok(()),
        Ok(Ok(_)) => Err(Failure::Local("not confirmed; nothing was done".into())),
        Ok(Err(error)) => Err(Failure::Local(format!("your answer cannot be read: {error}"))),
        Err(error) => Err(Failure::Local(format!("asking you failed: {error}"))),
    }
}

fn read_answer(question: &str) -> std::io::Result<String> {
    // Not locked while somebody thinks: Ctrl-C writes there too.
    std::io::stderr().write_all(format!("{} [y/N] ", visible(question)).as_bytes())?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(answer)
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_is_asked_and_a_script_is_believed_unless_it_selected() {
        for (reason, yes, is_person, expect) in [
            (Reason::Loses, false, true, Some(true)),
            (Reason::Loses, true, true, Some(false)),
            (Reason::Loses, false, false, Some(false)),
            (Reason::Selected, false, true, Some(true)),
            (Reason::Selected, true, false, Some(false)),
            (Reason::Selected, false, false, None),
        ] {
            let needed = needed(reason, yes, is_person).ok();
            assert_eq!(needed, expect, "{reason:?} {yes} {is_person}");
        }
    }

    #[test]
    fn only_a_clear_yes_is_one() {
        for (answer, expect) in [
            ("y\n", true),
            ("YES\n", true),
            (" y ", true),
            ("", false),
            ("\n", false),
            ("n\n", false),
            ("yep\n", false),
        ] {
            assert_eq!(is_yes(answer), expect, "{answer:?}");
        }
    }
}
