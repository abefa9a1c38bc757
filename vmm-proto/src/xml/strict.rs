//! Numbers and booleans in one form only.
//!
//! quick-xml reads ` 1`, `+1` and `01` as one, `1` as true, and `inf` as a number. Two readers that differ on such a text differ on what
//! was asked, so there is one form of each value, and any other is a fault. The rule stands here once and not at the fields: a
//! [`Strict`] goes down into a document with serde, and wherever a type asks for a number or a boolean it asks the document for text
//! and reads that itself. A new field cannot forget it.
//!
//! | asked for | form |
//! |---|---|
//! | whole number | digits, the first not `0` unless it is the only one; `-` before them if the type has a sign and it is not 0 |
//! | fraction | maybe `-`, the same digits, maybe `.` and more; no exponent, never infinite |
//! | boolean | `true`, `false` |
//!
//! What does not fit is a [`ValueError`]. It is left in a cell beside the deserializer, because serde's errors carry words only.
//!
//! Who acts on a document must not pass over a part of it that it does not know: a misspelt attribute would be a wish that is not heard. With
//! [`Rest::Refused`] a part that the type would ignore is a fault, but for attributes of the root, which is the message's envelope.

use std::cell::Cell;
use std::str::FromStr;

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, IntoDeserializer as _, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};

/// Longest text that an error repeats.
const SHOWN_CHARACTERS_MAX: usize = 40;

/// A text that is not the one form of a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {written:?} is not {form}")]
pub struct ValueError {
    /// The attribute or element.
    pub field: String,
    /// What stands there, shortened.
    pub written: String,
    /// What should.
    pub form: ValueForm,
}

/// The forms of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueForm {
    /// A number without fraction, and its type.
    #[error("a whole number within {0}: digits only, no space, sign or leading zero")]
    Whole(&'static str),
    /// A number that may have a fraction.
    #[error("a number: digits, maybe a point and more digits")]
    Fraction,
    /// True or false.
    #[error("`true` or `false`")]
    Boolean,
}

/// What becomes of parts that the type does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// They are of a newer version, and mean nothing here.
    Ignored,
    /// They are refused.
    Refused,
}

/// Where the reason of a refusal is left.
pub(super) struct Refused {
    value: Cell<Option<ValueError>>,
    unknown: Cell<Option<String>>,
    rest: Rest,
    depth: Cell<usize>,
    /// Of the part that is being read.
    may_be_ignored: Cell<bool>,
}

impl Refused {
    pub(super) fn new(rest: Rest) -> Refused {
        Refused {
            value: Cell::default(),
            unknown: Cell::default(),
            rest,
            depth: Cell::default(),
            may_be_ignored: Cell::new(true),
        }
    }

    /// A value that did not fit.
    pub(super) fn value(&self) -> Option<ValueError> {
        self.value.take()
    }

    /// A part that the type does not know.
    pub(super) fn unknown(&self) -> Option<String> {
        self.unknown.take()
    }
}

/// Any part of serde's way into a document, strict at every value.
pub(super) struct Strict<'c, T> {
    inner: T,
    refused: &'c Refused,
}

impl<'c, T> Strict<'c, T> {
    pub(super) fn new(inner: T, refused: &'c Refused) -> Strict<'c, T> {
        Strict { inner, refused }
    }

    fn value<'de, N: FromStr>(self, fits: fn(&str) -> bool, form: ValueForm) -> Result<N, T::Error>
    where
        T: Deserializer<'de>,
    {
        let parse = |text: &str| {
            let number = if fits(text) { text.parse().ok() } else { None };
            number.ok_or_else(|| text.chars().take(SHOWN_CHARACTERS_MAX).collect::<String>())
        };
        self.inner.deserialize_str(Looked(parse))?.map_err(|written| {
            let error = ValueError { field: String::new(), written, form };
            let words = T::Error::custom(&error);
            self.refused.value.set(Some(error));
            words
        })
    }
}

/// Looks at a text where it stands: a document has many, and a copy of each would cost more than the look.
struct Looked<F>(F);

impl<'de, R, F: FnOnce(&str) -> R> Visitor<'de> for Looked<F> {
    type Value = R;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("text")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<R, E> {
        Ok((self.0)(text))
    }
}

impl<'de, R, F: FnOnce(&str) -> R> DeserializeSeed<'de> for Looked<F> {
    type Value = R;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<R, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

fn is_whole(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    plain && (text == "0" || !digits.starts_with('0'))
}

fn is_fraction(text: &str) -> bool {
    let (whole, more) = text.split_once('.').unwrap_or((text, "0"));
    let plain = !more.is_empty() && more.bytes().all(|b| b.is_ascii_digit());
    plain && (whole == "-0" || is_whole(whole))
}

fn is_boolean(text: &str) -> bool {
    matches!(text, "true" | "false")
}

macro_rules! values {
    ($($method:ident $visit:ident $fits:ident $form:expr;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            visitor.$visit(self.value($fits, $form)?)
        }
    )*};
}

macro_rules! passed_on {
    ($($method:ident($($name:ident: $type:ty),*);)*) => {$(
        fn $method<V: Visitor<'de>>(self, $($name: $type,)* visitor: V) -> Result<V::Value, D::Error> {
            self.inner.$method($($name,)* Strict::new(visitor, self.refused))
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Strict<'_, D> {
    type Error = D::Error;

    values! {
        deserialize_u8 visit_u8 is_whole ValueForm::Whole("8 bits");
        deserialize_u16 visit_u16 is_whole ValueForm::Whole("16 bits");
        deserialize_u32 visit_u32 is_whole ValueForm::Whole("32 bits");
        deserialize_u64 visit_u64 is_whole ValueForm::Whole("64 bits");
        deserialize_u128 visit_u128 is_whole ValueForm::Whole("128 bits");
        deserialize_i8 visit_i8 is_whole ValueForm::Whole("8 bits with a sign");
        deserialize_i16 visit_i16 is_whole ValueForm::Whole("16 bits with a sign");
        deserialize_i32 visit_i32 is_whole ValueForm::Whole("32 bits with a sign");
        deserialize_i64 visit_i64 is_whole ValueForm::Whole("64 bits with a sign");
        deserialize_i128 visit_i128 is_whole ValueForm::Whole("128 bits with a sign");
        deserialize_f32 visit_f32 is_fraction ValueForm::Fraction;
        deserialize_f64 visit_f64 is_fraction ValueForm::Fraction;
        deserialize_bool visit_bool is_boolean ValueForm::Boolean;
    }

    passed_on! {
        deserialize_any();
        deserialize_char();
        deserialize_str();
        deserialize_string();
        deserialize_bytes();
        deserialize_byte_buf();
        deserialize_option();
        deserialize_unit();
        deserialize_unit_struct(name: &'static str);
        deserialize_newtype_struct(name: &'static str);
        deserialize_seq();
        deserialize_tuple(length: usize);
        deserialize_tuple_struct(name: &'static str, length: usize);
        deserialize_map();
        deserialize_struct(name: &'static str, fields: &'static [&'static str]);
        deserialize_enum(name: &'static str, variants: &'static [&'static str]);
        deserialize_identifier();
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        if self.refused.rest == Rest::Refused && !self.refused.may_be_ignored.get() {
            self.refused.unknown.set(Some(String::new()));
            return Err(D::Error::custom("a part that is not known"));
        }
        self.inner.deserialize_ignored_any(visitor)
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Strict<'_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        self.inner.deserialize(Strict::new(deserializer, self.refused))
    }
}

/// What a document can hold: text, nothing, or more of the document.
impl<'de, V: Visitor<'de>> Visitor<'de> for Strict<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inner.expecting(f)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<V::Value, E> {
        self.inner.visit_str(text)
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<V::Value, E> {
        self.inner.visit_borrowed_str(text)
    }

    fn visit_string<E: Error>(self, text: String) -> Result<V::Value, E> {
        self.inner.visit_string(text)
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.inner.visit_some(Strict::new(deserializer, self.refused))
    }

    fn visit_newtype_struct<D>(self, deserializer: D) -> Result<V::Value, D::Error>
    where
        D: Deserializer<'de>,
    {
        self.inner.visit_newtype_struct(Strict::new(deserializer, self.refused))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, elements: A) -> Result<V::Value, A::Error> {
        self.inner.visit_seq(Strict::new(elements, self.refused))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        let (map, refused) = (Strict::new(map, self.refused), self.refused);
        let depth = refused.depth.get();
        refused.depth.set(depth + 1);
        let value = self.inner.visit_map(Fields { map, field: String::new(), is_root: depth == 0 });
        refused.depth.set(depth);
        value
    }

    fn visit_enum<A: EnumAccess<'de>>(self, choice: A) -> Result<V::Value, A::Error> {
        self.inner.visit_enum(Strict::new(choice, self.refused))
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Strict<'_, A> {
    type Error = A::Error;

    fn next_element_seed<S>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error>
    where
        S: DeserializeSeed<'de>,
    {
        self.inner.next_element_seed(Strict::new(seed, self.refused))
    }
}

impl<'de, 'c, A: EnumAccess<'de>> EnumAccess<'de> for Strict<'c, A> {
    type Error = A::Error;
    type Variant = Strict<'c, A::Variant>;

    fn variant_seed<S>(self, seed: S) -> Result<(S::Value, Self::Variant), A::Error>
    where
        S: DeserializeSeed<'de>,
    {
        let (name, content) = self.inner.variant_seed(seed)?;
        Ok((name, Strict::new(content, self.refused)))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Strict<'_, A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.inner.unit_variant()
    }

    fn newtype_variant_seed<S>(self, seed: S) -> Result<S::Value, A::Error>
    where
        S: DeserializeSeed<'de>,
    {
        self.inner.newtype_variant_seed(Strict::new(seed, self.refused))
    }

    fn tuple_variant<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        self.inner.tuple_variant(length, Strict::new(visitor, self.refused))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        self.inner.struct_variant(fields, Strict::new(visitor, self.refused))
    }
}

/// The attributes and elements of one element, with the name of the one that is being read.
struct Fields<'c, A> {
    map: Strict<'c, A>,
    field: String,
    is_root: bool,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Fields<'_, A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        let field = &mut self.field;
        let look = Looked(|name: &str| {
            field.clear();
            field.push_str(name);
        });
        if self.map.inner.next_key_seed(look)?.is_none() {
            return Ok(None);
        }
        let field: StrDeserializer<'_, A::Error> = self.field.as_str().into_deserializer();
        seed.deserialize(field).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        let refused = self.map.refused;
        let is_attribute = self.field.starts_with('@');
        let declares = self.field == "@xmlns" || self.field.starts_with("@xmlns:");
        refused.may_be_ignored.set(declares || (self.is_root && is_attribute));
        let result = self.map.inner.next_value_seed(Strict::new(seed, refused));
        if result.is_err() {
            self.name_field();
        }
        result
    }
}

impl<A> Fields<'_, A> {
    /// The innermost element knows its field best.
    fn name_field(&self) {
        let refused = self.map.refused;
        let field = self.field.trim_start_matches('@');
        if let Some(mut error) = refused.value.take() {
            if error.field.is_empty() {
                field.clone_into(&mut error.field);
            }
            refused.value.set(Some(error));
        }
        if let Some(name) = refused.unknown.take() {
            refused.unknown.set(Some(if name.is_empty() { field.to_owned() } else { name }));
        }
    }
}
