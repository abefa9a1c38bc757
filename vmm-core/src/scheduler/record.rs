//! A problem as text, so that any decision can be made again: what DRS calls a dump.
//!
//! One fact a line: a kind, then `key=value` fields in any order. Values are escaped as in a URL, so that a name may hold anything. A record begins with its version and what was asked:
//!
//! ```text
//!   record version=1 ask=place vm=6f… density=0
//!   host id=… name=host1 health=up … cap.cpu=32000 used.cpu=1200
//!   vm id=… name=web host=… demand.memory=1048576 …
//!   group name=web kind=apart members=…,…
//! ```
//!
//! Reading refuses what it does not know, with the line: a record that is half understood would be decided differently in silence.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Display, Write as _};
use std::str::FromStr;

use super::problem::{Group, GroupKind, Host, Image, Mobility, Needs, Pool, Vm};
use super::{
    Amounts, Batch, CostModel, Decision, Effort, Growth, Limits, Plan, Preference, Relocation,
    Resource, batch, evacuate, grow, place, rebalance, relocate,
};
use crate::cpu::Features;
use crate::host::Health;
use crate::id::{HostId, VmId};

const VERSION: u32 = 1;

/// What was asked.
#[derive(Clone, Debug, PartialEq)]
pub enum Question {
    /// Where one VM goes that is nowhere; it is among the pool's.
    Place(VmId),
    /// Where many go.
    Batch(Vec<VmId>, Effort),
    /// Which moves pay.
    Rebalance(Limits),
    /// How a host is emptied.
    Evacuate(HostId),
    /// How a VM gets this much in all.
    Grow(VmId, Amounts),
    /// Where a VM goes that runs and shall be moved.
    Relocate(VmId),
}

/// A question with all that its answer depends on.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// What was asked.
    pub question: Question,
    /// From balance to density.
    pub preference: Preference,
    /// All that was known.
    pub pool: Pool,
}

/// What was answered.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// To [`Question::Place`]; `None` when the VM is not in the pool.
    Place(Option<Decision>),
    /// To [`Question::Batch`].
    Batch(Batch),
    /// To [`Question::Rebalance`] and [`Question::Evacuate`].
    Plan(Plan),
    /// To [`Question::Grow`]; `None` when the VM is on no host.
    Grow(Option<Growth>),
    /// To [`Question::Relocate`]; `None` when the VM is on no host.
    Relocate(Option<Relocation>),
}

/// A line that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the record: {what}")]
pub struct BadRecord {
    /// From 1.
    pub line: usize,
    /// What is wrong with it.
    pub what: String,
}

impl Record {
    /// Decides again.
    #[must_use]
    pub fn replay(&self) -> Answer {
        let (pool, model) = (&self.pool, CostModel::new(self.preference));
        let find = |id: &VmId| pool.vms.iter().find(|vm| vm.id == *id);
        match &self.question {
            Question::Place(id) => Answer::Place(find(id).map(|vm| place(pool, vm, &model))),
            Question::Batch(ids, effort) => {
                let (wanted, there): (Vec<Vm>, Vec<Vm>) =
                    pool.vms.iter().cloned().partition(|vm| ids.contains(&vm.id));
                let rest = Pool { vms: there, ..pool.clone() };
                Answer::Batch(batch(&rest, &wanted, &model, *effort))
            }
            Question::Rebalance(limits) => Answer::Plan(rebalance(pool, &model, limits)),
            Question::Evacuate(host) => Answer::Plan(evacuate(pool, *host, &model)),
            Question::Grow(vm, demand) => Answer::Grow(grow(pool, *vm, *demand, &model)),
            Question::Relocate(vm) => Answer::Relocate(relocate(pool, *vm, &model)),
        }
    }

    /// As text.
    #[must_use]
    pub fn write(&self) -> String {
        let mut text = Lines::default();
        text.begin("record").field("version", VERSION).field("density", self.preference.density());
        match &self.question {
            Question::Place(vm) => text.field("ask", "place").field("vm", vm),
            Question::Batch(vms, effort) => text
                .field("ask", "batch")
                .list("vms", vms)
                .field("repairs", effort.repairs)
                .field("seed", effort.seed),
            Question::Rebalance(limits) => text
                .field("ask", "rebalance")
                .field("moves", limits.moves_max)
                .field("cool-down", limits.cool_down_s)
                .field("trusted", limits.trusted_s),
            Question::Evacuate(host) => text.field("ask", "evacuate").field("host", host),
            Question::Grow(vm, demand) => {
                text.field("ask", "grow").field("vm", vm).amounts("demand", demand, 0)
            }
            Question::Relocate(vm) => text.field("ask", "relocate").field("vm", vm),
        };
        self.pool.hosts.iter().for_each(|host| write_host(&mut text, host));
        self.pool.vms.iter().for_each(|vm| write_vm(&mut text, vm));
        self.pool.groups.iter().for_each(|group| write_group(&mut text, group));
        text.0 + "\n"
    }

    /// From text.
    ///
    /// # Errors
    /// [`BadRecord`], with the first line that is not understood.
    pub fn read(text: &str) -> Result<Self, BadRecord> {
        let mut lines = text.lines().enumerate().map(|(number, line)| Fields::of(number + 1, line));
        let nothing = || BadRecord { line: 1, what: "there is nothing".into() };
        let mut head = lines.next().ok_or_else(nothing)??;
        head.is("record")?;
        let version: u32 = head.parse("version")?;
        if version != VERSION {
            return Err(head.bad(format!("version {version} is not {VERSION}")));
        }
        let density = head.parse("density")?;
        let preference =
            Preference::new(density).ok_or_else(|| head.bad("density is from 0 to 1"))?;
        let question = read_question(&mut head)?;
        head.end()?;
        let mut pool = Pool::default();
        for line in lines {
            let mut line = line?;
            match line.kind.as_str() {
                "host" => pool.hosts.push(read_host(&mut line)?),
                "vm" => pool.vms.push(read_vm(&mut line)?),
                "group" => pool.groups.push(read_group(&mut line)?),
                other => return Err(line.bad(format!("{other:?} is no kind of line"))),
            }
            line.end()?;
        }
        Ok(Self { question, preference, pool })
    }
}

fn read_question(head: &mut Fields) -> Result<Question, BadRecord> {
    Ok(match head.text("ask")?.as_str() {
        "place" => Question::Place(head.parse("vm")?),
        "batch" => {
            let effort = Effort { repairs: head.parse("repairs")?, seed: head.parse("seed")? };
            Question::Batch(head.list("vms")?, effort)
        }
        "rebalance" => Question::Rebalance(Limits {
            moves_max: head.parse("moves")?,
            cool_down_s: head.parse("cool-down")?,
            trusted_s: head.parse("trusted")?,
        }),
        "evacuate" => Question::Evacuate(head.parse("host")?),
        "grow" => Question::Grow(head.parse("vm")?, head.amounts("demand", 0)?),
        "relocate" => Question::Relocate(head.parse("vm")?),
        other => return Err(head.bad(format!("{other:?} is no question"))),
    })
}

fn write_host(text: &mut Lines, host: &Host) {
    let health = match host.health {
        Health::Up => "up",
        Health::Silent => "silent",
        Health::Unknown => "unknown",
    };
    text.begin("host")
        .field("id", host.id)
        .field("name", &host.name)
        .field("health", health)
        .field("maintenance", host.maintenance)
        .field("zone", &host.zone)
        .field("pcpus", host.pcpus)
        .list("features", &host.features.0)
        .list("storages", &host.storages)
        .list("images", &host.images)
        .field("link", host.link_bytes_per_s)
        .amounts("cap", &host.capacity, u64::MAX)
        .amounts("used", &host.used, 0);
}

fn read_host(line: &mut Fields) -> Result<Host, BadRecord> {
    let health = match line.text("health")?.as_str() {
        "up" => Health::Up,
        "silent" => Health::Silent,
        "unknown" => Health::Unknown,
        other => return Err(line.bad(format!("{other:?} is no health"))),
    };
    Ok(Host {
        id: line.parse("id")?,
        name: line.text("name")?,
        health,
        maintenance: line.parse("maintenance")?,
        zone: line.text("zone")?,
        pcpus: line.parse("pcpus")?,
        features: Features(line.list("features")?),
        storages: line.set("storages")?,
        images: line.set("images")?,
        capacity: line.amounts("cap", u64::MAX)?,
        used: line.amounts("used", 0)?,
        link_bytes_per_s: line.parse("link")?,
    })
}

fn write_vm(text: &mut Lines, vm: &Vm) {
    text.begin("vm")
        .field("id", vm.id)
        .field("name", &vm.name)
        .optional("host", vm.host)
        .amounts("demand", &vm.demand, 0)
        .field("vcpus", vm.needs.vcpus)
        .optional("zone", vm.needs.zone.as_ref())
        .list("features", &vm.needs.features.0)
        .list("storages", &vm.needs.storages)
        .list("pinned", &vm.needs.pinned)
        .list("disks-in-use", &vm.needs.disks_in_use)
        .optional("image", vm.image.as_ref().map(|image| &image.name))
        .optional("image-bytes", vm.image.as_ref().map(|image| image.bytes))
        .field("movable", vm.mobility.is_movable)
        .field("memory", vm.mobility.memory_bytes)
        .field("dirty", vm.mobility.dirty_bytes_per_s)
        .optional("stands", vm.mobility.stands.then_some(true))
        .optional("moved", vm.mobility.moved_s_ago);
}

fn read_vm(line: &mut Fields) -> Result<Vm, BadRecord> {
    let image = match (line.optional("image")?, line.optional("image-bytes")?) {
        (Some(name), Some(bytes)) => Some(Image { name, bytes }),
        (None, None) => None,
        _ => return Err(line.bad("an image has a name and a size")),
    };
    Ok(Vm {
        id: line.parse("id")?,
        name: line.text("name")?,
        demand: line.amounts("demand", 0)?,
        host: line.optional("host")?,
        needs: Needs {
            vcpus: line.parse("vcpus")?,
            zone: line.optional("zone")?,
            features: Features(line.list("features")?),
            storages: line.set("storages")?,
            pinned: line.set("pinned")?,
            disks_in_use: line.set("disks-in-use")?,
        },
        image,
        mobility: Mobility {
            is_movable: line.parse("movable")?,
            memory_bytes: line.parse("memory")?,
            dirty_bytes_per_s: line.parse("dirty")?,
            stands: line.optional("stands")?.unwrap_or(false),
            moved_s_ago: line.optional("moved")?,
        },
    })
}

fn write_group(text: &mut Lines, group: &Group) {
    let kind = match group.kind {
        GroupKind::Together => "together",
        GroupKind::Apart => "apart",
    };
    text.begin("group")
        .field("name", &group.name)
        .field("kind", kind)
        .list("members", &group.members)
        .optional("wish", group.wish);
}

fn read_group(line: &mut Fields) -> Result<Group, BadRecord> {
    let kind = match line.text("kind")?.as_str() {
        "together" => GroupKind::Together,
        "apart" => GroupKind::Apart,
        other => return Err(line.bad(format!("{other:?} is no kind of group"))),
    };
    Ok(Group {
        name: line.text("name")?,
        members: line.set("members")?,
        kind,
        wish: line.optional("wish")?,
    })
}

/// Text being written, line by line.
#[derive(Default)]
struct Lines(String);

impl Lines {
    fn begin(&mut self, kind: &str) -> &mut Self {
        if !self.0.is_empty() {
            self.0.push('\n');
        }
        self.0.push_str(kind);
        self
    }

    fn field(&mut self, key: &str, value: impl Display) -> &mut Self {
        let value = escape(&value.to_string());
        // Writing into a string cannot fail.
        let _ = write!(self.0, " {key}={value}");
        self
    }

    fn optional(&mut self, key: &str, value: Option<impl Display>) -> &mut Self {
        match value {
            Some(value) => self.field(key, value),
            None => self,
        }
    }

    fn list(&mut self, key: &str, values: impl IntoIterator<Item = impl Display>) -> &mut Self {
        let values: Vec<String> =
            values.into_iter().map(|value| escape(&value.to_string())).collect();
        if !values.is_empty() {
            let _ = write!(self.0, " {key}={}", values.join(","));
        }
        self
    }

    fn amounts(&mut self, prefix: &str, amounts: &Amounts, usual: u64) -> &mut Self {
        for resource in Resource::ALL.into_iter().filter(|r| amounts[*r] != usual) {
            self.field(&format!("{prefix}.{resource}"), amounts[resource]);
        }
        self
    }
}

/// A line being read: what is taken is no longer there, and in the end nothing may be.
struct Fields {
    number: usize,
    kind: String,
    fields: BTreeMap<String, String>,
}

impl Fields {
    fn of(number: usize, line: &str) -> Result<Self, BadRecord> {
        let bad = |what: String| BadRecord { line: number, what };
        let mut words = line.split_ascii_whitespace();
        let kind = words.next().ok_or_else(|| bad("it is empty".into()))?.to_owned();
        let mut fields = BTreeMap::new();
        for word in words {
            let pair = word.split_once('=');
            let (key, value) = pair.ok_or_else(|| bad(format!("{word:?} is no key=value")))?;
            if fields.insert(key.to_owned(), value.to_owned()).is_some() {
                return Err(bad(format!("{key} stands there twice")));
            }
        }
        Ok(Self { number, kind, fields })
    }

    fn bad(&self, what: impl Into<String>) -> BadRecord {
        BadRecord { line: self.number, what: what.into() }
    }

    fn is(&self, kind: &str) -> Result<(), BadRecord> {
        if self.kind == kind {
            Ok(())
        } else {
            Err(self.bad(format!("it should begin with {kind}")))
        }
    }

    fn text(&mut self, key: &str) -> Result<String, BadRecord> {
        self.optional(key)?.ok_or_else(|| self.bad(format!("{key} is missing")))
    }

    fn parse<T: FromStr>(&mut self, key: &str) -> Result<T, BadRecord> {
        self.optional(key)?.ok_or_else(|| self.bad(format!("{key} is missing")))
    }

    fn optional<T: FromStr>(&mut self, key: &str) -> Result<Option<T>, BadRecord> {
        let Some(value) = self.fields.remove(key) else { return Ok(None) };
        self.value(key, &value).map(Some)
    }

    fn value<T: FromStr>(&self, key: &str, escaped: &str) -> Result<T, BadRecord> {
        let text = unescape(escaped).ok_or_else(|| self.bad(format!("{key} is escaped badly")))?;
        text.parse().map_err(|_| self.bad(format!("{key} cannot be {text:?}")))
    }

    fn list<T: FromStr>(&mut self, key: &str) -> Result<Vec<T>, BadRecord> {
        let Some(values) = self.fields.remove(key) else { return Ok(Vec::new()) };
        values.split(',').map(|value| self.value(key, value)).collect()
    }

    fn set<T: FromStr + Ord>(&mut self, key: &str) -> Result<BTreeSet<T>, BadRecord> {
        self.list(key).map(|values| values.into_iter().collect())
    }

    fn amounts(&mut self, prefix: &str, usual: u64) -> Result<Amounts, BadRecord> {
        let mut amounts = Amounts::NOTHING;
        for resource in Resource::ALL {
            let amount = self.optional(&format!("{prefix}.{resource}"))?;
            amounts[resource] = amount.unwrap_or(usual);
        }
        Ok(amounts)
    }

    fn end(&self) -> Result<(), BadRecord> {
        match self.fields.keys().next() {
            Some(key) => Err(self.bad(format!("{key} is not known"))),
            None => Ok(()),
        }
    }
}

/// Everything but the plainest characters as `%` and two hexadecimal digits a byte.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.:/".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02x}");
        }
    }
    escaped
}

fn unescape(escaped: &str) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::with_capacity(escaped.len()), escaped.bytes());
    while let Some(byte) = rest.next() {
        bytes.push(if byte == b'%' {
            let mut digit = || char::from(rest.next()?).to_digit(16);
            u8::try_from(digit()? * 16 + digit()?).ok()?
        } else {
            byte
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests;
