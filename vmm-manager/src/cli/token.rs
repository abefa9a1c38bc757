//! `vmm-manager token`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::Subcommand;
use vmm_manager::http::{Token, Tokens};
use vmm_proto::clock::{SystemClock, WallClock as _};
use vmm_proto::principal::Principal;

use super::file::Layout;
use super::invite::{UserRole, take_over_owner};

const DAY: Duration = Duration::from_secs(86_400);

/// What is done with tokens. A manager that runs notices at once.
#[derive(Debug, Subcommand)]
pub(super) enum What {
    /// Make a token and print it; it is shown this once.
    Add {
        /// Whom it speaks for: 1 to 128 of A-Z a-z 0-9 . _ -
        name: String,
        /// What it may do: look, all with VMs, or all.
        #[arg(long, value_enum)]
        role: UserRole,
        /// How long it is good, in days.
        #[arg(long, default_value_t = 90, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=3650))]
        valid: u32,
        /// The manager's directory, made by `init`.
        #[arg(long)]
        dir: PathBuf,
    },
    /// List tokens: id, whom each speaks for, and the days that are left.
    List {
        /// The manager's directory, made by `init`.
        #[arg(long)]
        dir: PathBuf,
    },
    /// Take a token away, by its id, or all of a name.
    Revoke {
        /// The id, or the name.
        token: String,
        /// The manager's directory, made by `init`.
        #[arg(long)]
        dir: PathBuf,
    },
}

/// Does it.
pub(super) fn token(what: &What) -> Result<()> {
    let now = SystemClock.now();
    match what {
        What::Add { name, role, valid, dir } => {
            let layout = Layout::of(dir);
            // Where there is no manager there are no tokens.
            layout.read()?;
            let principal = Principal { role: role.role(), id: name.clone() };
            let expires = now + DAY * *valid;
            let text = Tokens::of(layout.tokens.clone()).make(&principal, (now, expires))?;
            take_over_owner(&layout.authority, &layout.tokens)?;
            eprintln!("good for {valid} days; whoever has it is {principal}:");
            println!("{}", text.as_str());
        }
        What::List { dir } => {
            for token in Tokens::of(Layout::of(dir).tokens).list()? {
                println!("{}", line(&token, now));
            }
        }
        What::Revoke { token, dir } => {
            for gone in Tokens::of(Layout::of(dir).tokens).revoke(token)? {
                println!("revoked {gone}");
            }
        }
    }
    Ok(())
}

fn line(token: &Token, now: Duration) -> String {
    let left = match token.expires.checked_sub(now) {
        Some(left) if !left.is_zero() => format!("{} days left", left.as_secs() / DAY.as_secs()),
        _ => "ended".to_owned(),
    };
    format!("{token} {left}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_long_a_token_is_good() {
        let token = Token {
            id: "0011223344556677".into(),
            principal: Principal::admin("ann"),
            made: DAY,
            expires: DAY * 4,
        };
        let check = |now: Duration, expect: &str| {
            let line = line(&token, now);
            assert!(line.starts_with("0011223344556677") && line.ends_with(expect), "{line}");
        };
        check(DAY * 2, "2 days left");
        check(DAY * 4, "ended");
        check(DAY * 9, "ended");
    }
}
