//! The language against a model of it, what people write, and texts of every kind.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// A row whose values stand in tables.
#[derive(Clone, Debug, Default)]
struct Row {
    texts: BTreeMap<&'static str, String>,
    numbers: BTreeMap<&'static str, u64>,
    tags: Vec<String>,
    id: u8,
}

impl Record for Row {
    type Field = VmField;

    fn value(&self, field: VmField) -> Value<'_> {
        let name = field.field().name;
        match field.field().field_type {
            FieldType::Text | FieldType::Path => self.texts.get(name).map(String::as_str).into(),
            FieldType::Texts => Value::Missing,
            FieldType::Words(_) | FieldType::Number(_) => self.numbers.get(name).copied().into(),
        }
    }

    fn any(&self, field: VmField, test: &mut dyn FnMut(&str) -> bool) -> bool {
        field == VmField::Tag && self.tags.iter().any(|tag| test(tag))
    }

    fn tie(&self) -> [u8; 16] {
        [self.id; 16]
    }
}

fn web() -> Row {
    let texts = [("name", "Web-01"), ("host", "h1"), ("folder", "/prod/web")];
    let numbers =
        [("status", 1), ("cpu", 810_000), ("memory", 2 << 30), ("vcpus", 4), ("stale", 0)];
    Row {
        texts: texts.map(|(name, text)| (name, text.to_owned())).into(),
        numbers: numbers.into(),
        tags: vec!["frontend".into(), "Tier1".into()],
        id: 1,
    }
}

#[test]
fn what_people_write_finds_what_they_mean() {
    let check = |text: &str, expect: bool| {
        let query = Query::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(query.matches(&web()), expect, "{text} as {query}");
    };
    check("status=running and host=h1 and tag~front and cpu>0.8", true);
    check("", true);
    check("  ", true);
    check("web", true);
    check("WEB", true);
    check("'web'", true);
    check("db", false);
    check("web db", false);
    check("web or db", true);
    check("db or web and host=h2", false);
    check("(db or web) host=h1", true);
    check("not db", true);
    check("!web", false);
    check("!(web or db)", false);
    check("not not web", true);
    check("NOT db AND web", true);
    check("name=web-01", false);
    check("name=Web-01", true);
    check("NAME=Web-01", true);
    check("name!=Web-01", false);
    check("name:eb-", true);
    check("name!~eb-", false);
    check("tag=Tier1", true);
    check("tag=tier1", false);
    check("tag:tier", true);
    check("tag!=Tier1", false);
    check("tag!=other", true);
    check("tag in (a, Tier1)", true);
    check("tag not in (a, Tier1)", false);
    check("tag=\"\"", false);
    check("host in (h1,h2)", true);
    check("host not in (h2)", true);
    check("status in (paused, running)", true);
    check("status:run", true);
    check("status:susp", false);
    check("status=stopped", false);
    check("status!=stopped", true);
    check("status=RUNNING", true);
    check("stale=no", true);
    check("stale=true", false);
    check("busy=false", false);
    check("cpu>80%", true);
    check("cpu > 0.81", false);
    check("cpu>=81%", true);
    check("memory=2GiB", true);
    check("memory:2GiB", true);
    check("memory<2GiB", false);
    check("memory in (1GiB, 2GiB)", true);
    check("vcpus<=4 vcpus!=5", true);
    check("disk>0", false);
    check("not disk>0", true);
    check("disk!=0", true);
    check("pool=\"\"", true);
    check("pool=p1", false);
    check("folder=/", true);
    check("folder=/prod", true);
    check("folder=/prod/", true);
    check("folder=/pro", false);
    check("folder=/prod/web", true);
    check("folder=/prod/web/a", false);
    check("folder~/pro", true);
    check("folder in (/test, /prod)", true);
    check("mac:00:16:3e", false);
    check("name=\"Web-01\"", true);
    check("name='a\\'b'", false);
}

#[test]
fn what_is_wrong_is_named_with_its_place_and_what_was_meant() {
    let check = |text: &str, at: usize, says: &str| {
        let error = Query::<VmField>::parse(text).expect_err(text);
        assert_eq!(error.at(), at, "{text}: {error}");
        assert!(error.to_string().contains(says), "{text}: {error}");
    };
    check("statu=running", 0, "did you mean status?");
    check("web and stat=running", 8, "did you mean status?");
    check("xyzzy=1", 0, "known are: name, id, status");
    check("status=runing", 7, "did you mean running?");
    check("status=alive", 7, "one of: starting, running");
    check("status:xx", 7, "status is never \"xx\"");
    check("status<running", 6, "use = != ~ !~ : or in");
    check("cpu~8", 3, "use = != < <= > >= or in");
    check("name>a", 4, "cannot be asked with >");
    check("memory>2", 7, "a size with its unit");
    check("cpu>fast", 4, "80%");
    check("vcpus=4.5", 6, "a whole number");
    check("folder=prod", 7, "from the root");
    check("name=", 5, "the end is not a value");
    check("name==x", 5, "is not a value");
    check("web and", 7, "the end is not a name");
    check("and web", 0, "\"and\" is not a name");
    check("(web", 4, "the end is not \")\"");
    check("web)", 3, "\")\" is not the end");
    check("host in (a b)", 11, "is not \",\" or \")\"");
    check("host in (", 9, "is not a value");
    check("web \"open", 4, "not closed");
    check("=x", 0, "is not a name");
    check("web, db", 3, "\",\" is not the end");
}

#[test]
fn limits_hold() {
    let many = |what: &str, count: usize| vec![what; count].join(" ");
    assert!(Query::<VmField>::parse(&many("a", TERMS_MAX)).is_ok());
    let refused = |text: String| Query::<VmField>::parse(&text).expect_err("refused");
    assert!(matches!(refused(many("a", TERMS_MAX + 1)), QueryError::TooMany { .. }));
    assert!(matches!(refused("a".repeat(TEXT_BYTES_MAX + 1)), QueryError::TooLong { .. }));
    assert!(Query::<VmField>::parse(&format!("{}a", "!".repeat(DEPTH_MAX))).is_ok());
    assert!(matches!(
        refused(format!("{}a", "!".repeat(DEPTH_MAX + 1))),
        QueryError::TooMany { .. }
    ));
    assert!(matches!(refused("(".repeat(TEXT_BYTES_MAX)), QueryError::TooMany { .. }));
    let list = format!("name in ({}a)", "a,".repeat(VALUES_MAX + 1));
    assert!(matches!(refused(list), QueryError::TooMany { .. }));
}

#[test]
fn the_catalogue_is_consistent() {
    fn check<F: Fields>() {
        for (place, field) in F::all().iter().enumerate() {
            let name = field.field().name;
            assert_eq!(F::named(name), Some(*field), "{name} stands twice");
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{name}");
            assert!(!["and", "or", "not", "in"].contains(&name));
            assert_eq!(*field == F::NAME, place == 0);
            if let FieldType::Words(words) = field.field().field_type {
                assert!(words.words.len() <= 64);
                for (group, of) in words.groups {
                    let known = of.iter().all(|word| words.words.contains(word));
                    assert!(known && !words.words.contains(group), "{name}: {group}");
                }
            }
        }
    }
    check::<VmField>();
    check::<HostField>();
    check::<PoolField>();
    check::<SiteField>();
    check::<TaskField>();
}

#[test]
fn an_order_puts_what_is_missing_last_and_gives_each_row_one_place() {
    let row = |id: u8, cpu: Option<u64>, name: &str| Row {
        texts: [("name", name.to_owned())].into(),
        numbers: cpu.map(|cpu| ("cpu", cpu)).into_iter().collect(),
        tags: Vec::new(),
        id,
    };
    let rows =
        [row(1, Some(5), "b"), row(2, None, "a"), row(3, Some(9), "b"), row(4, Some(5), "a")];
    let check = |text: &str, expect: [u8; 4]| {
        let sort = Sort::parse(text).expect(text);
        let mut sorted = rows.clone();
        sorted.sort_by(|one, other| sort.compare(one, other));
        assert_eq!(sorted.each_ref().map(|row| row.id), expect, "{text} as {sort}");
        assert_eq!(Sort::parse(&sort.to_string()), Ok(sort));
    };
    check("", [2, 4, 1, 3]);
    check("name", [2, 4, 1, 3]);
    check("-name", [1, 3, 2, 4]);
    check("cpu", [1, 4, 3, 2]);
    check("-cpu, name", [3, 4, 1, 2]);
    let refused = |text: &str, at: usize| {
        let error = Sort::<VmField>::parse(text).expect_err(text);
        assert_eq!(error.at(), at, "{text}: {error}");
    };
    refused("nme", 0);
    refused("name, -cpus", 7);
    refused("tag", 0);
    refused("name,", 5);
    refused("name,cpu,vcpus,memory,disk", 22);
}

#[test]
fn suggestions_fit_the_place() {
    let check = |text: &str, expect: (usize, &[&str], Option<VmField>)| {
        let found = suggest::<VmField>(text, text.len());
        let items: Vec<&str> = found.items.iter().map(|item| item.text).collect();
        let (start, begin, values_of) = expect;
        assert_eq!((found.start, found.values_of), (start, values_of), "{text:?}: {items:?}");
        assert_eq!(items.get(..begin.len()), Some(begin), "{text:?}: {items:?}");
        if begin.is_empty() {
            assert_eq!(items, [""; 0], "{text:?}");
        }
    };
    check("", (0, &["name", "id", "status"], None));
    check("sta", (0, &["status", "stale"], None));
    check("status", (0, &["status"], None));
    check("status ", (7, &["=", "!=", "~", "!~", "in ("], None));
    check("status !", (7, &["!=", "!~"], None));
    check("status not i", (7, &["not in ("], None));
    check("cpu ", (4, &["=", "!=", "<", "<="], None));
    check("status=", (7, &["starting", "running"], Some(VmField::Status)));
    check("status=s", (7, &["starting", "shutting-down"], Some(VmField::Status)));
    check("status in (saved, pa", (18, &["paused"], Some(VmField::Status)));
    check("host=", (5, &[], Some(VmField::Host)));
    check("host=\"two ", (5, &[], Some(VmField::Host)));
    check("status=running ", (15, &["and", "or", "name"], None));
    check("web ", (4, &["and", "or", "name"], None));
    check("web and sta", (8, &["status", "stale"], None));
    check("not (stat", (5, &["status"], None));
    check("(web) o", (6, &["or"], None));
    check("stale=", (6, &["false", "true", "no", "yes"], Some(VmField::Stale)));
    check("nothing=x sta", (10, &["status", "stale"], None));
}

/// The same language, said once more as plainly as possible.
#[derive(Clone, Debug)]
enum Model {
    Term(&'static str, &'static str, String),
    List(&'static str, bool, Vec<String>),
    Word(String),
    Not(Box<Model>),
    And(Vec<Model>),
    Or(Vec<Model>),
}

const STATUS: [&str; 4] = ["starting", "running", "paused", "saved"];

fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

impl Model {
    fn text(&self) -> String {
        let join = |parts: &[Model], by: &str| {
            parts.iter().map(|part| format!("({})", part.text())).collect::<Vec<_>>().join(by)
        };
        match self {
            Model::Term("memory", op, value) => format!("memory{op}{value}B"),
            Model::Term(field, op, value) => format!("{field} {op} {}", quote(value)),
            Model::List(field, not, values) => {
                let values: Vec<String> = values.iter().map(|value| quote(value)).collect();
                let not = if *not { "not in" } else { "IN" };
                format!("{field} {not} ({})", values.join(" , "))
            }
            Model::Word(text) => quote(text),
            Model::Not(part) => format!("not ({})", part.text()),
            Model::And(parts) => join(parts, " and "),
            Model::Or(parts) => join(parts, " or "),
        }
    }

    fn holds(&self, row: &Row) -> bool {
        match self {
            Model::Not(part) => !part.holds(row),
            Model::And(parts) => parts.iter().all(|part| part.holds(row)),
            Model::Or(parts) => parts.iter().any(|part| part.holds(row)),
            Model::Word(text) => has(&texts(row, "name"), text),
            Model::List(field, not, values) => {
                values.iter().any(|value| texts(row, field).contains(value)) != *not
            }
            Model::Term("memory", op, value) => {
                let (have, value) = (row.numbers.get("memory"), value.parse().expect("a number"));
                let order = have.map(|have| have.cmp(&value));
                match *op {
                    "!=" => order != Some(Ordering::Equal),
                    "=" => order == Some(Ordering::Equal),
                    "<" => order == Some(Ordering::Less),
                    "<=" => matches!(order, Some(Ordering::Less | Ordering::Equal)),
                    ">" => order == Some(Ordering::Greater),
                    _ => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
                }
            }
            Model::Term(field, op, value) => match *op {
                "=" => texts(row, field).contains(value),
                "!=" => !texts(row, field).contains(value),
                "!~" => !has(&texts(row, field), value),
                _ => has(&texts(row, field), value),
            },
        }
    }
}

fn has(texts: &[String], part: &str) -> bool {
    texts.iter().any(|text| text.to_lowercase().contains(&part.to_lowercase()))
}

/// All texts of a field; the empty one where there is none.
fn texts(row: &Row, field: &str) -> Vec<String> {
    match field {
        "tag" => row.tags.clone(),
        "status" => {
            let place = row.numbers.get("status").and_then(|place| usize::try_from(*place).ok());
            let FieldType::Words(words) = VmField::Status.field().field_type else {
                panic!("words")
            };
            vec![place.map_or(String::new(), |place| words.words[place].to_owned())]
        }
        field => vec![row.texts.get(field).cloned().unwrap_or_default()],
    }
}

fn short() -> impl Strategy<Value = String> {
    // Without letters whose lower case depends on what stands around them.
    "[abAB()\"\\\\ ,=ÄßÉ-]{0,3}"
}

fn model() -> impl Strategy<Value = Model> {
    let text_field = || prop_oneof![Just("name"), Just("host"), Just("tag"), Just("notes")];
    let text_op = prop_oneof![Just("="), Just("!="), Just("~"), Just("!~"), Just(":")];
    let number_op =
        prop_oneof![Just("="), Just("!="), Just("<"), Just("<="), Just(">"), Just(">=")];
    let status = || (0..STATUS.len()).prop_map(|place| STATUS[place].to_owned());
    let leaf = prop_oneof![
        (text_field(), text_op, short()).prop_map(|(field, op, text)| Model::Term(field, op, text)),
        (number_op, 0_u64..4).prop_map(|(op, n)| Model::Term("memory", op, n.to_string())),
        (prop_oneof![Just("="), Just("!=")], status())
            .prop_map(|(op, text)| Model::Term("status", op, text)),
        (text_field(), any::<bool>(), proptest::collection::vec(short(), 1..4))
            .prop_map(|(field, not, texts)| Model::List(field, not, texts)),
        (any::<bool>(), proptest::collection::vec(status(), 1..4))
            .prop_map(|(not, texts)| Model::List("status", not, texts)),
        short().prop_map(Model::Word),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        let some = proptest::collection::vec(inner.clone(), 1..4);
        prop_oneof![
            inner.prop_map(|part| Model::Not(Box::new(part))),
            some.clone().prop_map(Model::And),
            some.prop_map(Model::Or),
        ]
    })
}

fn row() -> impl Strategy<Value = Row> {
    let maybe = || proptest::option::of(short());
    let numbers = (proptest::option::of(0_u64..4), proptest::option::of(0_u64..3));
    let texts = (maybe(), maybe(), maybe());
    (texts, numbers, proptest::collection::vec(short(), 0..3), any::<u8>()).prop_map(
        |((name, host, notes), (memory, status), tags, id)| {
            let texts = [("name", name), ("host", host), ("notes", notes)];
            let numbers = [("memory", memory), ("status", status)];
            Row {
                texts: texts.into_iter().filter_map(|(name, text)| Some((name, text?))).collect(),
                numbers: numbers.into_iter().filter_map(|(name, n)| Some((name, n?))).collect(),
                tags,
                id,
            }
        },
    )
}

proptest! {
    #[test]
    fn a_query_means_what_its_model_means(model in model(), rows in proptest::collection::vec(row(), 1..8)) {
        let text = model.text();
        let query = match Query::<VmField>::parse(&text) {
            Ok(query) => query,
            Err(QueryError::TooMany { .. }) => return Ok(()),
            Err(error) => panic!("{text}: {error}"),
        };
        for row in &rows {
            prop_assert_eq!(query.matches(row), model.holds(row), "{} as {} of {:?}", text, query, row);
        }
        prop_assert_eq!(Query::parse(&query.to_string()), Ok(query.clone()), "{} as {}", text, query);
    }

    #[test]
    fn pages_neither_repeat_nor_leave_out(
        rows in proptest::collection::vec(row(), 0..20),
        keys in proptest::sample::subsequence(vec!["name", "-memory", "status", "-host", "notes"], 1..4),
        page in 1_usize..5,
    ) {
        let mut rows = rows;
        for (id, row) in (0..).zip(&mut rows) {
            row.id = id;
        }
        let sort = Sort::<VmField>::parse(&keys.join(",")).expect("an order");
        let mut told = Vec::new();
        let mut bound: Option<Bound> = None;
        loop {
            let is_behind = |row: &&Row| bound.as_ref().is_none_or(|bound| sort.is_behind(*row, bound));
            let mut behind: Vec<&Row> = rows.iter().filter(is_behind).collect();
            behind.sort_by(|one, other| sort.compare(*one, *other));
            behind.truncate(page);
            let Some(last) = behind.last() else { break };
            bound = Some(sort.bound(*last));
            told.extend(behind.iter().map(|row| row.id));
        }
        rows.sort_by(|one, other| sort.compare(one, other));
        prop_assert_eq!(told, rows.iter().map(|row| row.id).collect::<Vec<_>>());
    }

    #[test]
    fn no_text_makes_it_panic_and_errors_stand_in_the_text(
        noise in ".{0,60}",
        parts in proptest::collection::vec(
            proptest::sample::select(vec![
                "and", "or", "not", "in", "(", ")", ",", "!", "=", "!=", "~", ":", "<", ">=", "\"", "'",
                "\\", " ", "name", "status", "running", "cpu", "80%", "tag", "memory", "2GiB", "é", "folder",
                "/prod", "age",
            ]),
            0..24,
        ),
        place in 0_usize..80,
    ) {
        for text in [noise, parts.concat(), parts.join(" ")] {
            match Query::<VmField>::parse(&text) {
                Ok(query) => prop_assert_eq!(Query::parse(&query.to_string()), Ok(query)),
                Err(error) => {
                    prop_assert!(error.at() <= text.len() && text.is_char_boundary(error.at()), "{}", error);
                }
            }
            let found = suggest::<HostField>(&text, place);
            prop_assert!(found.start <= text.len() && text.is_char_boundary(found.start));
            if let Err(error) = Sort::<TaskField>::parse(&text) {
                prop_assert!(error.at() <= text.len());
            }
        }
    }
}
