//! What the wire types look like, read off themselves: serde tells a deserializer which fields and words there are, so one that makes
//! every value up and writes down what it was asked for knows them all. Which fields may be missing is tried.
//!
//! It fails by panicking at the first use: a wire type of a form that is not here is a defect that any test finds.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::OnceLock;

use serde::Deserialize;
use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer as _, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};
use vmm_proto::v1::{Fault, Reply, Request, Verb, verb};

/// The form of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Text,
    Flag,
    /// Of so many bits, without a sign.
    Whole(u32),
    Fraction,
    Words(&'static [&'static str]),
    /// One of [`Shapes`].
    Object(&'static str),
    Many(Box<Form>),
}

/// One field of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// As XML and its serde name it: `@vm-count`, `Facts`.
    pub(super) wire: &'static str,
    /// As JSON names it: `vm_count`, `facts`.
    pub(super) plain: String,
    pub(super) form: Form,
    pub(super) required: bool,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Shapes {
    objects: BTreeMap<&'static str, Vec<Part>>,
    requests: BTreeMap<&'static str, (&'static str, Verb)>,
    replies: BTreeMap<&'static str, Form>,
}

impl Shapes {
    /// Of this version's wire.
    pub(super) fn known() -> &'static Self {
        static KNOWN: OnceLock<Shapes> = OnceLock::new();
        KNOWN.get_or_init(trace)
    }

    pub(super) fn object(&self, name: &str) -> &[Part] {
        self.objects.get(name).map_or(&[], Vec::as_slice)
    }

    /// The fields of a verb.
    pub(super) fn request(&self, verb: &str) -> &[Part] {
        self.requests.get(verb).map_or(&[], |(name, _)| self.object(name))
    }

    /// What the table of verbs says of one.
    pub(super) fn verb(&self, name: &str) -> Option<Verb> {
        self.requests.get(name).map(|(_, verb)| *verb)
    }

    /// All verbs.
    #[cfg(test)]
    pub(super) fn verbs(&self) -> impl Iterator<Item = Verb> {
        self.requests.values().map(|(_, verb)| *verb)
    }

    pub(super) fn reply(&self, name: &str) -> Option<&Form> {
        self.replies.get(name)
    }
}

/// `@vm-count` is `vm_count`, `Facts` is `facts`.
pub(super) fn plain_name(wire: &str) -> String {
    let mut plain = String::with_capacity(wire.len() + 2);
    for c in wire.trim_start_matches('@').chars() {
        match c {
            '-' => plain.push('_'),
            c if c.is_ascii_uppercase() => {
                if !plain.is_empty() {
                    plain.push('_');
                }
                plain.push(c.to_ascii_lowercase());
            }
            c => plain.push(c),
        }
    }
    plain
}

/// A value cannot be made up.
#[derive(Debug)]
struct Stuck(String);

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Stuck {}

impl de::Error for Stuck {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

type Seen = BTreeMap<&'static str, Vec<(&'static str, Form)>>;

/// What one run has found.
#[derive(Default)]
struct Found {
    objects: Seen,
    /// Of the value that was made up last.
    last: Option<Form>,
    variants: &'static [&'static str],
}

/// Makes values up.
#[derive(Clone, Copy)]
struct Tracer<'a> {
    found: &'a RefCell<Found>,
    /// Which variant the outermost enum shall be.
    variant: Option<usize>,
    /// The field of an object that is left out.
    without: Option<(&'static str, &'static str)>,
}

fn run<T: for<'de> Deserialize<'de>>(
    variant: usize,
    without: Option<(&'static str, &'static str)>,
) -> (Found, Option<T>) {
    let found = RefCell::default();
    let made = T::deserialize(Tracer { found: &found, variant: Some(variant), without });
    (found.into_inner(), made.ok())
}

/// A variant made up: its name, its form, and all objects within.
struct Made<T> {
    name: &'static str,
    form: Form,
    objects: Seen,
    value: T,
}

fn variants<T: for<'de> Deserialize<'de>>() -> Vec<Made<T>> {
    let (first, _) = run::<T>(0, None);
    let one = |(place, name): (usize, &&'static str)| {
        let (found, made) = run::<T>(place, None);
        let value = made.unwrap_or_else(|| panic!("{name} is of a form that is not known here"));
        Made { name, form: found.last.expect("a value"), objects: found.objects, value }
    };
    first.variants.iter().enumerate().map(one).collect()
}

fn add<T: for<'de> Deserialize<'de>>(shapes: &mut Shapes) -> Vec<(&'static str, Form, T)> {
    let mut roots = Vec::new();
    for (place, made) in variants::<T>().into_iter().enumerate() {
        roots.push((made.name, made.form, made.value));
        for (object, parts) in made.objects {
            if shapes.objects.contains_key(object) {
                continue;
            }
            let part = |(wire, form): (&'static str, Form)| Part {
                wire,
                plain: plain_name(wire),
                form,
                required: run::<T>(place, Some((object, wire))).1.is_none(),
            };
            shapes.objects.insert(object, parts.into_iter().map(part).collect());
        }
    }
    roots
}

/// A fault stands in an answer by itself.
#[derive(Deserialize)]
enum Refusal {
    #[serde(rename = "Fault")]
    Fault(#[allow(dead_code, reason = "only its form is of interest")] Fault),
}

fn trace() -> Shapes {
    let mut shapes = Shapes::default();
    for (name, form, request) in add::<Request>(&mut shapes) {
        let Form::Object(object) = form else { panic!("{name} is no object") };
        shapes.requests.insert(name, (object, verb(&request)));
    }
    for (name, form, _) in add::<Reply>(&mut shapes) {
        shapes.replies.insert(name, form);
    }
    add::<Refusal>(&mut shapes);
    shapes
}

impl<'a> Tracer<'a> {
    fn inner(self) -> Self {
        Self { variant: None, ..self }
    }

    fn is(self, form: Form) {
        self.found.borrow_mut().last = Some(form);
    }

    fn last(self) -> Form {
        self.found.borrow_mut().last.take().expect("a value was made up")
    }
}

macro_rules! made_up {
    ($($method:ident, $visit:ident, $value:expr, $form:expr;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stuck> {
            self.is($form);
            visitor.$visit($value)
        }
    )*};
}

impl<'de> Deserializer<'de> for Tracer<'_> {
    type Error = Stuck;

    made_up! {
        deserialize_bool, visit_bool, false, Form::Flag;
        deserialize_u8, visit_u8, 0, Form::Whole(8);
        deserialize_u16, visit_u16, 0, Form::Whole(16);
        deserialize_u32, visit_u32, 0, Form::Whole(32);
        deserialize_u64, visit_u64, 0, Form::Whole(64);
        deserialize_f32, visit_f64, 0.0, Form::Fraction;
        deserialize_f64, visit_f64, 0.0, Form::Fraction;
        deserialize_str, visit_str, "", Form::Text;
        deserialize_string, visit_str, "", Form::Text;
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stuck> {
        visitor.visit_some(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stuck> {
        let made = visitor.visit_seq(One(Some(self)))?;
        let each = self.last();
        self.is(Form::Many(Box::new(each)));
        Ok(made)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stuck> {
        let mut object = Fields { tracer: self.inner(), name, fields, next: 0, parts: Vec::new() };
        let made = visitor.visit_map(&mut object)?;
        let parts = std::mem::take(&mut object.parts);
        self.found.borrow_mut().objects.insert(name, parts);
        self.is(Form::Object(name));
        Ok(made)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stuck> {
        if let Some(place) = self.variant {
            self.found.borrow_mut().variants = variants;
            return visitor.visit_enum(Variant { tracer: self.inner(), name: variants[place] });
        }
        let made = visitor.visit_enum(Variant { tracer: self, name: variants[0] });
        self.is(Form::Words(variants));
        made
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Stuck> {
        Err(Stuck("a value of any form".to_owned()))
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i32 i64 char bytes byte_buf unit unit_struct newtype_struct tuple tuple_struct map identifier ignored_any
    }
}

/// A list of one.
struct One<'a>(Option<Tracer<'a>>);

impl<'de> SeqAccess<'de> for One<'_> {
    type Error = Stuck;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Stuck> {
        self.0.take().map(|tracer| seed.deserialize(tracer.inner())).transpose()
    }
}

/// Every field of an object, but for the one that is left out.
struct Fields<'a> {
    tracer: Tracer<'a>,
    name: &'static str,
    fields: &'static [&'static str],
    next: usize,
    parts: Vec<(&'static str, Form)>,
}

impl<'de> MapAccess<'de> for &mut Fields<'_> {
    type Error = Stuck;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Stuck> {
        let is_left_out = |field| self.tracer.without == Some((self.name, field));
        while self.fields.get(self.next).is_some_and(|field| is_left_out(field)) {
            self.next += 1;
        }
        let Some(field) = self.fields.get(self.next) else { return Ok(None) };
        let key: StrDeserializer<'_, Stuck> = field.into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Stuck> {
        let made = seed.deserialize(self.tracer)?;
        self.parts.push((self.fields[self.next], self.tracer.last()));
        self.next += 1;
        Ok(made)
    }
}

/// One variant.
struct Variant<'a> {
    tracer: Tracer<'a>,
    name: &'static str,
}

impl<'de> EnumAccess<'de> for Variant<'_> {
    type Error = Stuck;
    type Variant = Self;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Self), Stuck> {
        let name: StrDeserializer<'_, Stuck> = self.name.into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_> {
    type Error = Stuck;

    fn unit_variant(self) -> Result<(), Stuck> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Stuck> {
        seed.deserialize(self.tracer)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Stuck> {
        Err(Stuck("a tuple".to_owned()))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Stuck> {
        Err(Stuck("a struct in an enum".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part<'a>(parts: &'a [Part], plain: &str) -> &'a Part {
        parts.iter().find(|part| part.plain == plain).unwrap_or_else(|| panic!("{plain}"))
    }

    #[test]
    fn every_type_says_what_it_is() {
        let shapes = Shapes::known();
        let shutdown = shapes.request("ShutdownVm");
        assert_eq!(part(shutdown, "vm").form, Form::Text);
        let wait = part(shutdown, "wait_ms_max");
        assert_eq!((&wait.form, wait.required), (&Form::Whole(64), true));
        let spec = shapes.object("Spec");
        assert!(part(spec, "name").required && !part(spec, "initramfs").required);
        assert_eq!(part(spec, "disk").form, Form::Many(Box::new(Form::Object("Disk"))));
        assert!(matches!(part(spec, "kind").form, Form::Words(words) if words.contains(&"Pvh")));
        assert_eq!(part(shapes.object("Disk"), "read_only").form, Form::Flag);
        assert_eq!(part(shapes.object("Candidate"), "cost_cpu").form, Form::Fraction);
        assert_eq!(shapes.reply("Vm"), Some(&Form::Object("Vm")));
        assert!(part(shapes.object("Fault"), "code").required);
        assert!(shapes.verbs().count() > 40);
    }
}
