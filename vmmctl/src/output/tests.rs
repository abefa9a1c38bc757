//! One answer in all its forms.

use super::*;

#[derive(Serialize)]
struct Row {
    #[serde(rename = "@name")]
    name: &'static str,
    #[serde(rename = "@memory-now-kib")]
    memory: Option<u64>,
    #[serde(rename = "Disk", skip_serializing_if = "Vec::is_empty")]
    disks: Vec<&'static str>,
}

type OfRow = Column<Row>;

const COLUMNS: &[OfRow] = &[
    OfRow::text("name", |row| row.name.into()),
    OfRow::number("memory", Unit::Kib, |row| row.memory),
    OfRow::text("disks", |row| row.disks.join(",")).wide(),
];

fn rows() -> Vec<Row> {
    vec![
        Row { name: "web", memory: Some(2048), disks: vec!["xvda", "xvdb"] },
        Row { name: "db", memory: None, disks: vec![] },
    ]
}

fn look(format: Format) -> Look {
    Look { format, ..Look::default() }
}

fn check(look: &Look, expect: &str) {
    assert_eq!(look.render(&Answer::list(&rows(), COLUMNS)).expect("a text"), expect, "{look:?}");
}

fn check_one(look: &Look, expect: &str) {
    let row = &rows()[0];
    let answer = Answer::one(row, COLUMNS).told(|| Told::line("web is there"));
    assert_eq!(look.render(&answer).expect("a text"), expect, "{look:?}");
}

#[test]
fn a_list_has_six_forms() {
    check(&look(Format::Table), "NAME  MEMORY\nweb    2 MiB\ndb         -\n");
    check(&look(Format::Wide), "NAME  MEMORY  DISKS\nweb    2 MiB  xvda,xvdb\ndb         -  -\n");
    check(
        &look(Format::Json),
        "[\n  {\n    \"disk\": [\n      \"xvda\",\n      \"xvdb\"\n    ],\n    \"memory_now_kib\": 2048,\n    \"name\": \"web\"\n  },\n  {\n    \"memory_now_kib\": null,\n    \"name\": \"db\"\n  }\n]\n",
    );
    check(
        &look(Format::Yaml),
        "- disk:\n  - xvda\n  - xvdb\n  memory_now_kib: 2048\n  name: web\n- memory_now_kib: null\n  name: db\n",
    );
    check(&look(Format::Csv), "name,memory_kib,disks\r\nweb,2048,\"xvda,xvdb\"\r\ndb,,\r\n");
    check(&look(Format::Name), "web\ndb\n");
}

#[test]
fn one_object_has_six_forms() {
    check_one(&look(Format::Table), "web is there\n");
    check_one(&look(Format::Wide), "web is there\n");
    check_one(
        &look(Format::Json),
        "{\n  \"disk\": [\n    \"xvda\",\n    \"xvdb\"\n  ],\n  \"memory_now_kib\": 2048,\n  \"name\": \"web\"\n}\n",
    );
    check_one(&look(Format::Yaml), "disk:\n- xvda\n- xvdb\nmemory_now_kib: 2048\nname: web\n");
    check_one(&look(Format::Csv), "name,memory_kib,disks\r\nweb,2048,\"xvda,xvdb\"\r\n");
    check_one(&look(Format::Name), "web\n");
}

#[test]
fn named_columns_are_all_that_is_shown() {
    let named = |format| Look { columns: vec!["memory".into(), "name".into()], ..look(format) };
    check(&named(Format::Table), "MEMORY  NAME\n 2 MiB  web\n     -  db\n");
    check(&named(Format::Csv), "memory_kib,name\r\n2048,web\r\n,db\r\n");
    check(
        &named(Format::Yaml),
        "- memory_kib: 2048\n  name: web\n- memory_kib: null\n  name: db\n",
    );
    check_one(&named(Format::Table), "memory  2 MiB\nname    web\n");
    check_one(&named(Format::Yaml), "memory_kib: 2048\nname: web\n");
    let unknown = Look { columns: vec!["colour".into()], ..look(Format::Json) };
    let failure = unknown.render(&Answer::list(&rows(), COLUMNS)).expect_err("no such column");
    assert_eq!(failure.exit_code(), 2);
    assert!(failure.to_string().contains("there are: name, memory, disks"), "{failure}");
}

#[test]
fn headings_are_left_out_where_they_are_not_wanted() {
    check(&Look { no_headers: true, ..look(Format::Csv) }, "web,2048,\"xvda,xvdb\"\r\ndb,,\r\n");
    check(&Look { no_headers: true, ..look(Format::Table) }, "web  2 MiB\ndb       -\n");
}

#[test]
fn a_larger_whole_is_what_programs_get() {
    let rows = rows();
    let answer = Answer::list(&rows, COLUMNS).whole(&serde_json::json!({"@chosen": "web"}));
    let answer = answer.expect("a value");
    assert_eq!(look(Format::Yaml).render(&answer).expect("a text"), "chosen: web\n");
    assert_eq!(look(Format::Name).render(&answer).expect("a text"), "web\ndb\n");
}

#[test]
fn an_answer_without_a_name_is_what_it_was() {
    let named = Named::new("web", Row { name: "x", memory: Some(1), disks: vec![] });
    let answer = Answer::one(&named, Named::NAME);
    let text = look(Format::Yaml).render(&answer).expect("a text");
    assert_eq!(text, "memory_now_kib: 1\nname: x\n");
    assert_eq!(look(Format::Name).render(&answer).expect("a text"), "web\n");
}
