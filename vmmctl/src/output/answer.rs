//! An answer: rows with their columns, and what people are told.

use serde::Serialize;
use serde_json::Value;

use super::column::Column;
use super::told::Told;
use super::wire;
use crate::failure::Failure;

/// What a command answers.
pub(crate) struct Answer<'a, T> {
    pub(super) items: &'a [T],
    pub(super) columns: &'a [Column<T>],
    /// One object, not a list of one.
    pub(super) is_single: bool,
    /// For programs, where that is more than the rows.
    pub(super) whole: Option<Value>,
    pub(super) told: Option<Box<dyn Fn() -> Told + 'a>>,
}

impl<'a, T> Answer<'a, T> {
    pub(crate) fn list(items: &'a [T], columns: &'a [Column<T>]) -> Self {
        Self { items, columns, is_single: false, whole: None, told: None }
    }

    pub(crate) fn one(item: &'a T, columns: &'a [Column<T>]) -> Self {
        Self { is_single: true, ..Self::list(std::slice::from_ref(item), columns) }
    }

    /// What people read instead of a table, unless they name columns.
    pub(crate) fn told(mut self, told: impl Fn() -> Told + 'a) -> Self {
        self.told = Some(Box::new(told));
        self
    }

    /// What programs get in JSON and YAML, where the rows are a part of it.
    pub(crate) fn whole(mut self, whole: &impl Serialize) -> Result<Self, Failure> {
        self.whole = Some(wire::value(whole)?);
        Ok(self)
    }
}

/// An answer that does not say what it is about, and the name of that.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Named<T> {
    #[serde(skip)]
    pub(crate) name: String,
    #[serde(flatten)]
    pub(crate) of: T,
}

impl<T: 'static> Named<T> {
    pub(crate) fn new(name: impl Into<String>, of: T) -> Self {
        Self { name: name.into(), of }
    }

    /// Where the name is all there is to say.
    pub(crate) const NAME: &'static [Column<Self>] =
        &[Column::text("name", |named: &Self| named.name.clone())];
}
