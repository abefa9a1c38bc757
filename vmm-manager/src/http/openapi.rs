//! The OpenAPI 3.1 document, made from the table of routes, the table of verbs and the wire types: it says what is answered, and nothing else.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::ask::WAIT_S_MAX;
use super::routes::{EVENTS, LEFT_OUT, Method, ROUTES, Route, default_of, parameter_of};
use super::shape::{Form, Part, Shapes};

const ABOUT: &str = "The verbs of XVMP/1 as JSON over HTTP, with the same roles. Fields have the wire's names in snake_case, quantities their unit \
    at the end of the name; an array is named as each of its elements. docs/protocol.md says what each verb does and refuses. A change that takes time is \
    answered 202 with a task and its Location; with `wait` the answer waits for its end, and a failure is the task's. A change with an Idempotency-Key that was \
    used is not done again: its first answer comes again.";
const WHERE: &str = "In the query language: `status=running and host=h1 and tag~web and cpu>80%`. See docs/protocol.md.";

/// The document.
#[must_use]
pub fn document() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    let mut names = BTreeSet::from(["Fault"]);
    for route in ROUTES {
        let path = paths.entry(route.whole_path()).or_insert_with(|| json!({}));
        if let Some(path) = path.as_object_mut() {
            path.insert(route.method.as_str().to_owned(), operation(route, &mut names));
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "SMPS-VMM manager",
            "version": "1",
            "description": ABOUT,
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "x-left-out": LEFT_OUT.iter().map(|(verb, why)| ((*verb).to_owned(), Value::from(*why))).collect::<Map<_, _>>(),
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": "Made by `vmm-manager token add NAME --role ROLE`."}},
            "schemas": schemas(names),
            "responses": {"Problem": {
                "description": "Why not (RFC 9457).",
                "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
            }},
        },
    })
}

fn operation(route: &Route, names: &mut BTreeSet<&'static str>) -> Value {
    let shapes = Shapes::known();
    let verb = shapes.verb(route.verb);
    let permission = verb.and_then(|verb| verb.manager);
    let role = permission.map_or("nobody", |permission| permission.least().as_str());
    let mut operation = json!({
        "operationId": operation_id(route),
        "summary": route.about,
        "description": format!("The verb {}; it takes the role {role}.", route.verb),
        "tags": [route.path.split('/').nth(1).unwrap_or_default()],
        "x-xvmp-verb": route.verb,
        "x-role": role,
        "parameters": parameters(route, verb.is_some_and(|verb| verb.mutating)),
        "responses": responses(route, names),
    });
    if let (true, Some(operation)) = (route.method.has_body(), operation.as_object_mut()) {
        operation.insert("requestBody".to_owned(), body(route, names));
    }
    operation
}

fn operation_id(route: &Route) -> String {
    let mut letters = route.verb.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

fn others(route: &Route) -> impl Iterator<Item = &'static Part> {
    let in_path: Vec<&str> = route.in_path().collect();
    Shapes::known()
        .request(route.verb)
        .iter()
        .filter(move |part| !in_path.contains(&part.plain.as_str()))
}

fn must_be_said(route: &Route, part: &Part) -> bool {
    part.required && default_of(route, &part.plain).is_none()
}

fn parameters(route: &Route, changes: bool) -> Value {
    let shape = Shapes::known().request(route.verb);
    let mut all: Vec<Value> = Vec::new();
    for name in route.in_path() {
        let part = shape.iter().find(|part| part.plain == name);
        let schema = part.map_or(json!({"type": "string"}), |part| schema(&part.form));
        all.push(json!({"name": name, "in": "path", "required": true, "schema": schema}));
    }
    if !route.method.has_body() {
        // A wait is asked for in seconds.
        let is_shown = |part: &&Part| route.method != Method::Get || part.plain != "wait_ms_max";
        all.extend(others(route).filter(is_shown).map(|part| in_query(route, part)));
    }
    let waits = shape.iter().any(|part| part.plain == "wait_ms_max");
    if (route.method == Method::Get && waits)
        || (route.method != Method::Get && route.reply == "Task")
    {
        all.push(json!({
            "name": "wait", "in": "query", "description": "Seconds to wait for the end, or for something to tell.",
            "schema": {"type": "integer", "minimum": 0, "maximum": WAIT_S_MAX},
        }));
    }
    if route.method == Method::Get {
        all.push(json!({
            "name": "fields", "in": "query", "schema": {"type": "string"},
            "description": "Only these fields of each object, with commas between and dots inside: `vm,spec.name,host`.",
        }));
    }
    if route.verb == EVENTS {
        all.push(json!({
            "name": "Last-Event-ID", "in": "header", "schema": {"type": "string"},
            "description": "The id of the last message that came; what follows it is told.",
        }));
    }
    if changes {
        all.push(json!({
            "name": "Idempotency-Key", "in": "header",
            "description": "Names the change, so that asking twice does it once. Without one, asking again is another change.",
            "schema": {"type": "string", "minLength": 1, "maxLength": 128},
        }));
    }
    Value::Array(all)
}

fn in_query(route: &Route, part: &Part) -> Value {
    let mut schema = schema(&part.form);
    if let (Some(value), Some(schema)) = (default_of(route, &part.plain), schema.as_object_mut()) {
        schema.insert("default".to_owned(), value);
    }
    let mut parameter = json!({
        "name": parameter_of(&part.plain),
        "in": "query",
        "required": must_be_said(route, part),
        "schema": schema,
    });
    let about = match part.plain.as_str() {
        "where" => WHERE,
        "sort" => {
            "Fields with commas between, a minus before those whose largest comes first: `-cpu,name`."
        }
        "after" => "The `next` of the page before.",
        _ => return parameter,
    };
    if let Some(parameter) = parameter.as_object_mut() {
        parameter.insert("description".to_owned(), about.into());
    }
    parameter
}

fn body(route: &Route, names: &mut BTreeSet<&'static str>) -> Value {
    let parts: Vec<&Part> = others(route).collect();
    parts.iter().for_each(|part| mention(&part.form, names));
    let mut properties = Map::new();
    for part in &parts {
        let mut schema = schema(&part.form);
        if let (Some(value), Some(schema)) =
            (default_of(route, &part.plain), schema.as_object_mut())
        {
            schema.insert("default".to_owned(), value);
        }
        properties.insert(part.plain.clone(), schema);
    }
    let must = |part: &&&Part| must_be_said(route, part);
    let required: Vec<&str> = parts.iter().filter(must).map(|part| part.plain.as_str()).collect();
    let schema = json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    });
    json!({"required": !required.is_empty(), "content": {"application/json": {"schema": schema}}})
}

fn responses(route: &Route, names: &mut BTreeSet<&'static str>) -> Value {
    let content = |names: &mut BTreeSet<&'static str>, reply: &str| {
        let form = Shapes::known().reply(reply).cloned().unwrap_or(Form::Text);
        mention(&form, names);
        json!({"application/json": {"schema": schema(&form)}})
    };
    let mut done = content(names, route.reply);
    if route.verb == "CreateVm" {
        let placement = content(names, "Placement");
        let either = [&done, &placement].map(|one| one["application/json"]["schema"].clone());
        done = json!({"application/json": {"schema": {"oneOf": either}}});
    }
    if let (EVENTS, Some(done)) = (route.verb, done.as_object_mut()) {
        done.insert("text/event-stream".to_owned(), json!({"schema": {"type": "string"}}));
    }
    let mut all = json!({
        "200": {"description": "Done.", "content": done},
        "default": {"$ref": "#/components/responses/Problem"},
    });
    if let (true, Some(all)) =
        (route.reply == "Task" && route.method != Method::Get, all.as_object_mut())
    {
        all.insert("202".to_owned(), json!({
            "description": "Begun; the task says how far it is.",
            "headers": {"Location": {"description": "Of the task.", "schema": {"type": "string"}}},
            "content": content(names, "Task"),
        }));
    }
    all
}

fn schema(form: &Form) -> Value {
    match form {
        Form::Text => json!({"type": "string"}),
        Form::Flag => json!({"type": "boolean"}),
        Form::Whole(bits) => {
            json!({"type": "integer", "minimum": 0, "maximum": u64::MAX >> (64 - bits)})
        }
        Form::Fraction => json!({"type": "number"}),
        Form::Words(words) => json!({"type": "string", "enum": words}),
        Form::Object(name) => json!({"$ref": format!("#/components/schemas/{name}")}),
        Form::Many(each) => json!({"type": "array", "items": schema(each)}),
    }
}

fn mention(form: &Form, names: &mut BTreeSet<&'static str>) {
    match form {
        Form::Object(name) if names.insert(name) => {
            Shapes::known().object(name).iter().for_each(|part| mention(&part.form, names));
        }
        Form::Many(each) => mention(each, names),
        _ => {}
    }
}

/// Of all objects that are mentioned, in order of name.
fn schemas(names: BTreeSet<&'static str>) -> Value {
    let mut all = Map::new();
    for name in names {
        let parts = Shapes::known().object(name);
        let property = |part: &Part| (part.plain.clone(), schema(&part.form));
        let required: Vec<&str> =
            parts.iter().filter(|part| part.required).map(|part| part.plain.as_str()).collect();
        let object = json!({
            "type": "object",
            "properties": parts.iter().map(property).collect::<Map<String, Value>>(),
            "required": required,
        });
        all.insert(name.to_owned(), object);
    }
    all.insert("Problem".to_owned(), problem());
    Value::Object(all)
}

fn problem() -> Value {
    let fault = Shapes::known().object("Fault");
    let code = fault.iter().find(|part| part.plain == "code").map(|part| schema(&part.form));
    json!({
        "type": "object",
        "description": "RFC 9457, with the fault of XVMP/1.",
        "properties": {
            "type": {"type": "string", "description": "urn:smps-vmm:fault:CODE"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string", "description": "What happened and what to do."},
            "code": code,
            "hop": {"type": "string", "description": "Where it failed: `manager`, or `agent NAME`."},
            "retryable": {"type": "boolean", "description": "Would the same request make sense again?"},
            "task": {"type": "string", "description": "The task that failed, when one did."},
        },
        "required": ["type", "title", "status", "detail", "code", "hop", "retryable"],
    })
}
