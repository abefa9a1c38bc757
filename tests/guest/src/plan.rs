//! What to do, from the words `idle|burn:N|dirty:MIB_PER_S:SET_MIB|disk:MIB_PER_S|blocks:PER_S|diskcheck|echo|ask:A.B.C.D|crash-on-plug|tools|hostile:KIND`,
//! separated by commas.
//!
//! Fails on a word that it does not know and on a number that is none, naming it.

use std::net::Ipv4Addr;
use std::str::FromStr;

use anyhow::{Context, Error, Result, bail};

use crate::disk;
use crate::hostile::Kind;

const THREADS_MAX: u32 = 128;

/// One thread's work.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Work {
    Burn,
    Dirty { rate_mib: u32, set_mib: u32 },
    Disk { blocks_per_s: u32 },
    DiskCheck,
    Echo,
    Ask(Ipv4Addr),
    CrashOnPlug,
    Tools,
    Hostile(Kind),
}

#[derive(Debug, PartialEq)]
pub(crate) struct Plan {
    pub(crate) works: Vec<Work>,
}

impl FromStr for Plan {
    type Err = Error;

    fn from_str(words: &str) -> Result<Self> {
        let mut works = Vec::new();
        for word in words.split(',').filter(|word| !word.is_empty()) {
            let mut parts = word.split(':');
            match parts.next().unwrap_or_default() {
                "idle" => {}
                "burn" => {
                    let threads = number(parts.next(), word)?.min(THREADS_MAX);
                    works.extend((0..threads).map(|_| Work::Burn));
                }
                "dirty" => works.push(Work::Dirty {
                    rate_mib: number(parts.next(), word)?,
                    set_mib: number(parts.next(), word)?,
                }),
                "disk" => {
                    let rate_mib = number(parts.next(), word)?;
                    let blocks_per_s = rate_mib.saturating_mul(disk::BLOCKS_PER_MIB);
                    works.push(Work::Disk { blocks_per_s });
                }
                "blocks" => works.push(Work::Disk { blocks_per_s: number(parts.next(), word)? }),
                "diskcheck" => works.push(Work::DiskCheck),
                "echo" => works.push(Work::Echo),
                "ask" => works.push(Work::Ask(parse(parts.next(), word)?)),
                "crash-on-plug" => works.push(Work::CrashOnPlug),
                "tools" => works.push(Work::Tools),
                "hostile" => works.push(Work::Hostile(parse(parts.next(), word)?)),
                _ => bail!("unknown work {word:?}"),
            }
            if parts.next().is_some() {
                bail!("too many numbers in {word:?}");
            }
        }
        Ok(Self { works })
    }
}

/// At least 1.
fn number(text: Option<&str>, word: &str) -> Result<u32> {
    parse(text, word).map(|number: u32| number.max(1))
}

fn parse<T>(text: Option<&str>, word: &str) -> Result<T>
where
    T: FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let text = text.with_context(|| format!("{word:?} lacks a part"))?;
    text.parse().with_context(|| format!("{text:?} in {word:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(words: &str, expect: &[Work]) {
        assert_eq!(words.parse::<Plan>().unwrap().works, expect, "{words}");
    }

    #[test]
    fn words_become_threads() {
        check("", &[]);
        check("idle", &[]);
        check("burn:2,echo", &[Work::Burn, Work::Burn, Work::Echo]);
        check("dirty:8:32", &[Work::Dirty { rate_mib: 8, set_mib: 32 }]);
        check("disk:1,diskcheck", &[Work::Disk { blocks_per_s: 16 }, Work::DiskCheck]);
        check("blocks:4", &[Work::Disk { blocks_per_s: 4 }]);
        check("ask:10.77.0.9", &[Work::Ask(Ipv4Addr::new(10, 77, 0, 9))]);
        check("crash-on-plug,hostile:flood", &[Work::CrashOnPlug, Work::Hostile(Kind::Flood)]);
        check("tools", &[Work::Tools]);
    }

    #[test]
    fn unknown_words_and_missing_numbers_are_named() {
        for words in ["sleep", "burn", "dirty:8", "burn:x", "disk:1:2", "ask:me", "hostile:kind"] {
            let error = words.parse::<Plan>().unwrap_err();
            assert!(format!("{error:#}").contains(words), "{error:#}");
        }
    }
}
