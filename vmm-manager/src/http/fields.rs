//! `fields=`: only some fields of each object of an answer.

use serde_json::{Map, Value};

use super::problem::Problem;
use super::shape::{Form, Shapes};

/// Names in one list, and dots in one name.
const NAMES_MAX: usize = 64;
const DEPTH_MAX: usize = 4;

/// Which fields are wanted; compared with the shape, so that a misspelt one is not a missing one.
pub(super) struct Wanted {
    paths: Vec<Vec<String>>,
    /// The list whose objects they are of; without one, they are the answer's own.
    list: Option<String>,
}

impl Wanted {
    pub(super) fn parse(text: &str, reply: &str) -> Result<Self, Problem> {
        let shapes = Shapes::known();
        let Some(Form::Object(name)) = shapes.reply(reply) else {
            return Err(Problem::bad("fields: this answer has none"));
        };
        let list = shapes.object(name).iter().find_map(|part| match &part.form {
            Form::Many(each) => match each.as_ref() {
                Form::Object(object) => Some((part.plain.clone(), *object)),
                _ => None,
            },
            _ => None,
        });
        // A reply with a name of its own for pages is a list; others have lists inside.
        let list = list.filter(|_| is_list(reply));
        let object = list.as_ref().map_or(*name, |(_, object)| *object);
        let paths: Vec<Vec<String>> = text
            .split(',')
            .map(|path| path.trim().split('.').map(str::to_owned).collect())
            .collect();
        if paths.len() > NAMES_MAX {
            return Err(Problem::bad(format!("fields: at most {NAMES_MAX} of them")));
        }
        paths.iter().try_for_each(|path| check(object, path))?;
        Ok(Self { paths, list: list.map(|(name, _)| name) })
    }

    pub(super) fn of(&self, answer: Value) -> Value {
        let Some(list) = &self.list else { return self.only(answer) };
        let Value::Object(mut whole) = answer else { return answer };
        if let Some(Value::Array(items)) = whole.remove(list) {
            let items = items.into_iter().map(|item| self.only(item)).collect();
            whole.insert(list.clone(), items);
        }
        Value::Object(whole)
    }

    fn only(&self, object: Value) -> Value {
        let mut chosen = Value::Object(Map::new());
        for path in &self.paths {
            copy(&object, &mut chosen, path);
        }
        chosen
    }
}

fn is_list(reply: &str) -> bool {
    matches!(reply, "Vms" | "Hosts" | "Pools" | "Sites" | "Groups" | "Tasks")
}

fn check(object: &str, path: &[String]) -> Result<(), Problem> {
    let mut parts = Shapes::known().object(object);
    for (depth, name) in path.iter().enumerate() {
        let part = parts.iter().find(|part| part.plain == *name);
        let Some(part) = part.filter(|_| depth < DEPTH_MAX) else {
            let known: Vec<&str> = parts.iter().map(|part| part.plain.as_str()).collect();
            let (path, known) = (path.join("."), known.join(", "));
            return Err(Problem::bad(format!("fields: {path:?} is not known; known are: {known}")));
        };
        parts = match &part.form {
            Form::Object(inner) => Shapes::known().object(inner),
            Form::Many(each) => match each.as_ref() {
                Form::Object(inner) => Shapes::known().object(inner),
                _ => &[],
            },
            _ => &[],
        };
    }
    Ok(())
}

/// Of a list inside, of each of its objects.
fn copy(from: &Value, to: &mut Value, path: &[String]) {
    let (Some((name, rest)), Value::Object(from), Value::Object(to)) =
        (path.split_first(), from, to)
    else {
        return;
    };
    let Some(value) = from.get(name) else { return };
    if rest.is_empty() {
        to.insert(name.clone(), value.clone());
        return;
    }
    match value {
        Value::Object(_) => {
            let inner = to.entry(name.clone()).or_insert_with(|| Value::Object(Map::new()));
            copy(value, inner, rest);
        }
        Value::Array(items) => {
            let empty = || Value::Array(vec![Value::Object(Map::new()); items.len()]);
            let Value::Array(inner) = to.entry(name.clone()).or_insert_with(empty) else { return };
            items.iter().zip(inner).for_each(|(item, inner)| copy(item, inner, rest));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_was_asked_for_is_left() {
        let answer = json!({"next": "x", "vm": [
            {"vm": "1", "stale": false, "spec": {"name": "a", "vcpus": 1, "disk": [{"path": "/d", "device": "xvda"}]}},
            {"vm": "2", "stale": true, "spec": {"name": "b", "vcpus": 2}},
        ]});
        let wanted = Wanted::parse("vm,spec.name,spec.disk.path,host", "Vms").expect("known");
        let expect = json!({"next": "x", "vm": [
            {"vm": "1", "spec": {"name": "a", "disk": [{"path": "/d"}]}},
            {"vm": "2", "spec": {"name": "b"}},
        ]});
        assert_eq!(wanted.of(answer), expect);
        for bad in ["", "vm,nam", "spec.nam", "vm.x", "spec.disk.path.x"] {
            assert!(Wanted::parse(bad, "Vms").is_err(), "{bad}");
        }
    }
}
